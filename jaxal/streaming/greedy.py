"""Core-set and k-means++ on pools that are larger than memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import Array

from jaxal.embeddings import Embedding, as_embedding
from jaxal.selection.engine.by_distance import First
from jaxal.selection.spread.k_center import K_CENTER
from jaxal.selection.spread.k_means_plus_plus import K_MEANS_PLUS_PLUS
from jaxal.streaming.blocked import Streamed, stream_selection
from jaxal.streaming.reading import Progress


def stream_k_center(
    key: Array,
    source: Any,
    is_available: Array | np.ndarray | None = None,
    is_labelled: Array | np.ndarray | None = None,
    *,
    batch_size: int,
    weights: Array | np.ndarray | None = None,
    first: First = "drawn",
    num_candidates: int | None = None,
    embed: Callable[[Any], Array | Embedding] = as_embedding,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Streamed:
    """Picks the row farthest from all centres, from a pool read in chunks (Core-set).

    See `k_center`, whose picks these are.

    Memory is `O(N)` for one distance and the masks of each row, a block of candidates,
    and a few chunks: one in use, one read ahead.

    Args:
      key: a typed key, consumed.
      source: what can be read several times, see `as_source`: a memory map `[N, D]`,
        `Outer(a, h)` of two memory maps, a data source, or a function that returns a
        fresh iterator of chunks (read once more wherever rows are wanted by number).
      is_available: `[N]` bool, rows that may be picked; None for all.
      is_labelled: `[N]` bool, rows that are centres already; None for no such rows. A
        pass is made for each `chunk_size` of them.
      batch_size: picks `K`.
      weights: `[N]`, not negative, what squared distances are multiplied by.
      first: the first centre where none is labelled: "drawn" or "largest_norm".
      num_candidates: rows looked at between two passes: more of them, fewer passes.
      embed: from a chunk to its `[B, D]` or `Embedding`, each row by itself; such as
        a model, composed with `gradient_embedding`. It runs once a pass.
      chunk_size: rows `B` of a chunk, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `Streamed`: the `Selection` of `k_center`, and the passes over the source.

    Raises:
      TypeError: the source can be read only once, or a dtype is wrong.
      ValueError: a shape is wrong, rows hold NaN or infinity, `batch_size` is not in
        `1 .. N`, or the source gives other rows on another pass.

    Example:
      >>> import jax, numpy as np
      >>> from jaxal.streaming import stream_k_center
      >>> x = np.array([[0.0], [1.0], [5.0], [9.0]], np.float32)  # or np.load(..., "r")
      >>> is_labelled = np.array([True, False, False, False])
      >>> key, free = jax.random.key(0), ~is_labelled
      >>> found = stream_k_center(key, x, free, is_labelled, batch_size=2, chunk_size=3)
      >>> found.selection.indices, found.passes
      (Array([3, 2], dtype=int32), 1)

    Reference:
      Active learning for convolutional neural networks: a core-set approach,
      https://arxiv.org/abs/1708.00489
    """
    return stream_selection(
        K_CENTER,
        key,
        source,
        is_available,
        is_labelled,
        batch_size=batch_size,
        weights=weights,
        first=first,
        num_candidates=num_candidates,
        embed=embed,
        chunk_size=chunk_size,
        progress=progress,
    )


def stream_k_means_plus_plus(
    key: Array,
    source: Any,
    is_available: Array | np.ndarray | None = None,
    is_labelled: Array | np.ndarray | None = None,
    *,
    batch_size: int,
    weights: Array | np.ndarray | None = None,
    first: First = "drawn",
    num_candidates: int | None = None,
    embed: Callable[[Any], Array | Embedding] = as_embedding,
    chunk_size: int | None = None,
    progress: Progress | None = None,
) -> Streamed:
    """Draws rows far from all centres, from a pool read in chunks.

    See `k_means_plus_plus`: the same distribution, and for a key the same picks up to
    rounding. With `Outer` rows this is BADGE.

    Args:
      key: a typed key, consumed.
      source: as for `stream_k_center`.
      is_available: `[N]` bool, rows that may be picked; None for all.
      is_labelled: `[N]` bool, rows that are centres already; None for no such rows.
      batch_size: picks `K`.
      weights: `[N]`, not negative, what squared distances are multiplied by.
      first: the first centre where none is labelled: "drawn" or "largest_norm".
      num_candidates: rows drawn between two passes: more of them, fewer passes.
      embed: as for `stream_k_center`.
      chunk_size: rows `B` of a chunk, by default what fits 16 MiB.
      progress: told `(pass_index, done_rows, total_rows)`, as `pass_bar()` is.

    Returns:
      `Streamed`: the `Selection` of `k_means_plus_plus`, and passes over the source.

    Raises:
      TypeError: as `stream_k_center`.
      ValueError: as `stream_k_center`.

    Example:
      >>> import jax, numpy as np
      >>> from jaxal.embeddings import gradient_embedding
      >>> from jaxal.streaming import stream_k_means_plus_plus
      >>> logits, features = np.eye(4, dtype=np.float32), np.ones([4, 2], np.float32)
      >>> badge = lambda chunk: gradient_embedding(*chunk)
      >>> found = stream_k_means_plus_plus(
      ...     jax.random.key(0), (logits, features), batch_size=4, embed=badge
      ... )
      >>> sorted(found.selection.indices.tolist())
      [0, 1, 2, 3]

    Reference:
      k-means++: the advantages of careful seeding,
      https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf
    """
    return stream_selection(
        K_MEANS_PLUS_PLUS,
        key,
        source,
        is_available,
        is_labelled,
        batch_size=batch_size,
        weights=weights,
        first=first,
        num_candidates=num_candidates,
        embed=embed,
        chunk_size=chunk_size,
        progress=progress,
    )
