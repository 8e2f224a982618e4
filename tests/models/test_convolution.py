"""Layers written for speed compute what their plain counterparts compute."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxal.models import patches, winograd
from jaxal.models.convolution import conv2d
from jaxal.models.normalization import BatchNorm, batch_normalize, relu


def native(inputs, kernel, stride=1, padding="SAME"):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=dimensions
    )


def arrays(shape, kernel_shape):
    keys = jax.random.split(jax.random.key(sum(shape) + sum(kernel_shape)))
    inputs = jax.random.normal(keys[0], shape)
    return inputs, jax.random.normal(keys[1], kernel_shape)


def assert_close(actual, expected):
    scale = float(np.max(np.abs(expected)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * scale)


def value_and_gradients(convolve, inputs, kernel, weight):
    outputs, vjp = jax.vjp(convolve, inputs, kernel)
    return outputs, *vjp(jnp.sin(weight * outputs))


CASES = [
    # inputs, kernel, stride, padding
    ((3, 8, 8, 8), (3, 3, 8, 16), 1, "SAME"),  # Winograd
    ((2, 8, 12, 16), (3, 3, 16, 8), 1, "SAME"),  # Winograd, not square
    ((3, 7, 9, 8), (3, 3, 8, 8), 1, "SAME"),
    ((3, 8, 8, 4), (3, 3, 4, 6), 2, "SAME"),
    ((2, 7, 5, 3), (3, 3, 3, 4), 2, "SAME"),
    ((2, 8, 8, 6), (1, 1, 6, 4), 1, "SAME"),
    ((2, 7, 8, 6), (1, 1, 6, 4), 2, "SAME"),
    ((2, 9, 8, 2), (5, 5, 2, 3), 1, "SAME"),
    ((2, 9, 8, 3), (5, 5, 3, 2), 2, "VALID"),
    ((2, 9, 8, 3), (5, 5, 3, 2), 1, "VALID"),
    ((2, 9, 8, 2), (4, 4, 2, 3), 1, "SAME"),
    ((2, 9, 8, 3), (2, 4, 3, 2), 1, "VALID"),
]


def check_against_native(shape, kernel_shape, stride, padding):
    inputs, kernel = arrays(shape, kernel_shape)

    def both(inputs, kernel, weight):
        return [
            value_and_gradients(
                lambda x, k, f=f: f(x, k, stride, padding), inputs, kernel, weight
            )
            for f in (conv2d, native)
        ]

    ours, theirs = jax.jit(both)(inputs, kernel, 0.1)
    for actual, expected in zip(ours, theirs, strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_native_convolution(case):
    check_against_native(*case)


@pytest.mark.parametrize("case", [CASES[0], CASES[2], CASES[3]], ids=str)
def test_equals_the_native_convolution_block_by_block(case, monkeypatch):
    for module in (patches, winograd):  # three rows: the second block is padded
        monkeypatch.setattr(module, "block_rows", lambda inputs, weights: 2)
    check_against_native(*case)


def test_the_first_cases_are_winograd_and_the_others_are_not():
    chosen = [
        winograd.applies(*arrays(shape, kernel_shape), stride, padding)
        for shape, kernel_shape, stride, padding in CASES
    ]
    assert chosen == [True, True] + [False] * (len(CASES) - 2)


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (7, 3)])
def test_batch_normalisation_equals_its_definition(shape):
    keys = jax.random.split(jax.random.key(5), 3)
    x = 2 * jax.random.normal(keys[0], shape) + 1
    scale, bias = jax.random.normal(keys[1], (2, 3))

    def plain(x, scale, bias):
        axes = tuple(range(x.ndim - 1))
        centred = x - x.mean(axes, keepdims=True)
        var = jnp.square(centred).mean(axes, keepdims=True)
        expand = (1,) * (x.ndim - 1) + (-1,)
        slope = scale.reshape(expand) / jnp.sqrt(var + 1e-5)
        return slope * centred + bias.reshape(expand)

    def loss(normalise):
        def total(x, scale, bias):
            return jnp.sum(jnp.sin(relu(normalise(x, scale, bias))))

        return jax.value_and_grad(total, argnums=(0, 1, 2))

    def ours(x, scale, bias):
        return batch_normalize(x, scale, bias)[0]

    actual = jax.jit(loss(ours))(x, scale, bias)
    expected = jax.jit(loss(plain))(x, scale, bias)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        actual,
        expected,
    )
    _, mean, var = batch_normalize(x, scale, bias)
    rows = np.asarray(x, np.float64).reshape(-1, 3)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, rows.var(0), rtol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_batch_norm_is_flax_batch_norm(train):
    x = 2 * jax.random.normal(jax.random.key(6), (4, 5, 6, 3)) + 1
    theirs = nn.BatchNorm(not train, momentum=0.9)
    variables = theirs.init(jax.random.key(7), x)
    variables = jax.tree.map(lambda leaf: leaf + 0.5, variables)
    mutable = ["batch_stats"]
    expected = theirs.apply(variables, x, mutable=mutable)
    actual = BatchNorm().apply(variables, x, train, mutable=mutable)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        actual,
        expected,
    )
