"""Rows that are no numbers: refused where they count, put to zero where they do not.

What is sound depends on the argument: -inf is a score, and the logit of a class of
probability 0, and neither a coordinate nor a weight.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding
from jaxal.embeddings.compositions import Masked
from jaxal.pools.mapping import zeroed
from jaxal.selection.engine.distances import stored

_SAMPLES = ("sample_logits", "samples")
_SCORES = ("scores", "log_weights", "fallback", "rows")
_MAY_BE_LOWEST = ("logits", "predictive", *_SCORES, *_SAMPLES)
FACTORS = ("weights", "uncertainty")  # what distances and kernels are multiplied by
_LARGE = 1e18  # squares and sums of what is larger may overflow


def row_axis(name: str) -> int:
    """Returns the axis along which an argument of this name has the rows."""
    return 1 if name in _SAMPLES else 0


def sound_rows(
    rows: dict[str, Any], is_used: Array
) -> tuple[dict[str, Any], Array | None]:
    """Returns rows of which only sound ones are left, and whether there were others.

    Args:
      rows: arguments by name, pytrees with the rows along `row_axis`.
      is_used: `[N]` bool, rows that count. The others will read as zero.

    Returns:
      The arguments, as they are where values are known and nothing is to be cleaned;
      and, where values are traced, whether all rows that count are sound.

    Raises:
      ValueError: values are known, and a row that counts is not sound.
    """
    leaves = jax.tree.leaves((rows, is_used))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        is_bad, _ = _look(rows)
        is_kept = is_used & ~jnp.any(jnp.stack(list(is_bad.values())), axis=0)
        return _zeroed(rows, is_kept, True), jnp.all(is_kept == is_used)
    with jax.ensure_compile_time_eval():  # known values, within a trace too
        found = jax.device_get(_survey(rows, is_used))
        for name, (num, first, _) in found.items():
            if num:
                raise ValueError(_refusal(name, num, first, is_used.size))
        if any(is_dirty for _, _, is_dirty in found.values()):
            return _clean(rows, is_used), None
    return rows, None


def _refusal(name: str, num: int, first: int, num_rows: int) -> str:
    kind = "NaN or infinity, or have no finite square"
    if name in _MAY_BE_LOWEST:
        kind = "NaN or +inf"
    elif name in FACTORS:
        kind = "NaN, infinity or less than 0"
    return (
        f"{name}: {num} of {num_rows} rows that may be used hold {kind}; the "
        f"first is row {first}. Mask these rows out, or check the model they come from."
    )


@jax.jit
def _survey(rows: dict[str, Any], is_used: Array) -> dict[str, tuple]:
    """Returns how many rows are bad, the first of them, and if others are unclean."""
    is_bad, is_large = _look(rows)

    def of(bad: Array, large: Array) -> tuple:
        counts = bad & is_used
        is_dirty = jnp.any((bad | large) & ~is_used)
        return jnp.sum(counts), jnp.argmax(counts), is_dirty

    return {name: of(bad, is_large[name]) for name, bad in is_bad.items()}


def _look(rows: dict[str, Any]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns which rows are no numbers, and which are large, `[N]` each, by name."""
    sizes = {name: _size(name, value) for name, value in rows.items()}
    is_bad = {name: ~(size < jnp.inf) for name, size in sizes.items()}
    return is_bad, {name: size > _LARGE for name, size in sizes.items()}


def _size(name: str, value: Any) -> Array:
    """Returns a number for each row that is finite where the row is sound."""
    if isinstance(value, Embedding):
        return jnp.abs(stored(value).sqnorm())
    sizes = []
    for leaf in jax.tree.leaves(value):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        if name in _MAY_BE_LOWEST:
            wide = jnp.where(wide == -jnp.inf, 0, wide)
        # XLA's CPU backend forgets a NaN in a maximum along leading axes.
        wide = jnp.where(jnp.isnan(wide), jnp.inf, wide)
        if name in FACTORS:
            wide = jnp.where(wide < 0, jnp.inf, wide)
        others = tuple(axis for axis in range(wide.ndim) if axis != row_axis(name))
        sizes.append(jnp.max(jnp.abs(wide), axis=others))
    return functools.reduce(jnp.maximum, sizes)


def _zeroed(rows: dict[str, Any], is_kept: Array, is_lazy: bool) -> dict[str, Any]:
    def cleared(name: str, value: Any) -> Any:
        if isinstance(value, Embedding):
            # Lazily, or a traced selector would hold a copy of the pool.
            return Masked(value, is_kept) if is_lazy else value.where(is_kept)
        return jax.tree.map(
            functools.partial(zeroed, is_kept, axis=row_axis(name)), value
        )

    return {name: cleared(name, value) for name, value in rows.items()}


@jax.jit
def _clean(rows: dict[str, Any], is_used: Array) -> dict[str, Any]:
    return _zeroed(rows, is_used, False)
