"""Rows that nobody answers: when they are asked again, and when no more."""

from numbers import Integral
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxal.types import Pool


class Refusals(NamedTuple):
    """What becomes of a row whose answer was that there is none.

    Example:
      >>> from jaxal import Refusals
      >>> Refusals(rest=2)  # two choices without it; withdrawn when refused three times
      Refusals(rest=2, most=3)
    """

    rest: int = 1  # choices that leave it alone, unless nothing else is there
    most: int | None = 3  # refusals after which it is withdrawn; None: asked for ever


class Refused(NamedTuple):
    """How often each row was asked for and had no answer, and when last."""

    times: Array  # [N] int32
    last: Array  # [N] int32, the round


def check_refusals(rule: Refusals | None) -> None:
    """Raises where a rule is none.

    Raises:
      TypeError: it is no `Refusals`.
      ValueError: `rest` is below 0 or `most` below 1.
    """
    if rule is None:
        return
    if not isinstance(rule, Refusals):
        raise TypeError(
            f"refusals is {rule!r}, expected Refusals(rest=1, most=3) or None."
        )
    numbers = rule.rest, 1 if rule.most is None else rule.most
    if not all(isinstance(number, Integral) for number in numbers) or (
        rule.rest < 0 or numbers[1] < 1
    ):
        raise ValueError(
            f"refusals is {rule}, expected whole numbers: choices of at least 0 that "
            "leave a row alone, and refusals of at least 1 (or None) that it takes."
        )


def none_refused(pool: Pool) -> Refused:
    """Returns the refusals of a pool of which nothing was asked."""
    zeros = jnp.zeros_like(pool.labels, jnp.int32)
    return Refused(zeros, zeros)


def with_refusals(
    refused: Refused, pool: Pool, rows: Array, is_valid: Array, index: Array
) -> Refused:
    """Returns the refusals after answers have been written down.

    Args:
      refused: before.
      pool: after; a row that was asked for and has no label there was refused.
      rows: `[K]` that were asked for.
      is_valid: `[K]` bool.
      index: the round.
    """
    size = pool.labels.shape[0]
    has_label = pool.is_labelled.at[rows].get(mode="fill", fill_value=True)
    places = jnp.where(is_valid & (rows >= 0) & ~has_label, rows, size)
    return Refused(
        refused.times.at[places].add(1, mode="drop"),
        refused.last.at[places].set(index, mode="drop"),
    )


def rested(rule: Refusals, refused: Refused, pool: Pool, index: int | Array) -> Pool:
    """Returns the pool in which rows that were refused of late are not available.

    Args:
      rule: how long they rest.
      refused: so far.
      pool: as it is. Its other rows must suffice for a choice, or nobody rests.
      index: the round for which rows are chosen.
    """
    if pool.is_pending is None:
        return pool
    rests = (refused.times > 0) & (index - refused.last <= rule.rest)
    rests &= (pool.is_available & ~rests).any()
    return pool._replace(is_pending=pool.is_pending | rests)


def without_worn(rule: Refusals, refused: Refused, pool: Pool) -> Pool:
    """Returns the pool in which rows that were refused too often are withdrawn."""
    if rule.most is None:
        return pool
    is_worn = (refused.times >= rule.most) & ~pool.is_labelled
    return pool._replace(is_valid=pool.is_valid & ~is_worn)
