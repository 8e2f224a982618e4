"""Batch normalisation and ReLU that touch a batch of images as seldom as possible.

On a CPU both are bound by memory. Differentiated as written they keep arrays as large
as the images for the backward pass; here that pass is written out, and needs only the
input and the output, which the convolutions around them keep anyway.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

EPSILON = 1e-5
MOMENTUM = 0.9


class BatchNorm(nn.Module):
    """`nn.BatchNorm` over all axes but the last, with the same variables.

    Statistics are float32 whatever the inputs, which keep their dtype.
    """

    scale_init: Any = nn.initializers.ones_init()

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        var = self.variable("batch_stats", "var", jnp.ones, shape)
        if not train:
            slope = scale * lax.rsqrt(var.value + EPSILON)
            return _affine(x, slope, bias - mean.value * slope)
        y, batch_mean, batch_var = batch_normalize(x, scale, bias)
        if not self.is_initializing():
            mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * batch_mean
            var.value = MOMENTUM * var.value + (1 - MOMENTUM) * batch_var
        return y


@jax.custom_vjp
def batch_normalize(x: Array, scale: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Normalises by the batch's own statistics, over all axes but the last.

    `y = scale (x - mean) / sqrt(var + 1e-5) + bias`. The statistics returned are for
    running averages: no gradient flows through them.

    Args:
      x: `[..., channels]`.
      scale: `[channels]` float32.
      bias: `[channels]` float32.

    Returns:
      `y` like `x`, and the mean and (biased) variance `[channels]` of `x`.

    Example:
      >>> import jax.numpy as jnp
      >>> y, mean, var = batch_normalize(
      ...     jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1)
      ... )
      >>> print(y.round(3).ravel(), mean, var)
      [-1.  1.] [2.] [1.]

    Reference:
      Ioffe and Szegedy, "Batch Normalization", ICML 2015,
      https://arxiv.org/abs/1502.03167
    """
    return _batch_normalize_fwd(x, scale, bias)[0]


Saved = tuple[Array, Array, Array, Array]


def _batch_normalize_fwd(
    x: Array, scale: Array, bias: Array
) -> tuple[tuple[Array, Array, Array], Saved]:
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(jnp.float32)
    mean = wide.mean(axes)
    # Rounding may take the difference below zero.
    var = jnp.maximum(jnp.square(wide).mean(axes) - jnp.square(mean), 0)
    inverse = lax.rsqrt(var + EPSILON)
    y = _affine(x, scale * inverse, bias - mean * scale * inverse)
    return (y, mean, var), (x, scale, mean, inverse)


def _batch_normalize_bwd(
    saved: Saved, cotangents: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    x, scale, mean, inverse = saved
    axes = tuple(range(x.ndim - 1))
    dy = cotangents[0].astype(jnp.float32)
    centred = x.astype(jnp.float32) - _wide(mean, x)
    d_bias = dy.sum(axes)
    d_scale = (dy * centred).sum(axes) * inverse
    rows = x.size // x.shape[-1]
    along = _wide(inverse * d_scale / rows, x) * centred
    dx = _wide(scale * inverse, x) * (dy - _wide(d_bias / rows, x) - along)
    return dx.astype(x.dtype), d_scale, d_bias


batch_normalize.defvjp(_batch_normalize_fwd, _batch_normalize_bwd)


@jax.custom_vjp
def relu(x: Array) -> Array:
    """`max(x, 0)`, which remembers its output, not its input."""
    return jnp.maximum(x, 0)


def _relu_fwd(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_bwd(y: Array, dy: Array) -> tuple[Array]:
    return (jnp.where(y > 0, dy, 0),)


relu.defvjp(_relu_fwd, _relu_bwd)


def _affine(x: Array, slope: Array, offset: Array) -> Array:
    y = x.astype(jnp.float32) * _wide(slope, x) + _wide(offset, x)
    return y.astype(x.dtype)


def _wide(vector: Array, x: Array) -> Array:
    """`[channels]` with the rank of `x`."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
