"""A running top-k: the best rows so far, and those of one more chunk."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxal import checks
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.chance import perturb, row_lots
from jaxal.selection.engine.door import blank
from jaxal.selection.engine.picks import first_valid, highest_by_lot, rankable
from jaxal.streaming.reading import Chunk, Progress, Reader
from jaxal.streaming.sources import as_source
from jaxal.types import Selection

_RESERVE = 64  # rows kept beyond K: what is equal to the K-th best is known at the end

Mask = np.ndarray | Array | Callable[[Any], Any] | None


class _Best(NamedTuple):
    """The `R >= K` best rows so far, best first."""

    values: Array  # [R] what rows are ranked by, -inf where there is none
    scores: Array  # [R]
    rows: Array  # [R]
    lots: Array  # [R] by which equal rows are told apart
    origin: Array  # [R] place among the R before and the B of the last chunk
    num_available: Array
    num_bad: Array


class _Span(NamedTuple):
    """Rows of a pool that streams past, in the place of a device's `Shard`."""

    first_row: Array
    num_rows: int
    axis: str = "stream"  # not None: a span may begin amid a block of rows


def select_in_one_pass(
    key: Array,
    score: Callable[[Any], Array],
    source: Any,
    is_available: Mask,
    batch_size: int,
    chunk_size: int | None,
    progress: Progress | None,
    is_noisy: bool = False,
    keeps_rows: bool = False,
) -> tuple[Selection, Any]:
    """Returns the best rows of a source, and what is in them where that is kept."""
    checks.check_key(key)
    reader = Reader(as_source(source), chunk_size, progress)
    most = batch_size if reader.num_rows is None else reader.num_rows
    checks.check_batch_size(batch_size, max(most, 1))
    partial_score, best, kept = as_partial(score), None, None
    for chunk in reader.read():
        is_open = _open_rows(is_available, chunk, reader.chunk_size)
        if best is None:
            size = batch_size if is_noisy else batch_size + _RESERVE
            best = _nothing(partial_score, chunk.rows, size)
        first = jnp.int32(chunk.first)
        best = _fold(key, partial_score, best, chunk.rows, first, is_open, is_noisy)
        jax.block_until_ready(best)  # or chunks would queue up before the device
        if keeps_rows:
            kept = _keep(kept, chunk.rows, np.asarray(best.origin))
    assert best is not None and reader.num_rows is not None  # no rows are refused
    _check_mask_length(is_available, reader.num_rows)
    return _selection(best, reader.num_rows, batch_size), kept


@partial(jax.jit, static_argnums=6)
def _fold(
    key: Array,
    score: Partial,
    best: _Best,
    rows: Any,
    first: Array,
    is_open: Array,
    is_noisy: bool,
) -> _Best:
    """Returns the best rows of those so far and the chunk's."""
    scores = _checked_scores(score, rows)
    num_bad = jnp.sum(~(scores < jnp.inf) & is_open, dtype=jnp.int32)
    span = cast(Shard, _Span(first, scores.shape[0]))
    if is_noisy:
        scores, lots = perturb(key, span, scores), jnp.zeros(scores.shape, jnp.int32)
    else:
        lots = row_lots(key, span)
    values = rankable(scores, is_open)
    numbers = first + jnp.arange(scores.shape[0], dtype=jnp.int32)
    values, scores, numbers, lots = jax.tree.map(
        lambda *pair: jnp.concatenate(pair),
        (best.values, best.scores, best.rows, best.lots),
        (values, scores, numbers, lots),
    )
    values, origin = _best(values, lots, best.values.size)
    return _Best(
        values=values,
        scores=scores[origin],
        rows=numbers[origin],
        lots=lots[origin],
        origin=origin,
        num_available=best.num_available + jnp.sum(is_open, dtype=jnp.int32),
        num_bad=best.num_bad + num_bad,
    )


@partial(jax.jit, static_argnums=2)
def _best(values: Array, lots: Array, num: int) -> tuple[Array, Array]:
    return highest_by_lot(Shard(None, 1, values.size), values, lambda: lots, num)


@jax.jit
def score_chunk(score: Partial, rows: Any) -> Array:
    """Returns the scores of a chunk, `[B]`."""
    return _checked_scores(score, rows)


def _checked_scores(score: Partial, rows: Any) -> Array:
    scores = score(rows)
    num_rows = jax.tree.leaves(rows)[0].shape[0]
    if jnp.shape(scores) != (num_rows,):
        raise ValueError(
            f"score returned shape {list(jnp.shape(scores))} for a chunk of {num_rows} "
            f"rows, expected [{num_rows}]: one number a row. Compose it with the "
            "model, as in `lambda rows: margin(apply(rows))`."
        )
    checks.check_floating("score", scores, "Cast it, to float32 for example.")
    return scores


def _nothing(score: Partial, rows: Any, batch_size: int) -> _Best:
    dtype = jax.eval_shape(score_chunk, score, rows).dtype
    lowest = jnp.full(batch_size, -jnp.inf, dtype)
    numbers = jnp.zeros(batch_size, jnp.int32)
    zero = jnp.int32(0)
    return _Best(lowest, lowest, numbers, numbers, numbers, zero, zero)


def _selection(best: _Best, num_rows: int, batch_size: int) -> Selection:
    if bad := int(best.num_bad):
        raise ValueError(
            f"The score of {bad} of {num_rows} rows is NaN or +inf (of a weight: or it "
            "is negative). Find them with stream_scores, and repair the model or leave "
            "them out with is_available."
        )
    checks.check_batch_size(batch_size, num_rows)
    _, order = _best(best.values, best.lots, batch_size)
    rows, scores = best.rows[order], best.scores[order]
    return blank(first_valid(rows, scores, best.num_available), None, num_rows)


def _keep(kept: Any, rows: Any, origin: np.ndarray) -> Any:
    """Returns the contents of the best rows, from those kept and the chunk's."""
    size = origin.size

    def merge(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        merged = old[np.minimum(origin, size - 1)]
        merged[origin >= size] = new[origin[origin >= size] - size]
        return merged

    if kept is None:
        kept = jax.tree.map(lambda x: np.zeros((size, *x.shape[1:]), x.dtype), rows)
    return jax.tree.map(merge, kept, rows)


def _open_rows(is_available: Mask, chunk: Chunk, chunk_size: int) -> np.ndarray:
    """Returns which rows of a padded chunk may be picked, `[B]`."""
    is_open = np.zeros(chunk_size, bool)
    if is_available is None:
        is_open[: chunk.size] = True
        return is_open
    if callable(is_available):
        found = jnp.asarray(is_available(chunk.present))
        checks.check_mask("is_available(chunk)", found, chunk.size)
    else:
        found = jnp.asarray(is_available[chunk.first : chunk.first + chunk.size])
        if found.size < chunk.size:
            _check_mask_length(is_available, chunk.first + chunk.size)
        checks.check_mask("is_available", found, chunk.size)
    is_open[: chunk.size] = found
    return is_open


def _check_mask_length(is_available: Mask, num_rows: int) -> None:
    if is_available is not None and not callable(is_available):
        checks.check_mask("is_available", jnp.asarray(is_available), num_rows)


def as_partial(fn: Callable[[Any], Any]) -> Partial:
    """Returns a pytree that can be called: its arrays are traced, not compiled in."""
    return fn if isinstance(fn, Partial) else Partial(fn)
