"""The law of ties: rows that are equal have equal chances."""

import numpy as np

from jaxal.testing.hostile import NUM_COPIES, all_equal, duplicated
from jaxal.testing.laws import BrokenLawError
from jaxal.testing.pools import NUM_ROWS, HostilePool
from jaxal.testing.subject import Subject, play_at_once

TIED = ((all_equal, NUM_ROWS), (duplicated, NUM_COPIES))  # pools, and copies of a row
NUM_CALLS = 8  # of a program of eight keys: enough to tell chance from a rule
# Natural logarithm of how unlikely a count must be: a fair draw is suspected once in
# 1e10 times, and a rule that goes by the number of the row has e^40 against it.
SUSPICION = 25.0


def check_ties(one: Subject) -> None:
    """Each row is bought by about as many keys as any other row equal to it.

    Given how many of its `n` copies a key buys, `m`, a row is among them with
    probability `m / n`. A sum of such chances over keys passes `x` with a probability
    of at most `exp(-KL(x || mean) keys)` (Chernoff, Hoeffding). The first round is
    looked at, and all rounds together.
    """
    for make, num_copies in TIED:
        pool = make(one.seed)
        found = [play_at_once(one, pool, keys)[0] for keys in one.more_keys(NUM_CALLS)]
        rows = [np.where(p.is_valid, p.indices, NUM_ROWS) for p in found]
        bought = np.concatenate(rows)  # [keys, rounds, K]
        for until in (1, bought.shape[1]):
            _check_counts(one, pool, num_copies, bought[:, :until])


def _check_counts(
    one: Subject, pool: HostilePool, num_copies: int, rows: np.ndarray
) -> None:
    num_keys = rows.shape[0]
    is_bought = (rows[..., None] == np.arange(NUM_ROWS)).any((1, 2))  # [keys, N]
    for group in np.arange(NUM_ROWS).reshape(-1, num_copies):
        copies = group[pool.is_available[group]]
        counts = is_bought[:, copies].sum(0)
        chance = is_bought[:, copies].mean()  # of each copy, over keys
        doubt = num_keys * divergence(counts / num_keys, chance)
        worst = int(np.argmax(doubt))
        if doubt[worst] > SUSPICION:
            seen = f"of {copies.size} equal rows, row {copies[worst]} is bought with "
            seen += f"{counts[worst]} of {num_keys} keys, where a fair draw buys it "
            seen += f"with about {chance * num_keys:.0f}"
            raise BrokenLawError("ties", one.where(pool), seen)


def divergence(part: np.ndarray, chance: float) -> np.ndarray:
    """Returns the Kullback-Leibler divergence of two coins, in nats."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(part > 0, part * np.log(part / chance), 0)
        tails = np.where(part < 1, (1 - part) * np.log((1 - part) / (1 - chance)), 0)
    return heads + tails
