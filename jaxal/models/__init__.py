"""Networks, and the doors through which other people's networks come in."""

from collections.abc import Callable
from typing import Any

from jaxal import checks
from jaxal.models.given import with_features
from jaxal.models.linen import from_linen
from jaxal.models.nnx import from_nnx
from jaxal.models.preprocessing import scale_inputs
from jaxal.models.resnet import resnet18
from jaxal.models.scaling import self_scaling
from jaxal.models.small import bayesian_cnn, gal_cnn, logistic_regression, mlp
from jaxal.types import Model

__all__ = [
    "MODELS",
    "bayesian_cnn",
    "build",
    "from_linen",
    "from_nnx",
    "gal_cnn",
    "logistic_regression",
    "mlp",
    "resnet18",
    "scale_inputs",
    "self_scaling",
    "with_features",
]

MODELS: dict[str, Callable[..., Model]] = {
    "bayesian_cnn": bayesian_cnn,
    "gal_cnn": gal_cnn,
    "logistic_regression": logistic_regression,
    "mlp": mlp,
    "resnet18": resnet18,
}
"""The zoo by name; a factory takes `num_classes` and its own settings."""


def build(name: str, num_classes: int, **settings: Any) -> Model:
    """Builds a network of the zoo by its name.

    Args:
      name: a key of `MODELS`.
      num_classes: C.
      **settings: what the factory takes, such as `width` for resnet18.

    Returns:
      The model.

    Raises:
      ValueError: no such name; the message has the nearest one.

    Example:
      >>> model = build("resnet18", 10, width=16)
    """
    if name not in MODELS:
        names = f"{', '.join(MODELS)}.{checks.nearest(name, MODELS)}"
        raise ValueError(f"model is {name!r}, expected one of {names}")
    return MODELS[name](num_classes, **settings)
