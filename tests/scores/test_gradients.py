"""Expected gradient length against gradients that are really taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.scores import expected_gradient_length
from tests.reference import scores as reference


def layer(seed=0, num_rows=6, num_features=4, num_classes=3):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_rows, num_features)).astype(np.float32)
    weights = rng.normal(size=(num_features, num_classes)).astype(np.float32)
    biases = rng.normal(size=num_classes).astype(np.float32)
    return features, {"weights": weights, "biases": biases}


@pytest.mark.parametrize("bias", [True, False])
def test_is_the_mean_norm_of_the_gradients(bias):
    features, params = layer()

    def loss(params, row, label):
        logits = row @ params["weights"] + params["biases"]
        return -jax.nn.log_softmax(logits)[label]

    def expected(row):
        probabilities = jax.nn.softmax(row @ params["weights"] + params["biases"])
        gradients = jax.vmap(lambda c: jax.grad(loss)(params, row, c))(jnp.arange(3))
        squares = jnp.sum(gradients["weights"] ** 2, axis=(1, 2))
        squares += jnp.sum(gradients["biases"] ** 2, axis=1) if bias else 0
        return jnp.sum(probabilities * jnp.sqrt(squares))

    logits = features @ params["weights"] + params["biases"]
    got = expected_gradient_length(logits, features, bias=bias)
    np.testing.assert_allclose(got, jax.vmap(expected)(features), rtol=1e-5)
    want = reference.expected_gradient_length(logits, features, bias)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_nearly_certain_rows_keep_their_digits():
    # 1 - p would round to zero at the second row and to noise at the first.
    logits = np.array([[0.0, -12.0, -13.0], [0.0, -25.0, -26.0]], np.float32)
    ones = np.ones((2, 1), np.float32)
    got = expected_gradient_length(logits, ones, bias=False)
    want = reference.expected_gradient_length(logits, ones, bias=False)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_rows_of_another_call_are_refused():
    with pytest.raises(ValueError, match="of one call of the model"):
        expected_gradient_length(jnp.zeros((3, 2)), jnp.zeros((4, 5)))


def test_integer_features_are_refused():
    with pytest.raises(TypeError, match="features has dtype int32"):
        expected_gradient_length(jnp.zeros((3, 2)), jnp.zeros((3, 5), jnp.int32))
