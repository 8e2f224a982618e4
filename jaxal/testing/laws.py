"""What is asked of a selection, and what is said when the answer is wrong."""

from typing import NamedTuple

import numpy as np

from jaxal.testing.pools import HostilePool
from jaxal.types import Selection

LAWS = {
    "fields": "needs and streams name fields of a view, and streams have a rowwise",
    "runs": "choosing raises nothing",
    "types": "K int32 indices, K floating scores and a bool mask of K",
    "no nan": "no score is NaN",
    "count": "min(K, available rows) picks are valid, and they come first",
    "available": "picks are rows of the pool, neither labelled nor padding",
    "distinct": "no row is picked twice",
    "blanks": "where a pick is invalid its index is N and its score -inf",
    "repeats": "the same key gives the same picks",
    "padding": "what padding rows hold changes nothing",
    "key": "the key of a deterministic strategy changes nothing",
    "permutation": "permuting the pool permutes the picks of a deterministic strategy",
    "chunks": "rowwise looks at each row by itself: chunks change nothing",
    "whole": "a view in which rows is None gives the picks of one that has them",
    "jit": "under jax.jit the picks are those of an eager call",
    "vmap": "under jax.vmap over keys the picks are those of a loop over them",
    "scan": "under jax.lax.scan the picks are those of a loop",
    "devices": "a pool spread over all devices gives the picks of one device",
}
"""Every law by name, and what it says."""


class Where(NamedTuple):
    """Which strategy was given what."""

    strategy: str
    pool: str
    seed: int


class BrokenLawError(AssertionError):
    """A strategy broke a law; says which, on what pool, and what was seen."""

    def __init__(self, law: str, where: Where, seen: str):
        super().__init__(
            f"Strategy {where.strategy!r} breaks the law {law!r} ({LAWS[law]}) on the "
            f"pool {where.pool!r}, seed {where.seed}: {seen}."
        )
        self.law, self.seen = law, seen
        self.strategy, self.pool, self.seed = where


def check_picks(
    where: Where, selection: Selection, pool: HostilePool, batch_size: int
) -> None:
    """Raises BrokenLawError unless the picks are such as may be bought."""
    _check_types(where, selection, batch_size)
    indices, scores, is_valid = _on_host(selection)
    if np.isnan(scores).any():
        raise BrokenLawError("no nan", where, f"scores are {scores.tolist()}")

    num_available = int(pool.is_available.sum())
    expected = np.arange(batch_size) < min(batch_size, num_available)
    if (is_valid != expected).any():
        seen = f"{num_available} rows are available, and of {batch_size} picks those "
        seen += f"at {np.flatnonzero(is_valid).tolist()} are valid"
        raise BrokenLawError("count", where, seen)

    picks = indices[is_valid]
    is_row = (picks >= 0) & (picks < pool.is_available.size)
    wrong = picks[~(is_row & pool.is_available[np.where(is_row, picks, 0)])]
    if wrong.size:
        raise BrokenLawError("available", where, _what(wrong, pool))
    if len(set(picks.tolist())) < picks.size:
        raise BrokenLawError("distinct", where, f"picks are {picks.tolist()}")

    blank_rows, blank_scores = indices[~is_valid], scores[~is_valid]
    if (blank_rows != pool.is_available.size).any() or (blank_scores != -np.inf).any():
        seen = f"indices {blank_rows.tolist()}, scores {blank_scores.tolist()}"
        raise BrokenLawError("blanks", where, seen)


def difference(expected: Selection, found: Selection) -> str | None:
    """Returns in what two selections differ, None where they agree."""
    (rows, scores, _), (other_rows, other_scores, _) = map(_on_host, (expected, found))
    if rows.tolist() != other_rows.tolist():
        return f"picks {other_rows.tolist()} instead of {rows.tolist()}"
    # Loose: programs round differently, and what counts are the picks.
    if not np.allclose(scores, other_scores, rtol=1e-2, atol=1e-3):
        return f"scores {other_scores.tolist()} instead of {scores.tolist()}"
    return None


def _check_types(where: Where, selection: Selection, batch_size: int) -> None:
    shapes = [np.shape(leaf) for leaf in selection]
    indices, scores, is_valid = (leaf.dtype for leaf in selection)
    # Not NumPy's own question: bfloat16 is no np.floating.
    is_floating = np.issubdtype(scores, np.floating) or scores == "bfloat16"
    is_right = indices == np.int32 and is_floating and is_valid == np.bool_
    if not is_right or shapes != [(batch_size,)] * 3:
        seen = f"dtypes {indices}, {scores}, {is_valid} and shapes {shapes} for K = "
        raise BrokenLawError("types", where, f"{seen}{batch_size}")


def _on_host(selection: Selection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    indices, scores, is_valid = map(np.asarray, selection)
    return indices, scores.astype(np.float64), is_valid


def _what(rows: np.ndarray, pool: HostilePool) -> str:
    kinds = {}
    for row in rows.tolist():
        if not 0 <= row < pool.is_labelled.size:
            kinds[row] = "no row of the pool"
        else:
            kinds[row] = "labelled" if pool.is_labelled[row] else "padding"
    return "picked " + ", ".join(f"{row} ({kind})" for row, kind in kinds.items())
