"""Checks a strategy against the laws, in few programs, so that it takes seconds."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxal.testing import pools, ways
from jaxal.testing.laws import (
    LAWS,
    BrokenLawError,
    Where,
    check_picks,
    difference,
)
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, POOLS, HostilePool
from jaxal.types import Selection, Strategy, View
from jaxal.viewing import PER_ROW

NUM_KEYS = 4  # two steps of a scan, over two keys each


class Report(NamedTuple):
    """What was checked, and what was not."""

    strategy: str
    checked: tuple[str, ...]  # laws of `LAWS` that held
    skipped: dict[str, str]  # laws that were not asked about, and why
    seconds: dict[str, float]  # spent on each part, compiling included


class Subject(NamedTuple):
    """The strategy under examination."""

    strategy: Strategy
    find_rows: Callable[[HostilePool], Any]
    seed: int

    def where(self, pool: HostilePool) -> Where:
        return Where(self.strategy.name, pool.name, self.seed)

    @property
    def keys(self) -> Array:
        return jax.random.split(jax.random.key(self.seed), NUM_KEYS)


def check_strategy(
    strategy: Strategy,
    *,
    is_deterministic: bool = False,
    has_ties: bool = False,
    most_classes: int = 1000,
    seeds: Sequence[int] = (0, 1),
) -> Report:
    """Checks that a strategy does what every strategy must, on pools made to break it.

    Rows bought are distinct, available, and as many as there are to be had; it makes
    no difference whether the choice is made eagerly, under `jit`, `vmap` or `scan`, in
    chunks or at once, on one device or on many; and for a deterministic strategy
    neither the key nor the order of the rows matters. `jaxal.testing.LAWS` has them
    all. The pools hold one-hot predictions, duplicates, equal rows, zero vectors,
    padding; nothing, everything or all but a few rows are labelled; there are 2, 3 and
    `most_classes` classes, and features in float32, float16 and bfloat16.

    Args:
      strategy: what is to be checked; views hold just what its `needs` and `streams`
        name, with features `[40, 8]` and samples `[4, 40, C]`.
      is_deterministic: whether the key changes nothing where no two rows tie.
      has_ties: whether rows tie in every pool, as where scores count votes; the order
        of the rows then decides, and permuting them is not asked about.
      most_classes: classes of the pool with most of them; lower it where the time of
        choosing grows with a power of theirs.
      seeds: of pools and keys; more of them cost little.

    Returns:
      A `Report` of laws checked and laws skipped, with the reason.

    Raises:
      BrokenLawError: an AssertionError, which names the law, the pool, the seed and
        what was seen.

    Example:
      >>> from jaxal import strategy
      >>> from jaxal.testing import check_strategy
      >>> report = check_strategy(strategy("margin"), is_deterministic=True)
      >>> "permutation" in report.checked
      True
    """
    _check_fields(strategy, seeds)
    find_rows = ways.row_finder(strategy)
    subjects = [Subject(strategy, find_rows, seed) for seed in seeds]
    skipped = _skipped(strategy, is_deterministic, has_ties)
    parts: dict[str, Callable[[Subject], None]] = {}
    if "chunks" not in skipped:  # before pools, where it would show as something else
        parts["chunks"] = _check_chunks
    parts["pools"] = _check_pools
    if "key" not in skipped:
        parts["key"] = _check_key
    if "permutation" not in skipped:
        parts["permutation"] = _check_permutation

    seconds = {
        name: _timed(lambda part=part: [part(one) for one in subjects])  # type: ignore[misc]
        for name, part in parts.items()
    }
    first = subjects[0]
    seconds["ways"] = _timed(lambda: _check_ways(first))
    wide, narrow = pools.wide(first.seed, most_classes), pools.narrow(first.seed)
    seconds["wide"] = _timed(lambda: _check_shape(first, wide, NUM_ROWS))
    seconds["narrow"] = _timed(lambda: _check_shape(first, narrow, 1))
    checked = tuple(law for law in LAWS if law not in skipped)
    return Report(strategy.name, checked, skipped, seconds)


def _skipped(
    strategy: Strategy, is_deterministic: bool, has_ties: bool
) -> dict[str, str]:
    skipped: dict[str, str] = {}
    if not is_deterministic:
        skipped |= dict.fromkeys(("key", "permutation"), "it is not deterministic")
    elif has_ties:
        skipped["permutation"] = "its rows tie"
    if strategy.rowwise is None:
        skipped |= dict.fromkeys(("chunks", "whole"), "it has no rowwise")
    if ways.widest_mesh() is None:
        skipped["devices"] = "there is one device"
    return skipped


def _check_fields(strategy: Strategy, seeds: Sequence[int]) -> None:
    if not seeds:
        raise ValueError("seeds is empty, expected at least one. Pass seeds=(0,).")
    where = Where(strategy.name, "any", seeds[0])
    known = {*PER_ROW, "labels"}
    if unknown := (strategy.needs | strategy.streams) - known:
        seen = f"it names {sorted(unknown)}, and there are {sorted(known)}"
        raise BrokenLawError("fields", where, seen)
    if strategy.streams and strategy.rowwise is None:
        seen = f"it streams {sorted(strategy.streams)} and rowwise is None"
        raise BrokenLawError("fields", where, seen)


def _check_pools(subject: Subject) -> None:
    """Eager calls, as the loop makes them: one shape, so compiled once."""
    for make in POOLS:
        pool = make(subject.seed)
        selection = _choose(subject, pool, subject.keys[0])
        check_picks(subject.where(pool), selection, pool, BATCH_SIZE)
        if make is pools.ordinary:
            again = _choose(subject, pool, subject.keys[0])
            _require("repeats", subject, pool, selection, again)
        if make is pools.padded:
            other = pools.refilled(pool)
            changed = _choose(subject, other, subject.keys[0])
            _require("padding", subject, other, selection, changed)


def _check_key(subject: Subject) -> None:
    pool = pools.ordinary(subject.seed)
    expected, *others = (_choose(subject, pool, key) for key in subject.keys[:3])
    for found in others:
        _require("key", subject, pool, expected, found)


def _check_permutation(subject: Subject) -> None:
    pool = pools.ordinary(subject.seed)
    order = np.random.default_rng(subject.seed).permutation(NUM_ROWS)
    expected = _choose(subject, pool, subject.keys[0])
    moved = _choose(subject, pool.take(order), subject.keys[0])
    found = moved._replace(indices=order[np.asarray(moved.indices)])
    _require("permutation", subject, pool, expected, found)


def _check_chunks(subject: Subject) -> None:
    strategy, pool = subject.strategy, pools.ordinary(subject.seed)
    where = subject.where(pool)
    with _no_error(where):
        at_once = subject.find_rows(pool)
    with _no_error(where, "chunks"):
        in_chunks = ways.rows_in_chunks(strategy, pool)
    pairs = zip(*map(jax.tree.leaves, (at_once, in_chunks)), strict=True)
    for whole, pieces in pairs:
        whole, pieces = (np.asarray(leaf, np.float64) for leaf in (whole, pieces))
        if whole.shape[:1] != (NUM_ROWS,):
            seen = f"rowwise of {NUM_ROWS} rows returns an array {list(whole.shape)}"
            raise BrokenLawError("chunks", where, seen)
        if not np.allclose(whole, pieces, rtol=1e-3, atol=1e-4, equal_nan=True):
            error = np.abs(whole - pieces).reshape(NUM_ROWS, -1).max(-1)
            seen = f"row {np.nanargmax(error)} differs by {np.nanmax(error):.3g}"
            raise BrokenLawError("chunks", where, seen)


def _check_ways(subject: Subject) -> None:
    """Two programs for jit, vmap, scan, all devices and a view without rows.

    Only where picks are not those of eager calls is each law asked by itself.
    """
    pool = pools.ordinary(subject.seed)
    expected = [_choose(subject, pool, key) for key in subject.keys]
    view = ways.whole_view(subject.strategy, pool)
    laws = _one_by_one(subject, view)
    found = None
    with contextlib.suppress(Exception):
        pairs = subject.keys.reshape(2, 2)
        many = ways.over_keys(subject.strategy, ways.scan_of_vmap)
        found = _unstacked(many(pairs, view))
    if found is not None and not any(map(difference, expected, found)):
        # Not in one program with vmap: batches of matrices that are factorised on
        # every device of one CPU may wait for each other's threads for ever.
        laws = {law: laws[law] for law in laws if law == "devices"}
    for law, choose in laws.items():
        with _no_error(subject.where(pool), law):
            got = choose()
        for one, other in zip(expected, got, strict=True):
            _require(law, subject, pool, one, other)


def _one_by_one(
    subject: Subject, view: View
) -> dict[str, Callable[[], list[Selection]]]:
    """Every law that `_check_ways` asks about at once, as far as it applies."""
    strategy, keys, mesh = subject.strategy, subject.keys, ways.widest_mesh()

    def batched(way: Callable[..., Any]) -> list[Selection]:
        return _unstacked(ways.over_keys(strategy, way)(keys, view))

    def one(key: Array, view: View) -> Selection:
        return strategy.select(key, view, BATCH_SIZE)

    def each(choose: Callable[..., Selection], view: View) -> list[Selection]:
        return [choose(key, view) for key in keys]

    def on_devices() -> list[Selection]:
        with ways.in_force(mesh):
            return each(ways.compiled(one), ways.spread(view, mesh))

    laws: dict[str, Callable[[], list[Selection]]] = {
        "whole": lambda: each(one, view),
        "jit": lambda: each(ways.compiled(one), view),
        "vmap": lambda: batched(jax.vmap),
        "scan": lambda: batched(ways.scan_of),
    }
    return laws if mesh is None else laws | {"devices": on_devices}


def _check_shape(
    subject: Subject, of_one_shape: tuple[HostilePool, ...], batch_size: int
) -> None:
    def select(key: Array, view: View) -> Selection:
        return subject.strategy.select(key, view, batch_size)

    choose = ways.compiled(select)
    for pool in of_one_shape:
        with _no_error(subject.where(pool)):
            found = choose(subject.keys[0], ways.whole_view(subject.strategy, pool))
        check_picks(subject.where(pool), found, pool, batch_size)


def _choose(subject: Subject, pool: HostilePool, key: Array) -> Selection:
    """Chooses eagerly from what the loop would show."""
    with _no_error(subject.where(pool)):
        view = ways.loop_view(subject.strategy, pool, subject.find_rows(pool))
        return subject.strategy.select(key, view, BATCH_SIZE)


def _require(
    law: str, subject: Subject, pool: HostilePool, one: Selection, other: Selection
) -> None:
    if seen := difference(one, other):
        raise BrokenLawError(law, subject.where(pool), seen)


def _unstacked(many: Selection) -> list[Selection]:
    flat = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(NUM_KEYS, -1), many)
    return [jax.tree.map(lambda leaf: leaf[i], flat) for i in range(NUM_KEYS)]  # noqa: B023


@contextlib.contextmanager
def _no_error(where: Where, law: str = "runs") -> Iterator[None]:
    try:
        yield
    except Exception as error:
        seen = f"raised {type(error).__name__}: {str(error)[:300]}"
        raise BrokenLawError(law, where, seen) from error


def _timed(check: Callable[[], Any]) -> float:
    start = time.perf_counter()
    check()
    return time.perf_counter() - start
