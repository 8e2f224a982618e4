"""Checks a strategy against the laws, in few programs, so that it takes seconds."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxal.expressions import evaluate
from jaxal.registry import Entry, combinator_names, entry, strategy_names
from jaxal.registry import strategy as strategy_by_name
from jaxal.testing.chances import check_ties
from jaxal.testing.engines import check_shapes, check_spread, check_ways, widest_mesh
from jaxal.testing.laws import LAWS, BrokenLawError, Where
from jaxal.testing.numbers import check_strict, check_x64
from jaxal.testing.rounds import (
    check_chunks,
    check_first_rounds,
    check_key,
    check_permutation,
    check_repeats,
    check_rounds,
)
from jaxal.testing.subject import Subject, subject
from jaxal.testing.values import check_bad_row, check_masked, check_padding
from jaxal.testing.worth import check_utility
from jaxal.types import Strategy
from jaxal.viewing import check_needs


class Report(NamedTuple):
    """What was checked, and what was not."""

    strategy: str
    checked: tuple[str, ...]  # laws of `LAWS` that held
    skipped: dict[str, str]  # laws that were not asked about, and why
    seconds: dict[str, float]  # spent on each part, compiling included


class Part(NamedTuple):
    """What is checked together, in this order: what shows elsewhere comes first."""

    name: str
    check: Callable[[Subject], None]
    is_for_all_seeds: bool = True


PARTS = (
    Part("chunks", check_chunks),
    Part("first rounds", check_first_rounds),
    Part("repeats", check_repeats),
    Part("padding", check_padding),
    Part("key", check_key),
    Part("permutation", check_permutation),
    Part("ways", check_ways, False),
    Part("devices", check_spread, False),
    Part("rounds", check_rounds, False),
    Part("shapes", check_shapes, False),
    Part("utility", check_utility),
    Part("masked", check_masked),
    Part("bad row", check_bad_row),
    Part("ties", check_ties),
    Part("strict", check_strict, False),
    Part("x64", check_x64, False),
)


def check_strategy(
    strategy: Strategy | str,
    *,
    is_deterministic: bool | None = None,
    most_classes: int | None = None,
    seeds: Sequence[int] = (0, 1),
    leave_out: Sequence[str] = (),
) -> Report:
    """Checks that a strategy does what every strategy must, on pools made to break it.

    It is driven as the loop drives it, by `init` and `step`, over rounds in which the
    picks are labelled. Rows bought are distinct, available, and as many as there are
    to be had; it makes no difference whether the choice is made eagerly, under `jit`,
    `vmap` or `scan`, in chunks or at once, on one device or on many, nor what masked
    rows hold; equal rows have equal chances; and for a deterministic strategy neither
    the key nor the order of the rows matters. `jaxal.testing.LAWS` has them all. The
    pools hold one-hot predictions, duplicates, equal rows, zero vectors, padding, NaN;
    nothing, everything or all but a few rows are labelled; there are 2, 3 and
    `most_classes` classes, and features in float16, bfloat16, float32 and float64.

    Args:
      strategy: what is to be checked, or its name, or an expression such as
        `"class_balanced(badge)"`: these are made with settings that suit small pools,
        where they are not set, and what the registry knows of them is used. Views hold
        just what its `needs` and `streams` name, with features `[40, 8]` and samples
        `[4, 40, C]`.
      is_deterministic: whether the key changes nothing where no two rows tie (as they
        do in most pools where a score counts votes); by default as registered, and
        False for a `Strategy`.
      most_classes: classes of the pool with most of them; lower it where the time of
        choosing grows with a power of theirs. By default as registered, and 1000.
      seeds: of pools and keys; more of them cost little.
      leave_out: laws not to ask about, for what one's own strategy is, or for time, of
        which "x64" takes most. A registered strategy says its own, as `exempt`.

    Returns:
      A `Report` of laws checked and laws skipped, with the reason.

    Raises:
      BrokenLawError: an AssertionError, which names the law, the pool, the seed, the
        round and what was seen.
      ValueError: there are no seeds, or no strategy of that name.

    Example:
      >>> from jaxal import strategy
      >>> from jaxal.testing import check_strategy
      >>> report = check_strategy("random", seeds=(0,))
      >>> "ties" in report.checked, report.skipped["chunks"]
      (True, 'it has no rowwise')
    """
    if isinstance(strategy, str):
        strategy, known = by_name(strategy)
    else:
        known = Entry(strategy.name, strategy)
    if is_deterministic is None:
        is_deterministic = known.is_deterministic
    _check_fields(strategy, seeds)
    first = subject(
        strategy, is_deterministic, most_classes or known.most_classes, seeds[0]
    )
    subjects = [first._replace(seed=seed) for seed in seeds]
    skipped = _skipped(first)
    unasked = {**dict.fromkeys(leave_out, "it was left out"), **known.exempt}
    idle = skipped.keys() - {"devices"} | unasked.keys()  # one device sees wholes too
    skipped |= unasked
    seconds = {
        part.name: _timed(part, subjects) for part in PARTS if part.name not in idle
    }
    checked = tuple(law for law in LAWS if law not in skipped)
    return Report(strategy.name, checked, skipped, seconds)


def by_name(text: str) -> tuple[Strategy, Entry]:
    """Returns a strategy with settings for small pools, and what is known of it."""
    met = []

    def make(name: str, *parts: Strategy, **settings: Any) -> Strategy:
        met.append(entry(name))
        return strategy_by_name(name, *parts, **{**met[-1].small, **settings})

    names = {*strategy_names(), *combinator_names()}
    made = evaluate(text, make, names.__contains__)
    fewest = min(known.most_classes for known in met)
    exempt = {law: why for known in met for law, why in known.exempt.items()}
    known = met[-1]._replace(most_classes=fewest, exempt=exempt)
    return made._replace(name=text.strip()), known


def _skipped(one: Subject) -> dict[str, str]:
    skipped: dict[str, str] = {}
    if not one.is_deterministic:
        skipped |= dict.fromkeys(("key", "permutation"), "it is not deterministic")
    if one.strategy.rowwise is None:
        skipped |= dict.fromkeys(("chunks", "whole"), "it has no rowwise")
    if one.strategy.utility is None:
        skipped["utility"] = "it has no utility"
    if not one.fields:
        skipped |= dict.fromkeys(("masked", "bad row"), "it looks at no row")
    if widest_mesh() is None:
        skipped["devices"] = "there is one device"
    return skipped


def _check_fields(strategy: Strategy, seeds: Sequence[int]) -> None:
    if not seeds:
        raise ValueError("seeds is empty, expected at least one. Pass seeds=(0,).")
    try:
        check_needs(strategy)
    except ValueError as error:
        where = Where(strategy.name, "any", seeds[0])
        raise BrokenLawError("fields", where, str(error)) from None


def _timed(part: Part, subjects: Sequence[Subject]) -> float:
    start = time.perf_counter()
    for one in subjects if part.is_for_all_seeds else subjects[:1]:
        part.check(one)
    return time.perf_counter() - start
