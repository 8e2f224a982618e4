"""Embeddings against the same rows written out in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import (
    Concatenated,
    Dense,
    Outer,
    Scaled,
    as_embedding,
    gradient_embedding,
    per_example_gradients,
    pseudo_label_loss,
    random_projection,
)

N, C, D = 7, 4, 5
RNG = np.random.default_rng(0)
X, H, A = RNG.normal(size=(N, 3)), RNG.normal(size=(N, D)), RNG.normal(size=(N, C))
FACTORS = RNG.normal(size=N)
OUTER = np.einsum("nc,nd->ncd", A, H).reshape(N, C * D)


def array(x, dtype=jnp.float32):
    return jnp.asarray(x, dtype)


EMBEDDINGS = {
    "dense": (lambda t: Dense(array(X, t)), X),
    "outer": (lambda t: Outer(array(A, t), array(H, t)), OUTER),
    "scaled": (
        lambda t: Scaled(Outer(array(A, t), array(H, t)), array(FACTORS)),
        OUTER * FACTORS[:, None],
    ),
    "concatenated": (
        lambda t: Concatenated((Dense(array(X, t)), Outer(array(A, t), array(H, t)))),
        np.concatenate([X, OUTER], axis=-1),
    ),
}
by_kind = pytest.mark.parametrize("kind", EMBEDDINGS)


@by_kind
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_norms_and_products_are_those_of_the_rows_written_out(kind, dtype):
    make, written = EMBEDDINGS[kind]
    rows = make(dtype)
    tolerance = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}[dtype]
    others = rows.take(jnp.array([3, 0]))
    scale = np.abs(written @ written.T).max()
    assert rows.num_rows == N and others.num_rows == 2
    assert rows.sqnorm().dtype == rows.inner(others).dtype == jnp.float32
    expected = np.sum(written**2, axis=-1)
    np.testing.assert_allclose(rows.sqnorm(), expected, atol=tolerance * scale)
    expected = written @ written[[3, 0]].T
    np.testing.assert_allclose(rows.inner(others), expected, atol=tolerance * scale)


@by_kind
def test_moving_the_origin_changes_no_distance(kind):
    make, written = EMBEDDINGS[kind]
    rows = make("float32")
    moved = rows.relative_to(rows.origin(jnp.arange(N) != 2))
    norms = moved.sqnorm()
    distances = norms[:, None] + norms[None] - 2 * moved.inner(moved)
    expected = np.sum((written[:, None] - written[None]) ** 2, axis=-1)
    np.testing.assert_allclose(distances, expected, atol=1e-4)


def test_origin_is_amid_the_rows_that_are_used():
    x = jnp.array([[1.0], [2.0], [3.0], [4.0], [1e9], [-7.0]])
    is_used = jnp.array([True, True, True, True, True, False])
    assert Dense(x).origin(is_used).tolist() == [3.0]
    assert Dense(x).origin(jnp.zeros(6, bool)).tolist() == [0.0]


@by_kind
def test_projection_keeps_products_on_average(kind):
    make, written = EMBEDDINGS[kind]
    projected = random_projection(jax.random.key(0), make("float32"), 40_000)
    assert projected.x.shape == (N, 40_000)
    products = written @ written.T
    np.testing.assert_allclose(
        projected.inner(projected), products, atol=0.1 * np.abs(products).max()
    )


def test_half_precision_rows_are_summed_in_float32():
    x = jnp.ones((2, 5000), jnp.bfloat16)
    assert Dense(x).sqnorm().tolist() == [5000.0, 5000.0]
    assert Dense(x).inner(Dense(x)).tolist() == [[5000.0] * 2] * 2
    assert Outer(x, x).sqnorm().tolist() == [25e6, 25e6]


@pytest.mark.parametrize("has_bias", [False, True])
def test_closed_form_is_the_gradient_of_the_last_layer(has_bias):
    key_w, key_h = jax.random.split(jax.random.key(1))
    features = jax.random.normal(key_h, (N, D))
    params = {"w": jax.random.normal(key_w, (C, D))}
    if has_bias:
        params["b"] = jnp.arange(C, dtype=jnp.float32)

    def logits_of(params, row):
        return params["w"] @ row + params.get("b", 0.0)

    def loss(params, row):
        return pseudo_label_loss(logits_of(params, row))

    logits = jax.vmap(logits_of, (None, 0))(params, features)
    closed = gradient_embedding(logits, features, bias=has_bias)
    written = per_example_gradients(loss, params, features)
    assert written.x.shape == (N, C * D + C * has_bias)
    np.testing.assert_allclose(closed.sqnorm(), written.sqnorm(), rtol=1e-5)
    np.testing.assert_allclose(
        closed.inner(closed), written.inner(written), rtol=1e-4, atol=1e-5
    )
    outer = closed.a[:, :, None] * closed.h[:, None, :D]
    weights = written.x[:, -C * D :].reshape(N, C, D)  # leaves in order: b, w
    np.testing.assert_allclose(outer, weights, atol=1e-6)


def test_confident_rows_keep_their_digits():
    logits = jnp.array([[30.0, 0.0, 0.0], [0.0, -jnp.inf, -jnp.inf]])
    rows = gradient_embedding(logits, jnp.ones((2, 1)))
    small = np.exp(-30.0) / (1 + 2 * np.exp(-30.0))
    np.testing.assert_allclose(rows.a[0], [-2 * small, small, small], rtol=1e-5)
    assert rows.a[1].tolist() == [0.0, 0.0, 0.0]


def test_ties_are_given_one_label():
    rows = gradient_embedding(jnp.zeros((1, 2)), jnp.ones((1, 1)))
    assert rows.a.tolist() == [[-0.5, 0.5]]
    gradient = jax.grad(pseudo_label_loss)(jnp.zeros(2))
    assert gradient.tolist() == [-0.5, 0.5]


def test_bad_input_is_refused_with_a_cure():
    with pytest.raises(ValueError, match=r"\[3\], expected \[N, D\]"):
        as_embedding(jnp.ones(3))
    with pytest.raises(TypeError, match="int32.*Cast"):
        as_embedding(jnp.ones((3, 2), jnp.int32))
    with pytest.raises(ValueError, match="3 rows and features 2"):
        gradient_embedding(jnp.ones((3, 2)), jnp.ones((2, 5)))
    with pytest.raises(ValueError, match="no examples"):
        per_example_gradients(lambda p: p, jnp.ones(2))
