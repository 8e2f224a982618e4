"""Rows that nobody answers: when they are asked again, and when no more."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from jaxal.pools.pool import is_answer
from jaxal.runs.history import Entry
from jaxal.types import Pool


class Refusals(NamedTuple):
    """What becomes of a row whose answer was that there is none.

    Example:
      >>> from jaxal.runs import Refusals
      >>> Refusals(rest=2)  # two choices without it; withdrawn when refused three times
      Refusals(rest=2, most=3)
    """

    rest: int = 1  # choices that leave it alone, unless nothing else is there
    most: int | None = 3  # refusals after which it is withdrawn; None: asked for ever


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
    refused = refusals_of(entries).items()
    rows = [row for row, rounds in refused if index - rounds[-1] <= rule.rest]
    is_available = np.array(pool.is_available)
    is_available[rows] = False
    if not rows or pool.is_pending is None or not is_available.any():
        return pool
    rests = np.zeros(pool.labels.shape, bool)
    rests[rows] = True
    return pool._replace(is_pending=jax.device_put(rests, pool.is_pending.sharding))
