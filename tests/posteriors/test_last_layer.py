"""Laplace as a posterior against explicit covariances in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import Model, Output, laplace, make_pool, pool_mesh
from jaxal.posteriors import last_layer
from jaxal.posteriors.laplace import (
    draw_kronecker,
    evidence_precision,
    kronecker_posterior,
    kronecker_sums,
)
from tests.toys import blobs, linear

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(30, 3)
MODEL = linear(3)


def fitted(structure, *, known, inputs=INPUTS, model=MODEL, **settings):
    labels = np.where(known, LABELS, -1)
    pool = make_pool(inputs, labels, mesh=pool_mesh(jax.devices()[:1]))
    variables = MODEL.init(KEY, INPUTS)
    posterior = laplace(model, structure, **settings)
    return posterior, jax.jit(posterior.fit)(KEY, variables, pool), variables


def explicit(variables, known, prior, structure):
    """Covariance of the weights, row c D + d, of features with a one appended."""
    x = np.concatenate([INPUTS, np.ones((30, 1))], 1)[known].astype(np.float64)
    w, b = (np.asarray(variables["params"][n], np.float64) for n in "wb")
    logits = x[:, :-1] @ w + b
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if structure == "full":
        sums = np.zeros((9, 9))
        for q, h in zip(p, x, strict=True):
            sums += np.kron(np.diag(q) - np.outer(q, q), np.outer(h, h))
    else:
        a = sum(np.diag(q) - np.outer(q, q) for q in p) / max(len(p), 1)
        sums = np.kron(a, x.T @ x) if len(p) else np.zeros((9, 9))
    return np.linalg.inv(sums + prior * np.eye(9))


@pytest.mark.parametrize("structure", ["kronecker", "full"])
@pytest.mark.parametrize("num_known", [0, 11, 30])
def test_draws_have_the_posteriors_covariance(structure, num_known, monkeypatch):
    monkeypatch.setattr(last_layer, "_CHUNK", 4)
    known = np.random.default_rng(1).permutation(30) < num_known
    count = 20_000
    posterior, state, variables = fitted(
        structure, known=known, num_samples=count, prior_precision=0.7
    )
    # Unit inputs show the weights themselves: logits minus the network's.
    rows = jnp.concatenate([jnp.zeros([1, 2]), jnp.eye(2)])
    draws = posterior.sample(jax.random.key(3), state, rows).logits
    moved = np.asarray(draws - posterior.network(state, rows).logits[None])
    weights = np.stack([moved[:, 1] - moved[:, 0], moved[:, 2] - moved[:, 0]], -1)
    weights = np.concatenate([weights, moved[:, :1].transpose(0, 2, 1)], -1)
    found = np.cov(weights.reshape(count, 9).T)
    expected = explicit(variables, known, 0.7, structure)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(found - expected) < 5 * scale * np.sqrt(2 / count)).all()


def test_it_is_the_draw_of_the_arrays():
    known = np.arange(30) < 12
    posterior, state, variables = fitted("kronecker", known=known, bias=False)
    logits, features = MODEL.apply(variables, jnp.asarray(INPUTS))[0]
    sums = kronecker_sums(logits, features, jnp.asarray(known))
    draws = draw_kronecker(KEY, kronecker_posterior(sums, 1.0), 20)
    expected = logits[None] + jnp.einsum("scd,nd->snc", draws, features)
    found = posterior.sample(KEY, state, jnp.asarray(INPUTS)).logits
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_rows_without_a_label_may_hold_anything():
    def apply(variables, inputs, **_):
        output, variables = MODEL.apply(variables, inputs)
        is_far = jnp.abs(inputs[:, :1]) > 50
        return jax.tree.map(lambda x: jnp.where(is_far, jnp.nan, x), output), variables

    known = np.arange(30) < 12
    odd = np.where(np.arange(30)[:, None] == 25, np.float32(99), INPUTS)
    model = Model(MODEL.init, apply)
    posterior, state, _ = fitted("full", known=known, inputs=odd, model=model)
    _, expected, _ = fitted("full", known=known)
    np.testing.assert_allclose(state.layer, expected.layer, rtol=1e-5)


def test_what_cannot_be_is_refused():
    for settings, message in (
        ({"structure": "diagonal"}, "'diagonal'"),
        ({"num_samples": 0}, "at least 1"),
        ({"prior_precision": 0.0}, "positive"),
    ):
        with pytest.raises(ValueError, match=message):
            laplace(MODEL, **settings)
    pool = make_pool(INPUTS)
    blind = Model(MODEL.init, lambda v, x, **_: (Output(x @ v["params"]["w"]), v))
    for model, message in ((blind, "needs features"), (linear(1), "one output")):
        with pytest.raises(ValueError, match=message):
            laplace(model).fit(KEY, model.init(KEY, INPUTS), pool)


def test_the_prior_of_most_evidence_is_that_of_a_search_in_float64():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 4)).astype(np.float32)
    layer = rng.normal(size=(3, 4))
    layer -= layer.mean(0)  # what no prediction tells of, a penalty leaves at zero
    logits = (features @ layer.T).astype(np.float32)
    known = rng.random(40) < 0.5
    sums = kronecker_sums(jnp.asarray(logits), features, jnp.asarray(known))
    found = float(evidence_precision(sums))

    h, z = (x[known].astype(np.float64) for x in (features, logits))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    outputs = np.diag(p.mean(0)) - p.T @ p / len(p)
    curvature = np.outer(np.linalg.eigvalsh(outputs), np.linalg.eigvalsh(h.T @ h))
    grid = np.exp(np.linspace(-7, 7, 4001))
    size = curvature.size
    evidence = size / 2 * np.log(grid) - grid / 2 * (layer**2).sum()
    evidence -= np.log(curvature.clip(0)[..., None] + grid).sum((0, 1)) / 2
    assert found == pytest.approx(grid[evidence.argmax()], rel=0.01)


def test_without_labels_the_prior_stays_as_it_is():
    sums = kronecker_sums(jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.zeros(5, bool))
    assert float(evidence_precision(sums)) == 1.0
