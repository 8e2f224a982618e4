"""Layers the zoo is made of."""

import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxal.models.convolution import conv2d


class Conv(nn.Module):
    """`nn.Conv` without bias on square kernels, with the same kernel parameter."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: str = "SAME"
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        size = (self.kernel_size, self.kernel_size)
        shape = (*size, inputs.shape[-1], self.features)
        kernel = self.param("kernel", _as_matrix, shape)
        outputs = conv2d(
            inputs.astype(self.dtype),
            kernel.astype(self.dtype),
            self.stride,
            self.padding,
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            outputs = outputs + bias.astype(self.dtype)[None, None, None]
        return outputs


def _as_matrix(key: Array, shape: tuple[int, ...]) -> Array:
    """The same numbers as for four axes, which XLA takes ten times as long to compile
    on CPU: seconds for each layer."""
    rows = (math.prod(shape[:-1]), shape[-1])
    return nn.initializers.he_normal()(key, rows).reshape(shape)


def halve(images: Array) -> Array:
    """`nn.max_pool(images, (2, 2), (2, 2))`, whose gradient CPUs take long for."""
    rows, height, width, channels = images.shape
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    windows = even.reshape(rows, height // 2, 2, width // 2, 2, channels)
    return windows.max((2, 4))


def as_images(inputs: Array) -> Array:
    """Inputs `[B, H, W]` or `[B, H, W, channels]`, with the channel axis."""
    if inputs.ndim == 3:
        return inputs[..., None]
    if inputs.ndim == 4:
        return inputs
    raise ValueError(
        f"inputs have shape {list(inputs.shape)}, expected images [B, H, W, channels]. "
        "Reshape them, or use a model of flat inputs: mlp, logistic_regression."
    )


def as_rows(inputs: Array) -> Array:
    """Inputs `[B, ...]` flattened to float32 `[B, D]`."""
    return inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)
