"""Rows that nobody answers: when they are asked again, and when no more."""

from collections.abc import Iterable

import jax
import numpy as np

from jaxal.pools.pool import is_answer
from jaxal.pools.refusals import Refusals, Refused, rested
from jaxal.runs.history import Entry
from jaxal.types import Pool

USUAL = Refusals()


def refusals_of(entries: Iterable[Entry]) -> dict[int, list[int]]:
    """Returns, by row, the rounds for which it was asked and had no answer."""
    found: dict[int, list[int]] = {}
    for entry in entries:
        if entry.event == "answered" and not is_answer(np.asarray(entry.label)):
            found.setdefault(entry.row, []).append(entry.round)
    return found


def worn_out(rule: Refusals, entries: list[Entry]) -> list[int]:
    """Returns rows that were refused too often, and are not withdrawn yet.

    Args:
      rule: how often is too often.
      entries: the ledger.
    """
    if rule.most is None:
        return []
    gone = {entry.row for entry in entries if entry.event == "withdrawn"}
    known = {e.row for e in entries if is_answer(np.asarray(e.label))}
    refused = refusals_of(entries).items()
    often = {row for row, rounds in refused if len(rounds) >= rule.most}
    return sorted(often - gone - known)


def without_resting(
    rule: Refusals, entries: list[Entry], index: int, pool: Pool
) -> Pool:
    """Returns the pool in which rows that were refused of late are not available.

    Args:
      rule: how long they rest.
      entries: the ledger.
      index: the round for which rows are chosen.
      pool: as it is. Its other rows must suffice for a choice, or nobody rests.
    """
    times, last = np.zeros((2, *pool.labels.shape), np.int32)
    for row, rounds in refusals_of(entries).items():
        times[row], last[row] = len(rounds), rounds[-1]
    if not times.any():
        return pool
    refused = jax.device_put(Refused(times, last), pool.labels.sharding)
    return rested(rule, refused, pool, index)
