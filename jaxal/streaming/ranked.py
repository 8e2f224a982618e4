"""One pass over a pool: scores, the highest of them, and fair draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxal.streaming.folding import Mask, as_partial, score_chunk, select_in_one_pass
from jaxal.streaming.reading import Progress, Reader
from jaxal.streaming.sources import as_source
from jaxal.types import Selection


class Reservoir(NamedTuple):
    """Rows drawn from a stream, with what was in them."""

    selection: Selection
    rows: Any  # pytree of [K, ...] NumPy arrays, of no meaning where not valid


def stream_scores(
    score: Callable[[Any], Array],
    source: Any,
    *,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns the score of every row of a pool that is read once, in chunks.

    Args:
      score: from a chunk of `B` rows to `[B]`, each row by itself. A
        `jax.tree_util.Partial(fn, variables)` is compiled once for all `variables`.
      source: the pool, see `as_source`.
      chunk_size: rows `B` looked at together, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `[N]` NumPy array, NaN where the score is.

    Raises:
      ValueError: the source has no rows, or `score` has another shape than `[B]`.

    Example:
      >>> import numpy as np
      >>> from jaxal.streaming import stream_scores
      >>> stream_scores(lambda x: x.sum(-1), np.ones([5, 3], np.float32), chunk_size=2)
      array([3., 3., 3., 3., 3.], dtype=float32)
    """
    reader = Reader(as_source(source), chunk_size, progress)
    partial_score = as_partial(score)
    chunks = reader.read()
    found = [np.asarray(score_chunk(partial_score, c.rows))[: c.size] for c in chunks]
    return np.concatenate(found)


def stream_top_k(
    key: Array,
    score: Callable[[Any], Array],
    source: Any,
    is_available: Mask = None,
    *,
    batch_size: int,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Returns the available rows of the highest scores, in one pass.

    The picks of `top_k` on `stream_scores(score, source)`, which is never held.

    Args:
      key: a typed key, consumed; used for ties.
      score: from a chunk of `B` rows to `[B]`, see `stream_scores`.
      source: the pool, see `as_source`; an iterator of chunks will do.
      is_available: `[N]` bool; or from a chunk of rows that are there (NumPy, without
        padding) to `[b]` bool; None for all rows.
      batch_size: picks `K`.
      chunk_size: rows looked at together, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `Selection`, best first; ties are drawn with the key, and indices are `N` where
      fewer than `K` rows were available.

    Raises:
      ValueError: a score of an available row is NaN or +inf, the mask does not fit the
        rows, or `batch_size` is not in `1 .. N`.

    Example:
      >>> import jax, numpy as np
      >>> from jaxal import margin
      >>> from jaxal.streaming import stream_top_k
      >>> chunks = (np.array([[9.0, 0.0], [i, 0.0]]) for i in range(1, 4))
      >>> stream_top_k(jax.random.key(0), margin, chunks, batch_size=2).indices
      Array([1, 3], dtype=int32)
    """
    selection, _ = select_in_one_pass(
        key, score, source, is_available, batch_size, chunk_size, progress
    )
    return selection


def stream_gumbel_top_k(
    key: Array,
    log_weights: Callable[[Any], Array],
    source: Any,
    is_available: Mask = None,
    *,
    batch_size: int,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Draws rows without replacement in proportion to `exp(log_weights)`, in one pass.

    Noise belongs to the row, so for the same key these are the rows that
    `gumbel_top_k` draws from the log-weights in memory, whatever the chunks.

    Args:
      key: a typed key, consumed.
      log_weights: from a chunk of `B` rows to `[B]`, see `stream_scores`.
      source: the pool, see `as_source`; an iterator of chunks will do.
      is_available: as for `stream_top_k`.
      batch_size: picks `K`.
      chunk_size: rows looked at together, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `Selection` in the order drawn, with the perturbed log-weights as scores.

    Raises:
      ValueError: as `stream_top_k`.

    Example:
      >>> import jax, numpy as np
      >>> from jaxal.streaming import stream_gumbel_top_k
      >>> pool = np.array([0.0, -np.inf, 0.0], np.float32)
      >>> key, log_weights = jax.random.key(0), lambda chunk: chunk
      >>> picks = stream_gumbel_top_k(key, log_weights, pool, batch_size=2)
      >>> sorted(picks.indices.tolist())
      [0, 2]

    Reference:
      Stochastic beams and where to find them, https://arxiv.org/abs/1903.06059
    """
    selection, _ = select_in_one_pass(
        key,
        log_weights,
        source,
        is_available,
        batch_size,
        chunk_size,
        progress,
        is_noisy=True,
    )
    return selection


def stream_reservoir(
    key: Array,
    source: Any,
    is_available: Mask = None,
    *,
    batch_size: int,
    weights: Callable[[Any], Array] | None = None,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Reservoir:
    """Draws rows without replacement in one pass, and keeps what is in them.

    Uniformly, or one after another in proportion to the weights that are left: of the
    rows seen so far it always holds such a draw, so the stream may end anywhere.

    Args:
      key: a typed key, consumed.
      source: the pool, see `as_source`; an iterator of chunks will do.
      is_available: as for `stream_top_k`.
      batch_size: picks `K`.
      weights: from a chunk of `B` rows to `[B]`, not negative; None for all equal. Rows
        of weight zero are drawn, at random, when no others are left.
      chunk_size: rows looked at together, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `Reservoir`: the `Selection` in the order drawn, with the perturbed log-weights as
      scores, and the rows themselves.

    Raises:
      ValueError: as `stream_top_k`; a weight is NaN or negative.

    Example:
      >>> import jax, numpy as np
      >>> from jaxal.streaming import stream_reservoir
      >>> chunks = (np.arange(4) + 4 * i for i in range(3))
      >>> draw = stream_reservoir(jax.random.key(0), chunks, batch_size=3)
      >>> draw.rows.tolist() == draw.selection.indices.tolist()
      True

    Reference:
      Weighted random sampling with a reservoir,
      https://doi.org/10.1016/j.ipl.2005.11.003
    """
    log_weights = Partial(
        _log_weights, None if weights is None else as_partial(weights)
    )
    selection, rows = select_in_one_pass(
        key,
        log_weights,
        source,
        is_available,
        batch_size,
        chunk_size,
        progress,
        is_noisy=True,
        keeps_rows=True,
    )
    return Reservoir(selection, rows)


def _log_weights(weights: Callable[[Any], Array] | None, rows: Any) -> Array:
    if weights is None:
        return jnp.zeros(jax.tree.leaves(rows)[0].shape[0])
    return jnp.log(weights(rows))  # NaN where negative
