"""Judging what a step returned: the picks, and what is remembered."""

from typing import Any

import jax
import numpy as np

from jaxal.testing.laws import BrokenLawError, Where
from jaxal.testing.pools import HostilePool
from jaxal.types import Selection


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


def check_same(law: str, where: Where, expected: Selection, found: Selection) -> None:
    """Raises BrokenLawError of this law unless two selections agree."""
    if seen := difference(expected, found):
        raise BrokenLawError(law, where, seen)


def difference(expected: Selection, found: Selection) -> str | None:
    """Returns in what two selections differ, None where they agree."""
    (rows, scores, _), (other_rows, other_scores, _) = map(_on_host, (expected, found))
    if rows.tolist() != other_rows.tolist():
        return f"picks {other_rows.tolist()} instead of {rows.tolist()}"
    # Loose: programs round differently, and what counts are the picks.
    if not np.allclose(scores, other_scores, rtol=1e-2, atol=1e-3):
        return f"scores {other_scores.tolist()} instead of {scores.tolist()}"
    return None


def check_kept(where: Where, before: Any, after: Any) -> None:
    """Raises BrokenLawError unless memory is arrays of the shapes and dtypes before."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        if not hasattr(leaf, "dtype"):
            name = jax.tree_util.keystr(path)
            seen = f"memory{name} is {type(leaf).__name__}, expected an array"
            raise BrokenLawError("memory", where, seen)
    old, new = (str(jax.tree.structure(memory)) for memory in (before, after))
    if old != new:
        raise BrokenLawError("memory", where, f"its structure is {new} after {old}")
    for one, other in zip(*map(_kinds, (before, after)), strict=True):
        if one != other:
            raise BrokenLawError("memory", where, f"{other} comes after {one}")


def check_same_memory(where: Where, expected: Any, found: Any) -> None:
    """Raises BrokenLawError unless two memories hold the same numbers."""
    for one, other in zip(*map(jax.tree.leaves, (expected, found)), strict=True):
        one, other = _numbers(one), _numbers(other)
        if not np.allclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True):
            seen = f"it is {_short(other)} instead of {_short(one)}"
            raise BrokenLawError("memory", where, seen)


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


def _kinds(memory: Any) -> list[str]:
    return [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(memory)]


def _numbers(leaf: Any) -> np.ndarray:
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf).astype(np.float64)


def _short(numbers: np.ndarray) -> str:
    return np.array2string(numbers.ravel(), threshold=6, edgeitems=3)
