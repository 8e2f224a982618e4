"""Laws of number formats: 64 bits, and promotion that has to be asked for."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import experimental

from jaxal.testing import ways
from jaxal.testing.judging import check_kept
from jaxal.testing.laws import BrokenLawError, Where, counted_as, no_error
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, HostilePool, in_float64, ordinary
from jaxal.testing.subject import Subject, play
from jaxal.types import Selection


def check_x64(one: Subject) -> None:
    """float32 under 64 bits is traced; float64 runs, and picks what float32 does."""
    pool = ordinary(one.seed)
    with in_64_bits():
        _check_trace("x64", one, pool)
    expected, other = play(one, pool, one.keys[0]), in_float64(pool)
    with in_64_bits(), counted_as("x64"):
        found = play(one, other, one.keys[0])
    is_alike = one.is_deterministic
    for index, (in_32, in_64) in enumerate(zip(expected, found, strict=True)):
        where = one.where(other, index)
        scores = np.asarray(in_64.picks.scores)
        if not np.isfinite(scores).all():
            raise BrokenLawError("x64", where, f"scores are {scores.tolist()}")
        is_alike = is_alike and not _is_parted(where, in_32.picks, in_64.picks)


def check_strict(one: Subject) -> None:
    """Nothing mixes dtypes, from the scores of rows to the picks."""
    with jax.numpy_dtype_promotion("strict"):
        _check_trace("strict", one, ordinary(one.seed))


def _check_trace(law: str, one: Subject, pool: HostilePool) -> None:
    """Traces a round and what the loop does before it; compiles nothing."""
    strategy, where = one.strategy, one.where(pool)

    def round_(key: Any, view: Any, rows_view: Any) -> tuple:
        rows = None if strategy.rowwise is None else strategy.rowwise(rows_view)
        memory = strategy.init(NUM_ROWS)
        seen = view._replace(rows=rows)
        picks, after = strategy.step(key, seen, memory, BATCH_SIZE)
        worth = None if strategy.utility is None else strategy.utility(key, seen)
        return picks, memory, after, worth

    with no_error(where, law):
        views = ways.loop_view(strategy, pool, None), ways.rowwise_view(strategy, pool)
        picks, before, after, _ = jax.eval_shape(round_, one.keys[0], *views)
    if (picks.indices.dtype, picks.is_valid.dtype) != (jnp.int32, jnp.bool_):
        seen = f"indices are {picks.indices.dtype}, is_valid {picks.is_valid.dtype}"
        raise BrokenLawError(law, where, seen)
    with counted_as(law):
        check_kept(where, before, after)


def _is_parted(where: Where, in_32: Selection, in_64: Selection) -> bool:
    """Returns whether a close call parted the two, and raises if it was not close."""
    rows, others = np.asarray(in_32.indices), np.asarray(in_64.indices)
    if (rows == others).all():
        return False
    first = int(np.argmax(rows != others))
    score, other = (float(picks.scores[first]) for picks in (in_32, in_64))
    if not np.isclose(score, other, rtol=1e-4, atol=1e-6):
        seen = f"picks {others.tolist()} instead of {rows.tolist()}, and scores that "
        raise BrokenLawError("x64", where, f"{seen}are apart: {other} and {score}")
    return True


def in_64_bits() -> Any:
    """Returns a context in which JAX keeps 64 bits."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return getattr(experimental, "enable_x64")()  # noqa: B009, before jax 0.8
