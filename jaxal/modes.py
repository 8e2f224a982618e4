"""JAX's own modes are the user's to set: what is written here works under them."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

LEAST_DIGITS = 1e-4
"""What rounding to float32 may move a number by, in spreads of its column."""

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound=Any)  # a NamedTuple


def any_promotion(fn: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that is traced under JAX's usual promotion of dtypes.

    Under `jax_numpy_dtype_promotion="strict"` a mask times a number is refused; that is
    for a program to find its own mistakes, not for it to inherit other people's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.modes import any_promotion
      >>> half = any_promotion(lambda mask: mask * 0.5 + jnp.arange(2))
      >>> with jax.numpy_dtype_promotion("strict"):
      ...   half(jnp.array([True, False])).tolist()
      [0.5, 1.0]
    """

    @functools.wraps(fn)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_dtype_promotion("standard"):
            return fn(*args, **kwargs)

    return tolerant


def in_any_mode(record: T) -> T:
    """Returns a NamedTuple of functions, each as `any_promotion` makes it.

    Example:
      >>> from jaxal import Model, Output
      >>> from jaxal.modes import in_any_mode
      >>> twice = Model(lambda key, x: {}, lambda v, x, **_: (Output(x * True), v))
      >>> with jax.numpy_dtype_promotion("strict"):
      ...   in_any_mode(twice).apply({}, jax.numpy.ones(1))[0].logits.tolist()
      [1.0]
    """
    fields = record._asdict().items()
    changed = {n: any_promotion(fn) for n, fn in fields if callable(fn)}
    return record._replace(**changed)


def held(
    name: str,
    array: Any,
    dtype: Any = None,
    *,
    axis: int = 0,
    may_overflow: bool = False,
) -> Any:
    """Returns a NumPy array as JAX holds it, or refuses to lose what tells rows apart.

    Whole numbers have to fit. Floats may move by 1e-4 of the spread of their column,
    which time stamps in float32 do not; of fewer than 32, which may be close by chance,
    by as much more as they are fewer. NaN and infinity stay what they are.

    Args:
      name: what the caller calls the array.
      array: of any kind; one of JAX comes back as it is.
      dtype: it is to have; by default that of the array, or what JAX makes of it
        without `jax_enable_x64`.
      axis: that of the rows.
      may_overflow: whether floats too large become infinite, as those of rows that are
        masked out may: for a caller who looks for infinity next.

    Raises:
      ValueError: digits would be lost. The message names the cure.

    Example:
      >>> import numpy as np
      >>> from jaxal.modes import held
      >>> held("labels", np.array([3, 1])).dtype
      dtype('int32')
    """
    if isinstance(array, jax.Array):
        return array
    array = np.asarray(array)
    if array.dtype.kind not in "iuf":
        return array
    narrow = _narrowed(array, dtype)
    if narrow.dtype == array.dtype or array.size == 0:
        return narrow
    is_real = np.isfinite(narrow if may_overflow else array)
    if _are_told_apart(array, narrow, is_real, axis, may_overflow):
        return narrow
    cure = "Number them anew (np.unique(..., return_inverse=True))"
    if narrow.dtype.kind not in "iu":
        cure = "Subtract the mean first, or pass .astype(np.float32)"
        if not np.isfinite(narrow[is_real]).all():
            cure = "Scale them, or take their logarithms"
    wider = (
        '; or call jax.config.update("jax_enable_x64", True)' if dtype is None else ""
    )
    raise ValueError(
        f"{name} is {array.dtype}, held as {narrow.dtype}, and what tells rows apart "
        f"would be lost. {cure}{wider}."
    )


def _narrowed(array: Any, dtype: Any) -> Any:
    """The array in a dtype, by default in that which JAX makes of it."""
    is_long = array.dtype.kind == "f" and array.itemsize > 8  # JAX knows none
    usual = np.float64 if is_long else array.dtype
    narrow = jax.dtypes.canonicalize_dtype(usual) if dtype is None else dtype
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(narrow, copy=False)


def _are_told_apart(
    array: Any, narrow: Any, is_real: Any, axis: int, may_overflow: bool
) -> bool:
    """Whether what is narrow says of rows what the array says."""
    if narrow.dtype.kind in "iu":
        return bool((narrow == array).all())
    gap, spread = _gap_and_spread(array, narrow, is_real, axis)
    count = np.maximum(is_real.sum(axis=axis), 1)
    most = LEAST_DIGITS * np.maximum(32 / count, 1) * spread
    is_near = bool(((gap <= most) | (spread == 0)).all())
    return is_near and (may_overflow or bool(np.isfinite(narrow[is_real]).all()))


@np.errstate(over="ignore", invalid="ignore")
def _gap_and_spread(array: Any, narrow: Any, is_real: Any, axis: int) -> Any:
    """What rounding moves a column by at most, and its deviation, numbers alone."""
    gap = np.abs(np.where(is_real, array - narrow, 0)).max(axis=axis)
    count = np.maximum(is_real.sum(axis=axis, keepdims=True), 1)
    mean = np.where(is_real, array, 0).sum(axis=axis, keepdims=True) / count
    square = np.where(is_real, array - mean, 0) ** 2
    return gap, np.sqrt((square / count).sum(axis=axis))
