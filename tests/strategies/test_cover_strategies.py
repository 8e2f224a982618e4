"""Coverage strategies by name, on pools that break strategies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, strategy
from tests.cases_picks import NUM_ROWS, masks

BATCH_SIZE, CLASSES = 9, 4
CASES = {
    "typiclust": {},
    "prob_cover": {},
    "dcom": {},
    "active_ft": {"num_steps": 7, "assign_every": 3},
    "k_means": {},
}
by_name = pytest.mark.parametrize("name", CASES)


def view_of(x, kind="some_labelled", is_certain=False):
    rng = np.random.default_rng(0)
    is_available, is_labelled = masks(kind)
    logits = rng.normal(size=(NUM_ROWS, CLASSES)).astype(np.float32)
    if is_certain:
        logits = np.where(np.arange(CLASSES)[None] == 1, 0, -np.inf).astype(np.float32)
        logits = np.repeat(logits, NUM_ROWS, axis=0)
    return View(
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        labels=jnp.where(is_labelled, jnp.arange(NUM_ROWS) % CLASSES, -1),
        logits=jnp.asarray(logits),
        features=jnp.asarray(x),
    )


@pytest.mark.parametrize("name", ["typiclust", "prob_cover", "active_ft", "k_means"])
def test_three_bundles_give_a_row_each(name):
    # Three directions of unequal crowds; nothing is labelled, so each is worth one.
    rng = np.random.default_rng(1)
    bundle = np.repeat(np.arange(3), [20, 12, 8])
    x = 5 * np.eye(3)[bundle] + 0.1 * rng.normal(size=(NUM_ROWS, 3))
    view = view_of(x.astype(np.float32), "none_labelled")
    settings = CASES[name] | ({"radius": 0.3} if name == "prob_cover" else {})
    found = strategy(name, **settings).select(jax.random.key(0), view, 3)
    assert sorted(bundle[found.indices].tolist()) == [0, 1, 2]
