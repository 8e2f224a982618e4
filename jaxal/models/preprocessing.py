"""Normalising inputs inside the model, so that a pool of images stays uint8."""

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxal.models.scaling import without_input_scale
from jaxal.types import Model, Output, Variables


def scale_inputs(model: Model, mean: ArrayLike, std: ArrayLike) -> Model:
    """Normalises inputs before the model sees them: `(x - mean) / std`.

    Integers are divided by 255 first, so `mean` and `std` are those of pixels in
    `[0, 1]`; floating-point inputs are taken as they are. A network that would find the
    scale of its inputs itself, as those of the zoo do, leaves that to these numbers.

    Args:
      model: sees float32 inputs `[B, ...]`.
      mean: one number, or one for each entry of the last axis.
      std: likewise, positive.

    Returns:
      A model of inputs `[B, ...]` of any real dtype.

    Raises:
      ValueError: `mean` or `std` fits neither one number nor the last axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.models import logistic_regression
      >>> model = scale_inputs(logistic_regression(2), mean=0.5, std=0.25)
      >>> images = jnp.full((1, 2, 2, 1), 255, jnp.uint8)
      >>> output, _ = model.apply(model.init(jax.random.key(0), images), images)
      >>> print(output.features)
      [[2. 2. 2. 2.]]
    """
    shift, spread = (jnp.asarray(value, jnp.float32) for value in (mean, std))

    def scaled(inputs: Array) -> Array:
        for name, value in (("mean", shift), ("std", spread)):
            _check_channels(name, value, inputs)
        x = inputs.astype(jnp.float32)
        x = x / 255 if jnp.issubdtype(inputs.dtype, jnp.integer) else x
        rank = (1,) * (x.ndim - 1) + (-1,)
        return (x - shift.reshape(rank)) / spread.reshape(rank)

    def init(key: Array, inputs: Array) -> Variables:
        return without_input_scale(model.init(key, scaled(inputs)))

    def apply(
        variables: Variables, inputs: Array, **how: Any
    ) -> tuple[Output, Variables]:
        return model.apply(variables, scaled(inputs), **how)

    return Model(init, apply)


def _check_channels(name: str, value: Array, inputs: Array) -> None:
    if value.shape not in ((), (1,), inputs.shape[-1:]):
        raise ValueError(
            f"{name} has shape {list(value.shape)}, expected one number, or one for "
            f"each of the {inputs.shape[-1]} entries of the inputs' last axis."
        )
