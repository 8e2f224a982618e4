"""ResNet-18 for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxal.models.layers import Conv, as_images
from jaxal.models.linen import from_linen
from jaxal.models.normalization import BatchNorm, relu
from jaxal.models.scaling import self_scaling
from jaxal.types import Model, Output

BLOCKS = (2, 2, 2, 2)


def resnet18(
    num_classes: int,
    *,
    width: int = 64,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
) -> Model:
    """ResNet-18 with the CIFAR stem: one 3 x 3 convolution and no max-pooling.

    Four stages of two basic blocks with `width`, 2, 4 and 8 times `width` channels,
    each stage but the first at half the resolution of the one before. The last
    BatchNorm of each block starts at scale zero, so every block starts as its
    shortcut. At width 64 and 10 classes it has 11,173,962 parameters.

    Args:
      num_classes: C.
      width: channels of the first stage.
      dropout: probability of dropping a feature before the last layer.
      dtype: of the convolutions, such as `jnp.bfloat16`. Parameters, batch statistics
        and logits stay float32.

    Returns:
      A model of images `[B, H, W, channels]`; its features are `[B, 8 * width]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = resnet18(10, width=4)
      >>> images = jnp.ones((2, 16, 16, 3))
      >>> output, _ = model.apply(model.init(jax.random.key(0), images), images)
      >>> output.logits.shape, output.features.shape
      ((2, 10), (2, 32))

    Reference:
      He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR
      2016, https://arxiv.org/abs/1512.03385. The zero scale: Goyal et al., "Accurate,
      Large Minibatch SGD", 2017, https://arxiv.org/abs/1706.02677
    """
    return self_scaling(from_linen(_ResNet(num_classes, width, dropout, dtype)))


class _Block(nn.Module):
    channels: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        y = Conv(self.channels, 3, self.stride, dtype=self.dtype)(x)
        y = relu(BatchNorm()(y, train))
        y = Conv(self.channels, 3, dtype=self.dtype)(y)
        y = BatchNorm(nn.initializers.zeros_init())(y, train)
        if x.shape != y.shape:
            x = Conv(self.channels, 1, self.stride, dtype=self.dtype)(x)
            x = BatchNorm()(x, train)
        return relu(x + y)


class _ResNet(nn.Module):
    num_classes: int
    width: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Output:
        x = Conv(self.width, 3, dtype=self.dtype)(as_images(x))
        x = relu(BatchNorm()(x, train))
        for stage, blocks in enumerate(BLOCKS):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x = _Block(self.width * 2**stage, stride, self.dtype)(x, train)
        x = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
        x = nn.Dropout(self.dropout)(x)
        return Output(nn.Dense(self.num_classes, name="head")(x), x)
