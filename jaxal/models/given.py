"""Features made elsewhere, that come with the inputs."""

from collections.abc import Mapping
from typing import Any

from jax import Array

from jaxal.types import Inputs, Model, Output, Variables


def with_features(model: Model, name: str = "features") -> Model:
    """Returns a model whose features are an array among its inputs, made elsewhere.

    Strategies that look at features, as `coreset` and `typiclust` do, then see another
    network's embedding; the model is trained on what is left, and never sees it. A
    posterior of the last layer, as `laplace`, needs the model's own features instead.

    Args:
      model: takes the other arrays, as a dict; a single one as it is.
      name: of the features `[B, D]` among the inputs.

    Returns:
      A model of a dict of inputs.

    Raises:
      ValueError: there is no array of that name, or nothing else.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.models import mlp, with_features
      >>> model = with_features(mlp(2))
      >>> inputs = {"image": jnp.zeros([5, 4, 4, 1]), "features": jnp.ones([5, 3])}
      >>> output, _ = model.apply(model.init(jax.random.key(0), inputs), inputs)
      >>> output.logits.shape, output.features.shape
      ((5, 2), (5, 3))
    """

    def init(key: Array, inputs: Inputs) -> Variables:
        return model.init(key, _parted(inputs, name)[0])

    def apply(
        variables: Variables, inputs: Inputs, **how: Any
    ) -> tuple[Output, Variables]:
        own, features = _parted(inputs, name)
        output, after = model.apply(variables, own, **how)
        return output._replace(features=features), after

    return Model(init, apply)


def _parted(inputs: Inputs, name: str) -> tuple[Any, Array]:
    if not isinstance(inputs, Mapping) or name not in inputs or len(inputs) < 2:
        found = list(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise ValueError(
            f"inputs are {found}, expected a dict with {name!r} and what the model "
            f'takes, such as {{"image": [N, H, W, 3], {name!r}: [N, D]}}.'
        )
    own = {key: leaf for key, leaf in inputs.items() if key != name}
    only, *others = own.values()
    return own if others else only, inputs[name]
