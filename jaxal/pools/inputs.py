"""What a model takes, one entry a row: an array, or a pytree of arrays `[N, ...]`."""

import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxal import checks
from jaxal.modes import held
from jaxal.types import SCALE_ROWS, Inputs, Pool


def num_rows(inputs: Inputs) -> int:
    """Returns how many rows there are, `N`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.pools.inputs import num_rows
      >>> num_rows({"tokens": jnp.zeros([3, 7]), "mask": jnp.zeros([3, 7])})
      3
    """
    return jax.tree.leaves(inputs)[0].shape[0]


def take_rows(inputs: Inputs, rows: Any) -> Inputs:
    """Returns some rows, by a slice or by their numbers `[M]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.pools.inputs import take_rows
      >>> take_rows({"x": jnp.arange(4)}, jnp.array([2, 0]))["x"].tolist()
      [2, 0]
    """
    return jax.tree.map(lambda leaf: leaf[rows], inputs)


def one_row(inputs: Inputs) -> Inputs:
    """Returns shape and type of a single row, without the axis of rows."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs
    )


def some_rows(pool: Pool) -> Inputs:
    """Returns `SCALE_ROWS` valid rows, evenly spaced: what a model finds its scale by.

    Which ones depends on nothing else, so that padding and devices change nothing.
    """
    is_valid = pool.is_valid
    (order,) = jnp.nonzero(is_valid, size=is_valid.shape[0], fill_value=0)
    count = is_valid.sum(dtype=jnp.int32)
    places = jnp.arange(SCALE_ROWS, dtype=jnp.int32)
    # As places * count // SCALE_ROWS, which would overflow with millions of rows.
    whole, rest = count // SCALE_ROWS, count % SCALE_ROWS
    rows = order[places * whole + places * rest // SCALE_ROWS]
    return take_rows(pool.inputs, rows)


def as_inputs(
    inputs: Any, *, may_be_empty: bool = False, name: str = "inputs"
) -> Inputs:
    """Returns inputs as arrays that JAX holds without loss, or raises what is wrong.

    A dict, tuple or dataclass is several inputs; a list, a DataFrame or whatever else
    NumPy can read is one array. Integers of 64 bits become 32 where all of them fit.
    Floats become float32, unless that moves one by more than 1e-4 of its column's
    spread, as with time stamps. With `jax_enable_x64` nothing becomes anything else.

    Args:
      inputs: a pytree of `[N, ...]`.
      may_be_empty: whether there may be no rows.
      name: what they are, for messages.

    Raises:
      ValueError: there are no rows; arrays have other numbers of rows, hold NaN,
        infinity or something else than numbers, or would lose digits. It names the
        array and the cure.

    Example:
      >>> from jaxal.pools.inputs import as_inputs
      >>> as_inputs({"tokens": [[5, 2], [7, 0]]})["tokens"].dtype
      dtype('int32')
    """
    named, treedef = jax.tree_util.tree_flatten_with_path(inputs, is_leaf=_is_array)
    pairs = [(name + jax.tree_util.keystr(path), leaf) for path, leaf in named]
    if not pairs:
        raise ValueError(f"{name} has no arrays. Pass one, or a dict of some.")
    leaves = [_as_array(name, leaf) for name, leaf in pairs]
    (first, _), size = pairs[0], leaves[0].shape[0]
    if size == 0 and not may_be_empty:
        raise ValueError(f"{first} has no rows, expected at least one.")
    for (name, _), leaf in zip(pairs, leaves, strict=True):
        if leaf.shape[0] != size:
            raise ValueError(
                f"{name} has {leaf.shape[0]} rows, {first} has {size}. Entry n of each "
                "belongs to row n of the pool: pass as many."
            )
    return jax.tree.unflatten(treedef, leaves)


def _is_array(value: Any) -> bool:
    """Whether something is one array, though JAX may know it as a container."""
    kinds = value is None or isinstance(value, list)
    return kinds or hasattr(value, "__array__") or hasattr(value, "todense")


def check_numbers(name: str, array: Any) -> None:
    """Raises ValueError where an array holds something else than numbers."""
    if not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)):
        raise ValueError(f"{name} has dtype {array.dtype}, {_NO_NUMBERS}")


def _as_array(name: str, leaf: Any) -> Any:
    array = leaf if isinstance(leaf, jax.Array) else _from_numpy(name, leaf)
    check_numbers(name, array)
    if array.ndim < 1:
        raise ValueError(
            f"{name} has shape [], expected [N, ...]. Pass arrays whose first axis "
            "counts examples."
        )
    checks.check_countable(array.shape[0])
    if jnp.issubdtype(array.dtype, jnp.inexact):
        xp = jnp if isinstance(array, jax.Array) else np
        bad = int((~xp.isfinite(array).all(axis=tuple(range(1, array.ndim)))).sum())
        if bad:
            raise ValueError(
                f"{bad} of {array.shape[0]} rows of {name} hold NaN or infinity. "
                "Remove or impute them before making a pool."
            )
    return held(name, array)


_NO_NUMBERS = (
    "expected numbers. Turn texts into token ids or embeddings, and categories into "
    "numbers or one-hot columns; fill in what is missing; name classes of your own to "
    "JAX (jax.tree_util.register_dataclass)."
)


def _from_numpy(name: str, leaf: Any) -> np.ndarray:
    if hasattr(leaf, "toarray") or hasattr(leaf, "todense"):
        raise ValueError(
            f"{name} is {type(leaf).__name__}, expected an array: a pool is not "
            "sparse. Pass .toarray() (.todense()), or a dense projection of it."
        )
    if np.ma.is_masked(leaf):
        raise ValueError(
            f"{name} has masked entries, whose values a pool would take. Fill them, "
            "and say in an array of its own which they are."
        )
    try:
        array = np.asarray(leaf)
    except ValueError as error:
        raise ValueError(
            f"{name} has rows of different lengths. Pad them to one, and say in a mask "
            'what is padding: {"tokens": [N, T], "mask": [N, T]}.'
        ) from error
    if array.dtype == object:  # a table's columns of different kinds
        odd = [x for x in array.flat if not isinstance(x, numbers.Real | np.bool_)]
        if odd:
            raise ValueError(f"{name} holds {type(odd[0]).__name__}, {_NO_NUMBERS}")
        return array.astype(np.float64)
    return array


def keys_of(inputs: Inputs) -> str:
    """Returns what inputs are made of, for a message."""
    if isinstance(inputs, Mapping):
        return f"a dict of {', '.join(map(repr, inputs))}"
    return type(inputs).__name__


def check_like(
    new: Inputs,
    pool: Inputs,
    what: str = "new rows",
    name: str = "inputs",
    *,
    any_dtype: bool = False,
) -> None:
    """Raises ValueError unless new rows are as those of a pool, of any number.

    Args:
      new: a pytree of `[M, ...]`.
      pool: a pytree of `[N, ...]`.
      what: they are, for messages.
      name: what the caller calls them.
      any_dtype: whether dtypes may differ.
    """
    found, known = (str(jax.tree.structure(tree)) for tree in (new, pool))
    if found != known:
        raise ValueError(
            f"The {what} are {keys_of(new)}, the pool's {keys_of(pool)}. Pass arrays "
            "under the same names."
        )
    leaves = jax.tree_util.tree_leaves_with_path(new)
    for (path, leaf), old in zip(leaves, jax.tree.leaves(pool), strict=True):
        is_same = leaf.shape[1:] == old.shape[1:]
        if not is_same or not (any_dtype or leaf.dtype == old.dtype):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} has {leaf.dtype} rows of shape "
                f"{list(leaf.shape[1:])}, those of the pool are {old.dtype} "
                f"{list(old.shape[1:])}. Make the {what} as those were made."
            )


def is_traced(*trees: Any) -> bool:
    """Whether any value is traced, so that nothing is known of it but its shape."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(trees))
