"""Convolution, in the formulation that is fast where the program runs."""

import jax.numpy as jnp
from jax import Array, lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv2d(
    inputs: Array, kernel: Array, *, stride: int = 1, padding: str = "SAME"
) -> Array:
    return lax.platform_dependent(
        inputs,
        kernel,
        cpu=lambda x, w: _shifted(x, w, stride, padding),
        default=lambda x, w: _native(x, w, stride, padding),
    )


def _native(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=DIMENSIONS
    )


def _shifted(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    size = kernel.shape[:2]
    pads = lax.padtype_to_pads(inputs.shape[1:3], size, (stride, stride), padding)
    padded = jnp.pad(inputs, ((0, 0), *pads, (0, 0)))
    out_h = (padded.shape[1] - size[0]) // stride + 1
    out_w = (padded.shape[2] - size[1]) // stride + 1

    def shifted(i: int, j: int) -> Array:
        rows = slice(i, i + stride * (out_h - 1) + 1, stride)
        columns = slice(j, j + stride * (out_w - 1) + 1, stride)
        return padded[:, rows, columns] @ kernel[i, j]

    return sum(
        (shifted(i, j) for i in range(size[0]) for j in range(size[1])),
        start=jnp.zeros((), inputs.dtype),
    )
