"""Strategies by kernels keep the laws, and know what they are told."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import View, strategy, uherding
from jaxal.metrics import expected_calibration_error
from jaxal.selection.cover.uherding import calibrated_temperature
from tests.cases_picks import masks
from tests.reference import kernels as reference

NUM_ROWS, NUM_DIMS, NUM_CLASSES, BATCH_SIZE = 40, 5, 3, 7
SETTINGS = {
    "max_herding": {},
    "uherding": {},
    "lcmd": {},
    "max_det": {"num_dims": 8},
    "frank_wolfe": {},
    "facility_location": {},
    "graph_cut": {},
    "log_determinant": {"num_dims": 8},
    "similar": {"classes": (0,), "num_queries": 6},
}


@functools.cache
def compiled(name, batch_size=BATCH_SIZE, **settings):
    chosen = strategy(name, **SETTINGS[name], **settings)
    return jax.jit(functools.partial(chosen.select, batch_size=batch_size))


def make_view(kind, seed=0, dtype=np.float32, is_dull=False):
    rng = np.random.default_rng(seed)
    is_available, is_labelled = masks(kind, NUM_ROWS)
    features = rng.normal(size=(NUM_ROWS, NUM_DIMS)).astype(dtype)
    logits = (3 * rng.normal(size=(NUM_ROWS, NUM_CLASSES))).astype(np.float32)
    labels = np.where(is_labelled, rng.integers(0, NUM_CLASSES, NUM_ROWS), -1)
    if is_dull:
        features = np.zeros_like(features)
        logits = np.where(np.arange(NUM_CLASSES) == 1, 0, -np.inf) + 0 * logits
    return View(
        jnp.asarray(is_available),
        jnp.asarray(is_labelled),
        labels=jnp.asarray(labels),
        logits=jnp.asarray(logits, jnp.float32),
        features=jnp.asarray(features),
    )


def test_uherding_weighs_rows_by_their_margin_at_the_calibrated_temperature():
    for seed in range(6):
        kind = ("some_labelled", "with_padding")[seed % 2]
        view = make_view(kind, seed)
        found = compiled("uherding")(jax.random.key(0), view)
        labelled = np.flatnonzero(view.is_labelled)
        logits = np.asarray(view.logits, np.float64)

        def error(t, logits=logits, labelled=labelled, view=view):
            z = jnp.asarray(logits[labelled] / t)
            return float(expected_calibration_error(z, view.labels[labelled]))

        temperatures = np.logspace(-1, 1, 49)
        t = float(calibrated_temperature(view.logits, view.labels, view.is_labelled))
        assert np.isclose(temperatures, t, rtol=1e-5).any()
        assert error(t) <= min(map(error, temperatures)) + 1e-5
        probs = np.exp(logits / t - (logits / t).max(-1, keepdims=True))
        probs = np.sort(probs / probs.sum(-1, keepdims=True), axis=-1)
        rows = reference.rows_of(view.features)
        near = rows[labelled][:, None] - rows[labelled][None]
        near = np.linalg.norm(near, axis=-1)[np.triu_indices(len(labelled), 1)]
        picks, _ = reference.max_herding(
            view.features,
            np.asarray(view.is_available),
            np.asarray(view.is_labelled),
            BATCH_SIZE,
            1 - (probs[:, -1] - probs[:, -2]),
            bandwidth=near.min(),
        )
        assert found.indices.tolist() == picks


def test_uncertainty_decides_between_rows_alike():
    x, free = jnp.eye(5), jnp.ones(5, bool)
    doubt = jnp.array([0.1, 0.0, 0.9, 0.2, 0.3])
    found = uherding(jax.random.key(0), x, free, batch_size=4, uncertainty=doubt)
    assert found.indices.tolist() == [2, 4, 3, 0]
    # No doubt anywhere is no reason to stop covering.
    nothing = jnp.zeros(5)
    x = jnp.array([[1.0, 0], [1, 0], [1, 0.1], [0, 1], [0, 1]])
    found = uherding(jax.random.key(0), x, free, batch_size=2, uncertainty=nothing)
    assert found.indices.tolist() == [2, 3]  # the one turned towards the others


@pytest.mark.parametrize(
    "function", ["facility_location", "graph_cut", "log_determinant"]
)
@pytest.mark.parametrize("of", ["features", "gradients"])
def test_similar_buys_what_is_like_the_rare_class(function, of):
    # Class 2 is rare: one labelled row of it, and rows 10 to 13 are like that one.
    is_rare = (np.arange(NUM_ROWS) >= 10) & (np.arange(NUM_ROWS) < 14)
    is_rare[0] = True
    rng = np.random.default_rng(0)
    common = np.array([1.0, 0, 0, 0, 0]) + 0.1 * rng.normal(size=(NUM_ROWS, NUM_DIMS))
    rare = np.array([0, 0, 1.0, 0, 0]) + 0.1 * rng.normal(size=(NUM_ROWS, NUM_DIMS))
    features = np.where(is_rare[:, None], rare, common).astype(np.float32)
    # Its rows are taken for class 0 with doubt, as others are.
    logits = np.tile(np.array([2.0, 0, 1.9], np.float32), (NUM_ROWS, 1))
    is_labelled = np.arange(NUM_ROWS) < 4
    view = View(
        jnp.asarray(~is_labelled),
        jnp.asarray(is_labelled),
        labels=jnp.where(is_labelled, jnp.where(is_rare, 2, 1), -1),
        logits=jnp.asarray(logits),
        features=jnp.asarray(features),
    )
    chosen = strategy("similar", classes=(2,), function=function, of=of, num_queries=6)
    if of == "gradients":
        # A candidate's gradient is at its predicted class: let that be class 2.
        view = view._replace(
            logits=jnp.where(is_rare[:, None], view.logits[:, ::-1], view.logits)
        )
    found = chosen.select(jax.random.key(0), view, 4)
    assert sorted(found.indices.tolist()) == [10, 11, 12, 13]
    # It is the class with the fewest labels, too.
    chosen = strategy("similar", function=function, of=of, num_queries=6)
    again = chosen.select(jax.random.key(0), view, 4)
    assert again.indices.tolist() == found.indices.tolist()


def test_similar_draws_while_no_row_of_the_classes_is_labelled():
    view = make_view("none_labelled")
    draws = [compiled("similar")(jax.random.key(s), view).indices for s in range(20)]
    assert np.unique(np.stack(draws)).size > 30


def test_settings_are_refused():
    with pytest.raises(ValueError, match="gradients"):
        strategy("lcmd", of="nothing")
    with pytest.raises(ValueError, match="classes"):
        strategy("similar", classes=())
    with pytest.raises(ValueError, match="log_determinant"):
        strategy("similar", classes=(1,), function="entropy")
