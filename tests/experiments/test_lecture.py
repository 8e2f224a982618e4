"""The tour: oracles that err as they should, and lessons that print numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import lecture
from jaxal import array_oracle


def test_a_confusing_oracle_confuses_as_its_matrix_says():
    matrix = np.array([[1, 0, 0], [0.25, 0.25, 0.5], [0, 0, 1]])
    oracle = lecture.confusing(array_oracle(jnp.array([0, 1, 2])), matrix)
    said = np.asarray(oracle(jax.random.key(0), jnp.tile(jnp.arange(3), 2000)))
    for row in range(3):
        shares = np.bincount(said[row::3], minlength=3) / 2000
        np.testing.assert_allclose(shares, matrix[row], atol=0.04)


@pytest.mark.slow
def test_lessons_print_their_numbers(tmp_path, capsys):
    words = ["--rows", "150", "--folder", str(tmp_path), "--seeds", "0..1"]
    lecture.main([*words, "--lessons", "cold_start"])
    printed = capsys.readouterr().out
    assert "stratified" in printed and printed.count(" to ") == 7


@pytest.mark.slow
def test_every_lesson_runs(tmp_path, capsys):
    lecture.main(["--rows", "400", "--folder", str(tmp_path), "--seeds", "0..1"])
    printed = capsys.readouterr().out
    assert all(f"{name}:" in printed for name in lecture.LESSONS)
    assert "clue" in printed and "nan" not in printed


def test_a_lesson_that_is_none_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no lesson"):
        lecture.main(["--lessons", "cold", "--folder", str(tmp_path)])
