"""On the CPU a convolution is matrix products: the same numbers as lax.conv's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxal.models import patches, winograd
from jaxal.models.convolution import conv2d


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
