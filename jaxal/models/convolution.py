"""Convolution, in the formulation that is fast where the program runs.

XLA's CPU backend runs a convolution inside a loop on a slow path, and its weight
gradient on a slower one. There a convolution is written as matrix products; on every
other platform it is `lax.conv_general_dilated`. Which of the two is decided when the
program is lowered, so it holds under jit, grad, vmap and in loops.
"""

import math
import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.models import patches, winograd

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_MOST_TAPS = 64  # numbers of a window; with more, patches take long to compile


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(
    inputs: Array, kernel: Array, stride: int = 1, padding: str = "SAME"
) -> Array:
    """Convolves images: what `nn.Conv` computes, without its bias.

    `y[b, p, q] = sum_ij x[b, stride p + i, stride q + j] @ kernel[i, j]` on inputs
    padded with zeros as XLA pads them.

    The gradient is written out by hand, so only reverse-mode differentiation is
    possible, any number of times. Where `jax.jvp` is needed, use `lax`.

    Args:
      inputs: `[B, H, W, channels]`.
      kernel: `[height, width, channels, features]`, of the same dtype.
      stride: in both directions.
      padding: "SAME" or "VALID".

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), features]` for "SAME".

    Example:
      >>> import jax.numpy as jnp
      >>> conv2d(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)))[0, :2, :2, 0]
      Array([[4., 6.],
             [6., 9.]], dtype=float32)
    """
    return _forward(inputs, kernel, stride, padding)


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **settings: Any,
) -> Array:
    """`lax.conv_general_dilated`, by `conv2d` where that is it and is faster.

    It is for images and lines with channels last, as Flax's `Conv` has them. Groups,
    dilations, strides that differ, windows of many numbers and three dimensions are
    left to XLA.
    """
    pads = [] if isinstance(padding, str) else [tuple(pair) for pair in padding]
    known = padding in ("SAME", "VALID") or (pads and min(map(min, pads)) >= 0)
    if known and len(set(window_strides)) == 1 and _is_plain(lhs, rhs, settings):
        if pads:
            lhs, padding = jnp.pad(lhs, ((0, 0), *pads, (0, 0))), "VALID"
        fits = all(map(operator.le, rhs.shape[:-2], lhs.shape[1:-1]))
        if padding == "SAME" or fits:
            return _channels_last(lhs, rhs, window_strides[0], str(padding))
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)


def _channels_last(lhs: Array, rhs: Array, stride: int, padding: str) -> Array:
    """`conv2d` of images, or of lines as images of a height of one."""
    if lhs.ndim == 4:
        return conv2d(lhs, rhs, stride, padding)
    return conv2d(lhs[:, None], rhs[None], stride, padding)[:, 0]


def _is_plain(lhs: Array, rhs: Array, settings: dict[str, Any]) -> bool:
    """Whether shapes are ours, and neither groups, dilations nor precision are set."""
    if lhs.ndim not in (3, 4) or math.prod(rhs.shape[:-2]) > _MOST_TAPS:
        return False
    settings = dict(settings)
    said = settings.pop("dimension_numbers", None)
    order = lax.conv_dimension_numbers(lhs.shape, rhs.shape, said)
    last = DIMENSIONS if lhs.ndim == 4 else ("NWC", "WIO", "NWC")
    ours = lax.conv_dimension_numbers(lhs.shape, rhs.shape, last)
    told = (
        one if isinstance(one, tuple | list) else (one,) for one in settings.values()
    )
    return order == ours and {None, 1}.issuperset(n for one in told for n in one)


def _conv2d_fwd(
    inputs: Array, kernel: Array, stride: int, padding: str
) -> tuple[Array, tuple[Array, Array]]:
    # Itself, rather than what it calls: that can be differentiated once more.
    return conv2d(inputs, kernel, stride, padding), (inputs, kernel)


def _conv2d_bwd(
    stride: int, padding: str, saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    def native(inputs: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        convolve = partial(_native, stride=stride, padding=padding)
        return jax.vjp(convolve, inputs, kernel)[1](cotangent)

    return lax.platform_dependent(
        *saved,
        cotangent,
        cpu=partial(_products_vjp, stride=stride, padding=padding),
        default=native,
    )


conv2d.defvjp(_conv2d_fwd, _conv2d_bwd)


def _forward(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    def choose(inputs: Array, kernel: Array) -> Array:
        return lax.platform_dependent(
            inputs,
            kernel,
            cpu=partial(_products, stride=stride, padding=padding),
            default=partial(_native, stride=stride, padding=padding),
        )

    merged = jax.custom_batching.custom_vmap(choose)

    @merged.def_vmap
    def merge(
        size: int, is_batched: list[bool], inputs: Array, kernel: Array
    ) -> tuple[Array, bool]:
        # Rows mapped one by one are one batch again, so that blocks have a good size.
        if is_batched == [True, False]:
            outputs = merged(inputs.reshape(-1, *inputs.shape[2:]), kernel)
            return outputs.reshape(size, -1, *outputs.shape[1:]), True
        axes = tuple(0 if batched else None for batched in is_batched)
        return jax.vmap(choose, axes)(inputs, kernel), True

    return merged(inputs, kernel)


def _native(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=DIMENSIONS
    )


def _products(inputs: Array, kernel: Array, stride: int, padding: str) -> Array:
    if inputs.dtype in (jnp.bfloat16, jnp.float16):
        # CPUs multiply these in float32 anyway; Winograd's sums need the precision.
        wide = (inputs.astype(jnp.float32), kernel.astype(jnp.float32))
        return _products(*wide, stride, padding).astype(inputs.dtype)
    if winograd.applies(inputs, kernel, stride, padding):
        return winograd.convolve(inputs, kernel)
    return patches.convolve(inputs, kernel, stride, padding)


def _products_vjp(
    inputs: Array, kernel: Array, cotangent: Array, stride: int, padding: str
) -> tuple[Array, Array]:
    if inputs.dtype in (jnp.bfloat16, jnp.float16):
        x, k, dy = (a.astype(jnp.float32) for a in (inputs, kernel, cotangent))
        d_inputs, d_kernel = _products_vjp(x, k, dy, stride, padding)
        return d_inputs.astype(inputs.dtype), d_kernel.astype(kernel.dtype)
    if winograd.applies(inputs, kernel, stride, padding):
        return winograd.vjp(inputs, kernel, cotangent)
    return patches.vjp(inputs, kernel, cotangent, stride, padding)
