"""Greedy selection by distance, in blocks, with the pool on disk.

The algorithms of `jaxal.selection.engine.by_distance`, driven from the host: a pass
over the chunks lowers the distance of every row to its nearest centre, candidates are
proposed from all distances, read by number, and decided among. Rules, chance and
rounding are those of the selectors in memory, and so are the picks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxal import checks
from jaxal.embeddings import Embedding, as_embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.block_rules import Rule
from jaxal.selection.engine.by_distance import First, check_first, default_candidates
from jaxal.selection.engine.distances import Centres
from jaxal.selection.engine.door import blank
from jaxal.selection.engine.picks import first_valid
from jaxal.selection.engine.sound import sound_rows
from jaxal.streaming import steps
from jaxal.streaming.folding import as_partial
from jaxal.streaming.reading import Progress, Reader, padded
from jaxal.streaming.sources import as_source, check_rereadable
from jaxal.types import Selection


class Streamed(NamedTuple):
    """A selection, and how often the pool was read for it."""

    selection: Selection
    passes: int


class _Pool(NamedTuple):
    """What does not change between passes."""

    reader: Reader
    embed: Partial
    shard: Shard
    is_available: Array  # [N]
    is_labelled: Array | None  # [N]
    weights: Array | None  # [N]
    lots: Array  # [N] by which equal rows are told apart


class _State(NamedTuple):
    nearest: Array  # [N], padded to whole chunks: distance to the nearest centre
    origin: Any
    is_open: np.ndarray  # [N] available and not yet picked
    pending: Centres | None  # picked since the last pass
    indices: np.ndarray  # picks so far
    scores: np.ndarray


def stream_selection(
    rule: Rule,
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
    """Runs a rule over a source; see `stream_k_center` for the arguments."""
    checks.check_key(key)
    check_first(first)
    checked = as_source(source)
    check_rereadable(checked)
    reader = Reader(checked, chunk_size, progress)
    masks = (is_available, is_labelled, weights)
    reader.num_rows = _count_rows(reader, masks)
    checks.check_batch_size(batch_size, reader.num_rows)
    pool = _checked_pool(key, reader, embed, *masks)
    if num_candidates is None:
        num_candidates = default_candidates(batch_size)
    block = rule.candidates_of(num_candidates, reader.num_rows)
    return _select(rule, key, pool, batch_size, first, block)


def _select(
    rule: Rule, key: Array, pool: _Pool, batch_size: int, first: First, block: int
) -> Streamed:
    key_first, key_loop, key_fill = jax.random.split(key, 3)
    target = min(batch_size, int(jnp.sum(pool.is_available)))
    state = _start(pool)
    if target and not _labelled_rows(pool).size:
        state = _add_first(key_first, pool, state, first, block)
    step, is_stuck = 0, False
    while state.indices.size < target and not is_stuck:
        before = state.indices.size
        uniform = steps.uniform(key_loop, step, block, state.nearest)
        state = _advance(rule, uniform, pool, state, target - before)
        step, is_stuck = step + 1, state.indices.size == before
    if state.indices.size < target:
        state = _fill(key_fill, pool, state, target - state.indices.size)
    return Streamed(_selection(pool, state, batch_size), pool.reader.passes)


def _start(pool: _Pool) -> _State:
    """Finds the origin, and makes labelled rows centres, a chunk of them a pass."""
    reader, is_used = pool.reader, _is_used(pool)
    rows, is_there = steps.spread(pool.shard, is_used)
    sample = reader.take(np.asarray(rows))
    origin = steps.origin(pool.embed, sample, is_there)
    dtype = jax.eval_shape(steps.norms, pool.embed, sample).dtype
    whole = -(-is_used.size // reader.chunk_size) * reader.chunk_size
    nearest = jnp.full(whole, jnp.inf, dtype)
    nothing = (np.zeros(0, np.int32), np.zeros(0, dtype))
    is_open = np.asarray(pool.is_available)
    state = _State(nearest, origin, is_open, None, *nothing)
    labelled = _labelled_rows(pool)
    # A power of two: the next round has more of them, and mostly the same program.
    size = min(reader.chunk_size, max(128, 1 << (labelled.size - 1).bit_length()))
    for start in range(0, labelled.size, size):
        centres = _read_centres(pool, origin, labelled[start : start + size], size)
        state = state._replace(nearest=_lower(pool, state, centres))
    return state


def _add_first(
    key: Array, pool: _Pool, state: _State, first: First, block: int
) -> _State:
    """Picks the first centre where there is none."""
    norms = _all_norms(pool) if first == "largest_norm" else None
    known = pool.weights, pool.is_available, pool.lots
    row = steps.first_centre(pool.shard, key, norms, *known)
    rows = np.asarray(row)
    norm = steps.norms(pool.embed, pool.reader.take(rows))
    pending = _read_centres(pool, state.origin, rows, block)
    return _record(state._replace(pending=pending), rows, np.asarray(norm))


def _advance(
    rule: Rule, uniform: Array, pool: _Pool, state: _State, budget: int
) -> _State:
    """One pass: lower the distances, propose, decide, record."""
    if state.pending is not None:
        state = state._replace(nearest=_lower(pool, state, state.pending))
    known = state.nearest, state.is_open, pool.weights, pool.lots
    rows, facts, bound = steps.propose(rule, pool.shard, uniform, *known)
    found = pool.reader.take(np.asarray(rows))
    decision, pending = steps.decide(
        rule, uniform, pool.embed, found, state.origin, rows, facts, bound, budget
    )
    num = int(decision.num)
    picked = np.asarray(rows)[np.asarray(decision.order)[:num]]
    state = state._replace(pending=pending)
    return _record(state, picked, np.asarray(decision.scores)[:num])


def _fill(key: Array, pool: _Pool, state: _State, num: int) -> _State:
    """Takes rows at random when all that is left coincides with centres."""
    rows = steps.open_rows(pool.shard, num, key, state.is_open)
    return _record(state, np.asarray(rows), np.zeros(num, state.scores.dtype))


def _record(state: _State, rows: np.ndarray, scores: np.ndarray) -> _State:
    is_open = state.is_open.copy()
    is_open[rows] = False
    return state._replace(
        is_open=is_open,
        indices=np.concatenate([state.indices, rows]),
        scores=np.concatenate([state.scores, scores]),
    )


def _lower(pool: _Pool, state: _State, centres: Centres) -> Array:
    """Returns the distances after a pass over the pool with new centres."""
    nearest, num_bad, is_used = state.nearest, jnp.int32(0), _is_used(pool)
    is_used = jnp.pad(is_used, (0, nearest.size - is_used.size))
    for chunk in pool.reader.read():
        first = jnp.int32(chunk.first)
        nearest, num_bad = steps.lower_chunk(
            pool.embed,
            nearest,
            num_bad,
            chunk.rows,
            first,
            is_used,
            state.origin,
            centres,
        )
        jax.block_until_ready(num_bad)  # or chunks would queue up before the device
    if bad := int(num_bad):
        raise ValueError(
            f"{bad} of {pool.shard.num_rows} rows hold NaN or infinity, or have no "
            "finite square. Repair them, or leave them out with is_available."
        )
    return nearest


def _all_norms(pool: _Pool) -> Array:
    chunks = pool.reader.read()
    found = [np.asarray(steps.norms(pool.embed, c.rows))[: c.size] for c in chunks]
    return jnp.asarray(np.concatenate(found))


def _read_centres(pool: _Pool, origin: Any, rows: np.ndarray, size: int) -> Centres:
    """Returns `rows` as the first of `size` centres: one shape for any number."""
    found = jax.tree.map(lambda leaf: padded(leaf, size), pool.reader.take(rows))
    return Centres(steps.relative(pool.embed, found, origin), jnp.int32(rows.size))


def _selection(pool: _Pool, state: _State, batch_size: int) -> Selection:
    missing = (0, batch_size - state.indices.size)
    indices, scores = (np.pad(x, missing) for x in (state.indices, state.scores))
    found = first_valid(
        jnp.asarray(indices), jnp.asarray(scores), jnp.asarray(state.indices.size)
    )
    return blank(found, None, pool.shard.num_rows)


def _is_used(pool: _Pool) -> Array:
    if pool.is_labelled is None:
        return pool.is_available
    return pool.is_available | pool.is_labelled


def _labelled_rows(pool: _Pool) -> np.ndarray:
    nobody = np.zeros(0, np.int64)
    return nobody if pool.is_labelled is None else np.flatnonzero(pool.is_labelled)


def _count_rows(reader: Reader, masks: tuple) -> int:
    if reader.num_rows is not None:
        return reader.num_rows
    for mask in masks:
        if mask is not None:
            return int(np.shape(mask)[0])
    return sum(chunk.size for chunk in reader.read())


def _checked_pool(
    key: Array,
    reader: Reader,
    embed: Callable[[Any], Array | Embedding],
    is_available: Array | np.ndarray | None,
    is_labelled: Array | np.ndarray | None,
    weights: Any,
) -> _Pool:
    assert reader.num_rows is not None  # counted before
    num_rows = reader.num_rows
    available = np.ones(num_rows, bool) if is_available is None else is_available
    checks.check_mask("is_available", jnp.asarray(available), num_rows)
    if is_labelled is not None:
        checks.check_mask("is_labelled", jnp.asarray(is_labelled), num_rows)
        is_labelled = jnp.asarray(is_labelled)
    if weights is not None:
        weights = jnp.asarray(weights)
        checks.check_floating("weights", weights, "Cast them, to float32 for example.")
        if weights.shape != (num_rows,):
            raise ValueError(
                f"weights have shape {list(weights.shape)}, expected [{num_rows}]: one "
                "number for each row of the pool."
            )
        is_used = jnp.asarray(available)
        is_used = is_used if is_labelled is None else is_used | is_labelled
        weights = sound_rows({"weights": weights}, is_used)[0]["weights"]
    shard = Shard(None, 1, num_rows)
    return _Pool(
        reader=reader,
        embed=as_partial(embed),
        shard=shard,
        is_available=jnp.asarray(available),
        is_labelled=is_labelled,
        weights=weights,
        lots=steps.lots(shard, key),
    )
