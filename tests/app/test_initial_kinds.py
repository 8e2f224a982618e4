"""Rows to start with, by each kind there is."""

import numpy as np
import pytest

from jaxal.app import experiment
from jaxal.app.recipe import Recipe
from tests.toys import blobs

INPUTS, LABELS = blobs(60, 3)


@pytest.mark.parametrize("kind", ["random", "balanced", "typiclust", "k_means"])
def test_rows_are_distinct_and_those_of_the_seed(kind):
    recipe = Recipe(initial=6, initial_kind=kind)
    found = [
        experiment._initial_rows(recipe, seed, INPUTS, LABELS, 3) for seed in (0, 0, 1)
    ]
    assert [len(set(rows.tolist())) for rows in found] == [6, 6, 6]
    np.testing.assert_array_equal(found[0], found[1])
    if kind in ("balanced", "k_means"):
        assert set(LABELS[found[0]]) == {0, 1, 2}
