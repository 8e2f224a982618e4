"""Convolution as one product: every output's patch of inputs, times the kernel."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.models.blocks import (
    block_rows,
    contract_rows,
    map_and_sum_blocks,
    map_blocks,
)

Pads = list[tuple[int, int]]


def convolve(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    """`conv2d` of `[B, H, W, channels]`, any kernel, stride and padding."""
    pads = _pads(inputs, kernel, stride, padding)

    def block(x: Array) -> Array:
        patches = _patches(x, kernel.shape[:2], stride, pads)
        return patches @ kernel.reshape(-1, kernel.shape[-1])

    return map_blocks(block, inputs, block_rows(inputs, kernel))


def vjp(
    inputs: Array, kernel: Array, cotangent: Array, stride: int, padding: str
) -> tuple[Array, Array]:
    """Gradients of `convolve` with respect to inputs and kernel."""
    pads = _pads(inputs, kernel, stride, padding)

    channels, features = kernel.shape[2:]
    by = _vjp_by_turning if stride == 1 and channels >= features else _vjp_by_patches

    def block(x: Array, dy: Array) -> tuple[Array, Array]:
        return by(x, kernel, dy, stride, pads)

    return map_and_sum_blocks(block, (inputs, cotangent), block_rows(inputs, kernel))


def _vjp_by_patches(
    x: Array, kernel: Array, dy: Array, stride: int, pads: Pads
) -> tuple[Array, Array]:
    """Every patch's gradient, added up where patches overlap."""
    cut = partial(_patches, size=kernel.shape[:2], stride=stride, pads=pads)
    patches, put_back = jax.vjp(cut, x)
    (dx,) = put_back(dy @ kernel.reshape(-1, kernel.shape[-1]).T)
    return dx, contract_rows(patches, dy).reshape(kernel.shape)


def _vjp_by_turning(
    x: Array, kernel: Array, dy: Array, stride: int, pads: Pads
) -> tuple[Array, Array]:
    """The input's gradient is a convolution too, with the kernel turned around.

    Its patches are those of the cotangent, fewer numbers than the patches of x.
    """
    height, width, channels, features = kernel.shape
    back = [
        (size - 1 - low, x.shape[axis] - dy.shape[axis] + low)
        for axis, size, (low, _) in zip((1, 2), (height, width), pads, strict=True)
    ]
    dy_patches = _patches(dy, (height, width), stride, back)
    dx = dy_patches @ kernel[::-1, ::-1].swapaxes(2, 3).reshape(-1, channels)
    product = contract_rows(x, dy_patches).reshape(channels, height, width, features)
    return dx, product[:, ::-1, ::-1].transpose(1, 2, 0, 3)


def _patches(x: Array, size: tuple[int, ...], stride: int, pads: Pads) -> Array:
    """`[B, H, W, channels]` to `[B, H', W', height * width * channels]`."""
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    spans = [
        (padded.shape[axis + 1] - size[axis]) // stride * stride + 1 for axis in (0, 1)
    ]
    return jnp.concatenate(
        [
            padded[:, i : i + spans[0] : stride, j : j + spans[1] : stride]
            for i in range(size[0])
            for j in range(size[1])
        ],
        axis=-1,
    )


def _pads(inputs: Array, kernel: Array, stride: int, padding: str) -> Pads:
    strides = (stride, stride)
    return lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], strides, padding)
