"""The law of utility: what a strategy says each row is worth."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.testing import ways
from jaxal.testing.hostile import CASES
from jaxal.testing.laws import BrokenLawError, no_error
from jaxal.testing.pools import NUM_ROWS, HostilePool, ordinary
from jaxal.testing.subject import Subject, play


def check_utility(one: Subject) -> None:
    """A number for each row, the same under jit, and what picks are the highest of."""
    for case in CASES:
        _worth(one, case.make(one.seed))
    pool = ordinary(one.seed)
    worth = _worth(one, pool)
    with no_error(one.where(pool), "utility"):
        utility = ways.compiled(one.strategy.utility)  # type: ignore[arg-type]
        found = np.asarray(utility(one.keys[0], one.view(pool)), np.float64)
    if not np.allclose(worth, found, rtol=1e-3, atol=1e-5, equal_nan=True):
        row = int(np.argmax(~np.isclose(worth, found, rtol=1e-3, atol=1e-5)))
        seen = f"row {row} is worth {worth[row]} eagerly and {found[row]} under jit"
        raise BrokenLawError("utility", one.where(pool), seen)
    if one.is_deterministic:
        _check_ranked(one, pool, worth)


def _worth(one: Subject, pool: HostilePool) -> np.ndarray:
    with no_error(one.where(pool), "utility"):
        found: Array = one.strategy.utility(one.keys[0], one.view(pool))  # type: ignore[misc]
    is_floating = jnp.issubdtype(found.dtype, jnp.floating)
    if not is_floating or found.shape != (NUM_ROWS,):
        seen = f"it is {found.dtype}{list(found.shape)}, of {NUM_ROWS} rows"
        raise BrokenLawError("utility", one.where(pool), seen)
    worth = np.asarray(found, np.float64)
    is_bad = pool.is_available & (np.isnan(worth) | (worth == np.inf))
    if is_bad.any():
        row = int(np.argmax(is_bad))
        seen = f"row {row}, which is available, is worth {worth[row]}"
        raise BrokenLawError("utility", one.where(pool), seen)
    return worth


def _check_ranked(one: Subject, pool: HostilePool, worth: np.ndarray) -> None:
    rows = np.asarray(play(one, pool, one.keys[0], 1)[0].picks.indices)
    best = np.sort(worth[pool.is_available])[::-1][: rows.size]
    if not np.allclose(worth[rows], best, rtol=1e-3, atol=1e-5):
        seen = f"the picks are worth {worth[rows].tolist()}, and the best rows are "
        raise BrokenLawError("utility", one.where(pool), f"{seen}{best.tolist()}")
