"""Networks that find the scale of their inputs, and keep that of their outputs."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxal.modes import in_any_mode
from jaxal.types import SCALE_ROWS, SCALING, Model, Output, Variables

TABLE_COLUMNS = 64  # inputs of fewer columns are a table's, each in a unit of its own
UNITS_APART = 30.0  # so many times the median spread is another unit


def self_scaling(model: Model) -> Model:
    r"""Centres and scales what a network sees, by rows that `init` is shown.

    The network sees $(x - \mu) / \sigma$ and says $a + b f$. These numbers are the
    collection "scaling" of its variables, so whoever applies the network to its
    variables gets it right. `init` finds the first two if it is shown at least 1,024
    rows, as learners do, see `input_scale` for the rule; with fewer they are 0 and 1.
    The last two are set by learners of a `Task` that standardises.

    Every network of the zoo does this; `scale_inputs` puts numbers of one's own in the
    place of those found.

    Args:
      model: sees inputs of a spread of about 1.

    Returns:
      A model of inputs `[B, ...]` as they come.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import Model, Output
      >>> toy = Model(lambda key, x: {"params": {}},
      ...             lambda v, x, *, key=None, train=False: (Output(x), v))
      >>> model, rows = self_scaling(toy), 50 + jnp.arange(2048.0)[:, None]
      >>> output, _ = model.apply(model.init(jax.random.key(0), rows), rows)
      >>> print(f"{abs(output.logits.mean()):.2f} {output.logits.std():.2f}")
      0.00 1.00
    """

    def init(key: Array, inputs: Array) -> Variables:
        if not hasattr(inputs, "ndim"):
            raise TypeError(
                f"inputs are {type(inputs).__name__}, and self_scaling scales one "
                "array. Scale those that need it inside the network."
            )
        shift, scale = input_scale(inputs)
        zero = jnp.zeros_like(shift, shape=())
        found = {
            "inputs": {"shift": shift, "scale": scale},
            "outputs": {"shift": zero, "scale": zero + 1},
        }
        variables = model.init(key, _standardised(found, inputs))
        return {**variables, SCALING: found}

    def apply(
        variables: Variables, inputs: Array, **how: Any
    ) -> tuple[Output, Variables]:
        scaling = variables.get(SCALING, {})
        inner = {name: tree for name, tree in variables.items() if name != SCALING}
        seen = _standardised(scaling, inputs)
        output, after = model.apply(inner, seen, **how)
        if SCALING in variables:
            after = {**after, SCALING: scaling}
        return output._replace(logits=_in_units(scaling, output.logits)), after

    return in_any_mode(Model(init, apply))


def input_scale(inputs: Array) -> tuple[Array, Array]:
    """Returns what to subtract from inputs, and what to divide them by.

    - Images `[B, H, W, channels]`: mean and standard deviation of each channel, and of
      all pixels of `[B, H, W]`.
    - Fewer than 64 columns are a table, each in a unit of its own: mean and standard
      deviation by column. So are those of which one spreads 30 times as far as the
      median column.
    - Other columns are an embedding's, whose directions keep their lengths: means by
      column, and one number, the root mean square of the standard deviations.

    What never changes is divided by 1. With fewer than 1,024 rows nothing is known: 0
    and 1.

    Args:
      inputs: `[B, ...]` of any real dtype.

    Returns:
      Two float32 (or wider) arrays `[columns]`, `[channels]` or `[]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.models.scaling import input_scale
      >>> rows = jnp.arange(2000.0)[:, None] * jnp.array([[1.0, 0.2]])
      >>> [[round(float(v), 2) for v in x] for x in input_scale(rows)]
      [[999.5, 199.9], [577.35, 115.47]]
    """
    x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
    axes = (0,) if x.ndim == 2 else tuple(range(x.ndim - (x.ndim == 4)))
    shift, scale = x.mean(axes), x.std(axes)
    if x.shape[0] < SCALE_ROWS:
        return jnp.zeros_like(shift), jnp.ones_like(scale)
    if x.ndim == 2 and x.shape[1] >= TABLE_COLUMNS:
        one = jnp.sqrt(jnp.square(scale).mean())
        is_table = scale.max() > UNITS_APART * jnp.median(scale)
        scale = jnp.where(is_table, scale, one)
    is_constant = scale <= 1e-6 * jnp.maximum(jnp.abs(shift), 1e-6)
    return shift, jnp.where(is_constant, 1, scale)


def without_input_scale(variables: Variables) -> Variables:
    """Returns variables of a network whose inputs somebody else has scaled."""
    if SCALING not in variables:
        return variables
    kept = {name: v for name, v in variables[SCALING].items() if name != "inputs"}
    return {**variables, SCALING: kept}


def _standardised(scaling: Any, inputs: Array) -> Array:
    if "inputs" not in scaling:
        return inputs
    x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
    shift, scale = (scaling["inputs"][name] for name in ("shift", "scale"))
    rank = (1,) * (x.ndim - shift.ndim)
    wide = (
        value.reshape(rank + value.shape).astype(x.dtype) for value in (shift, scale)
    )
    return (x - next(wide)) / next(wide)


def _in_units(scaling: Any, logits: Array) -> Array:
    """Means, or means and log-variances, in the units of the targets."""
    if "outputs" not in scaling or logits.shape[-1] > 2:
        return logits
    shift, scale = (scaling["outputs"][name] for name in ("shift", "scale"))
    factors, terms = [scale, jnp.ones([], scale.dtype)], [shift, 2 * jnp.log(scale)]
    size = logits.shape[-1]
    stacked = (jnp.stack(pair[:size]).astype(logits.dtype) for pair in (factors, terms))
    factor, term = (x.reshape((1,) * (logits.ndim - 1) + (-1,)) for x in stacked)
    return logits * factor + term
