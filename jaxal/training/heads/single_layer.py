"""A network of the user's own that is one dense layer: solved where it stands."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import linalg
from jaxal.pools.inputs import take_rows
from jaxal.training.heads.chosen_softmax import fit_rows
from jaxal.training.heads.linear import LabelledDesign, candidates
from jaxal.training.heads.rows import centred_rows, pool_moments
from jaxal.types import Inputs, Model, Output, Pool, Variables

_TRIED_ROWS = 4
_NOTHING = {
    "penalty": np.float32(1),  # NumPy's: an import must not start a backend
    "by_column": np.bool_(False),
    "num_labelled": np.int32(0),
}


def is_single_layer(model: Model, variables: Variables, row: Inputs) -> bool:
    """Returns whether logits are features times the one matrix of parameters.

    The shapes say whether it can be, and weights and rows drawn at random whether it
    is: a network that scales its logits, or has features of another layer, is not.

    Args:
      model: any network.
      variables: of the model, of which shapes and dtypes are read.
      row: inputs `[1, ...]`, of which shapes and dtypes are read.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.models import logistic_regression, mlp
      >>> row, found = jnp.ones([1, 4]), []
      >>> for model in (logistic_regression(3), mlp(3)):
      ...   variables = model.init(jax.random.key(0), row)
      ...   found.append(is_single_layer(model, variables, row))
      >>> found
      [True, False]
    """
    if len(jax.tree.leaves(variables["params"])) != 2:  # most, without a trace
        return False
    output = jax.eval_shape(_outputs(model), variables, row)
    if not _has_shapes(variables["params"], output):
        return False
    with jax.ensure_compile_time_eval():
        rows = jax.tree.map(partial(_random, rows=_TRIED_ROWS), row)
        params = jax.tree.map(_random, variables["params"])
        drawn = {**model.init(jax.random.key(0), rows), "params": params}
        logits, features = map(np.asarray, _outputs(model)(drawn, rows))
    bias, kernel = sorted(map(np.asarray, jax.tree.leaves(params)), key=np.ndim)
    return np.allclose(features @ kernel + bias, logits, rtol=1e-2, atol=1e-2)


def solve_layer(
    model: Model,
    variables: Variables,
    pool: Pool,
    order: Array,
    is_used: Array,
    weights: Array,
) -> tuple[Variables, Array, Array]:
    """Returns variables with the layer solved, the mean loss, and steps taken.

    Args:
      model: a single layer.
      variables: of the model.
      pool: whose rows say how columns spread.
      order: `[L]` rows that are labelled, perhaps repeatedly.
      is_used: `[L]` bool, the first of them.
      weights: `[L]`, how much each counts.
    """

    def seen(inputs: Inputs) -> Array:
        features = _outputs(model)(variables, inputs).features
        return features.astype(jnp.promote_types(features.dtype, jnp.float32))

    output = jax.eval_shape(
        _outputs(model), variables, take_rows(pool.inputs, slice(1))
    )
    moments = pool_moments(pool, seen)
    inputs = centred_rows(pool, order, is_used, moments.mean, seen)
    targets = jax.nn.one_hot(
        pool.labels[order], output.logits.shape[1], dtype=inputs.dtype
    )
    rows = LabelledDesign(inputs, is_used, targets, weights.astype(inputs.dtype))
    options = candidates("choose", None)
    solved, scale, _, info = fit_rows(options, _NOTHING, moments, rows)
    kernel = scale["factor"][:, None] * solved["kernel"]
    shifted = linalg.product(scale["shift"], kernel)
    found = {"kernel": kernel, "bias": solved["bias"] - shifted}

    def put(leaf: Array) -> Array:
        value = found["kernel"] if leaf.ndim == 2 else found["bias"]
        return value.astype(leaf.dtype)

    params = jax.tree.map(put, variables["params"])
    return {**variables, "params": params}, info.loss, info.num_steps


def _outputs(model: Model) -> Any:
    def outputs(variables: Variables, inputs: Inputs) -> Output:
        return model.apply(variables, inputs)[0]

    return outputs


def _has_shapes(params: Any, output: Output) -> bool:
    """Whether parameters could be a kernel `[D, C]` and a bias, and nothing else."""
    if output.features is None or output.logits.shape[-1] < 2:
        return False
    width, size = output.features.shape[-1], output.logits.shape[-1]
    shapes = sorted((leaf.shape for leaf in jax.tree.leaves(params)), key=len)
    return shapes == [(size,), (width, size)]


def _random(leaf: Any, rows: int | None = None) -> Array:
    """Numbers in the place of parameters, or of so many rows."""
    shape = leaf.shape if rows is None else (rows, *leaf.shape[1:])
    drawn = np.random.default_rng(0).normal(size=shape)
    is_real = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(drawn if is_real else drawn > 0).astype(leaf.dtype)
