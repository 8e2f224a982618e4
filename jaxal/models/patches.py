"""Convolution as one product: every output's patch of inputs, times the kernel."""

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
        return _multiply(x, kernel, stride, pads)

    return map_blocks(block, inputs, block_rows(inputs, kernel))


def vjp(
    inputs: Array, kernel: Array, cotangent: Array, stride: int, padding: str
) -> tuple[Array, Array]:
    """Gradients of `convolve` with respect to inputs and kernel."""
    pads = _pads(inputs, kernel, stride, padding)

    def block(x: Array, dy: Array) -> tuple[Array, Array]:
        if stride == 1:
            return _vjp_stride_one(x, kernel, dy, pads)
        return jax.vjp(lambda x, k: _multiply(x, k, stride, pads), x, kernel)[1](dy)

    return map_and_sum_blocks(block, (inputs, cotangent), block_rows(inputs, kernel))


def _vjp_stride_one(
    x: Array, kernel: Array, dy: Array, pads: Pads
) -> tuple[Array, Array]:
    """The input's gradient is a convolution too, with the kernel turned around."""
    height, width, channels, features = kernel.shape
    back = [
        (size - 1 - low, x.shape[axis] - dy.shape[axis] + low)
        for axis, size, (low, _) in zip((1, 2), (height, width), pads, strict=True)
    ]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    dy_patches = _patches(dy, (height, width), 1, back)
    dx = dy_patches @ turned.reshape(-1, channels)
    if channels < features:  # fewer numbers in the patches of x
        x_patches = _patches(x, (height, width), 1, pads)
        return dx, contract_rows(x_patches, dy).reshape(kernel.shape)
    product = contract_rows(x, dy_patches).reshape(channels, height, width, features)
    return dx, product[:, ::-1, ::-1].transpose(1, 2, 0, 3)


def _multiply(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    patches = _patches(x, kernel.shape[:2], stride, pads)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


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
