"""Small networks: the two Bayesian CNNs of the literature, an MLP, a linear model."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxal.models.layers import Conv, as_images, as_rows, halve
from jaxal.models.linen import from_linen
from jaxal.models.scaling import self_scaling
from jaxal.types import Model, Output

# Below this height or width unpadded convolutions would shrink an image to nothing.
MIN_UNPADDED_SIZE = 16


def mlp(
    num_classes: int, hidden: Sequence[int] = (128,), dropout: float = 0.0
) -> Model:
    """A multi-layer perceptron with ReLU; images are flattened.

    Args:
      num_classes: C.
      hidden: units of each hidden layer.
      dropout: probability of dropping a hidden unit.

    Returns:
      A model of inputs `[B, ...]`; its features are the last hidden layer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = mlp(10, hidden=(32, 16))
      >>> images = jnp.ones((4, 8, 8, 1))
      >>> output, _ = model.apply(model.init(jax.random.key(0), images), images)
      >>> output.features.shape
      (4, 16)
    """
    return self_scaling(from_linen(_MLP(num_classes, tuple(hidden), dropout)))


def logistic_regression(num_classes: int) -> Model:
    """One linear layer; images are flattened.

    Args:
      num_classes: C.

    Returns:
      A model of inputs `[B, ...]`; its features are the flattened inputs.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = logistic_regression(3)
      >>> variables = model.init(jax.random.key(0), jnp.ones((1, 4)))
      >>> variables["params"]["head"]["kernel"].shape
      (4, 3)
    """
    return self_scaling(from_linen(_MLP(num_classes, (), 0.0)))


def bayesian_cnn(num_classes: int) -> Model:
    """The Bayesian CNN of the BatchBALD paper.

    Two blocks of a 5 x 5 convolution (32 and 64 channels), dropout of whole channels,
    2 x 2 max-pooling and ReLU; then a dense layer of 128 units with ReLU and dropout,
    and the head. Dropout probability 0.5 throughout, convolutions unpadded except on
    images smaller than 16 x 16.

    Args:
      num_classes: C.

    Returns:
      A model of images `[B, H, W, channels]`, at least 4 x 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = bayesian_cnn(10)
      >>> images = jnp.ones((2, 28, 28, 1))
      >>> output, _ = model.apply(model.init(jax.random.key(0), images), images)
      >>> output.features.shape
      (2, 128)

    Reference:
      Kirsch, van Amersfoort and Gal, "BatchBALD: Efficient and Diverse Batch
      Acquisition for Deep Bayesian Active Learning", NeurIPS 2019,
      https://arxiv.org/abs/1906.08158
    """
    return self_scaling(from_linen(_BayesianCNN(num_classes)))


def gal_cnn(num_classes: int) -> Model:
    """The network of "Deep Bayesian Active Learning with Image Data".

    Two 4 x 4 convolutions of 32 channels with ReLU, 2 x 2 max-pooling, dropout 0.25, a
    dense layer of 128 units with ReLU, dropout 0.5, and the head. Convolutions are
    unpadded except on images smaller than 16 x 16.

    Args:
      num_classes: C.

    Returns:
      A model of images `[B, H, W, channels]`, at least 2 x 2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = gal_cnn(10)
      >>> images = jnp.ones((2, 28, 28, 1))
      >>> output, _ = model.apply(model.init(jax.random.key(0), images), images)
      >>> output.features.shape
      (2, 128)

    Reference:
      Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML
      2017, https://arxiv.org/abs/1703.02910
    """
    return self_scaling(from_linen(_GalCNN(num_classes)))


class _MLP(nn.Module):
    num_classes: int
    hidden: tuple[int, ...]
    dropout: float

    @nn.compact
    def __call__(self, x: Array) -> Output:
        x = as_rows(x)
        for units in self.hidden:
            x = nn.relu(nn.Dense(units)(x))
            x = nn.Dropout(self.dropout)(x)
        return Output(nn.Dense(self.num_classes, name="head")(x), x)


class _BayesianCNN(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x: Array) -> Output:
        x = as_images(x).astype(jnp.float32)
        padding = _padding(x)
        for channels in (32, 64):
            x = Conv(channels, 5, padding=padding, use_bias=True)(x)
            x = nn.Dropout(0.5, broadcast_dims=(1, 2))(x)
            x = nn.relu(halve(x))
        x = nn.relu(nn.Dense(128)(as_rows(x)))
        x = nn.Dropout(0.5)(x)
        return Output(nn.Dense(self.num_classes, name="head")(x), x)


class _GalCNN(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x: Array) -> Output:
        x = as_images(x).astype(jnp.float32)
        padding = _padding(x)
        for _ in range(2):
            x = nn.relu(Conv(32, 4, padding=padding, use_bias=True)(x))
        x = nn.Dropout(0.25)(halve(x))
        x = nn.Dropout(0.5)(nn.relu(nn.Dense(128)(as_rows(x))))
        return Output(nn.Dense(self.num_classes, name="head")(x), x)


def _padding(images: Array) -> str:
    return "SAME" if min(images.shape[1:3]) < MIN_UNPADDED_SIZE else "VALID"
