"""Laws of how a choice is run: eagerly, compiled, at once, on many devices."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxal.pools.mesh import POOL_AXIS, pool_mesh
from jaxal.testing import ways
from jaxal.testing.hostile import all_equal
from jaxal.testing.judging import check_picks, check_same, check_same_memory, difference
from jaxal.testing.laws import BrokenLawError, no_error
from jaxal.testing.pools import (
    BATCH_SIZE,
    NUM_ROWS,
    HostilePool,
    narrow,
    ordinary,
    wide,
)
from jaxal.testing.subject import NUM_EAGER, Round, Subject, play, play_at_once, taken
from jaxal.types import Selection, View


def widest_mesh() -> Mesh | None:
    """Returns a mesh of as many devices as divide the rows, None for a single one."""
    devices = jax.devices()
    counts = [n for n in range(1, len(devices) + 1) if NUM_ROWS % n == 0]
    return None if counts[-1] == 1 else pool_mesh(devices[: counts[-1]])


def check_ways(one: Subject) -> None:
    """One program for jit, vmap over keys, a scan over rounds and memory in it.

    Only where picks are not those of eager calls is each law asked by itself.
    """
    pool = ordinary(one.seed)
    eager = [play(one, pool, key) for key in one.keys[:NUM_EAGER]]
    found = None
    with contextlib.suppress(BrokenLawError):
        found = play_at_once(one, pool)
    if found is None or any(map(difference, *_both(eager, found[0]))):
        for law, choose in _one_by_one(one, pool).items():
            _require(law, one, pool, eager, choose)
    elif found is not None:
        for number, rounds in enumerate(eager):
            for index, expected in enumerate(rounds):
                memory = taken(found[1], number, index)
                check_same_memory(one.where(pool, index), expected.after, memory)


def check_whole(one: Subject) -> None:
    """Views in which `step` has to find `rows` itself."""
    pool = ordinary(one.seed)
    expected = play(one, pool, one.keys[0], 1)[0]
    view, key = ways.whole_view(one.strategy, pool), ways.round_key(one.keys[0], 0)
    with no_error(one.where(pool), "whole"):
        picks, _ = one.strategy.step(key, view, expected.memory, BATCH_SIZE)
    check_same("whole", one.where(pool), expected.picks, picks)


def check_spread(one: Subject) -> None:
    """Views without rows, of a pool spread over all devices, with ties and without.

    Not in one program with vmap: batches of matrices that are factorised on every
    device of one CPU may wait for each other's threads for ever.
    """
    mesh = widest_mesh()
    if mesh is None:
        return check_whole(one)
    step = ways.compiled(_step(one, BATCH_SIZE))
    for pool in (ordinary(one.seed), all_equal(one.seed)):
        for key in one.keys[:2]:
            expected = play(one, pool, key, 1)[0]
            with no_error(one.where(pool), "devices"), jax.set_mesh(mesh):
                view = spread(ways.whole_view(one.strategy, pool), mesh)
                found, _ = step(ways.round_key(key, 0), view, expected.memory)
            if seen := difference(expected.picks, found):
                check_whole(one)  # which may be why
                raise BrokenLawError("devices", one.where(pool), seen)


def check_shapes(one: Subject) -> None:
    """Other shapes and dtypes: many classes and all rows, two classes and one row."""
    for pools, batch_size in (
        (wide(one.seed, one.most_classes), NUM_ROWS),
        (narrow(one.seed), 1),
    ):
        step = ways.compiled(_step(one, batch_size))
        for pool in pools:
            with no_error(one.where(pool)):
                view = ways.whole_view(one.strategy, pool)
                picks, _ = step(one.keys[0], view, one.strategy.init(NUM_ROWS))
            check_picks(one.where(pool), picks, pool, batch_size)


def spread(view: View, mesh: Mesh) -> View:
    """Returns a view whose rows are sharded over a mesh."""

    def put(leaf: Array) -> Array:
        is_samples = leaf is view.samples
        spec = PartitionSpec(*(None,) * is_samples, POOL_AXIS)
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(put, view)


Runs = Iterator[tuple[int, int, Selection]]  # number of the key, of the round


def _one_by_one(one: Subject, pool: HostilePool) -> dict[str, Callable[[], Runs]]:
    """Every way that `check_ways` takes at once."""
    keys, classes = one.keys[:NUM_EAGER], pool.classes
    view, memory = one.view(pool), one.strategy.init(NUM_ROWS)
    step = _step(one, BATCH_SIZE)

    def jitted() -> Runs:
        for number, key in enumerate(keys):
            left, known, run = pool, memory, ways.compiled(step)
            for index in range(ways.NUM_ROUNDS):
                seen = ways.loop_view(one.strategy, left, view.rows)
                picks, known = run(ways.round_key(key, index), seen, known)
                left = left.bought(picks)
                yield number, index, picks

    def mapped() -> Runs:
        own_keys = jax.vmap(lambda key: ways.round_key(key, 0))(keys)
        many = ways.over_keys(lambda *args: step(*args)[0])(own_keys, view, memory)
        yield from ((number, 0, taken(many, number)) for number in range(NUM_EAGER))

    def scanned() -> Runs:
        run = ways.compiled(ways.scan_of_rounds(one.strategy))
        for number, key in enumerate(keys):
            picks, _ = run(key, view, memory, classes)
            for index in range(ways.NUM_ROUNDS):
                yield number, index, taken(picks, index)

    return {"jit": jitted, "vmap": mapped, "scan": scanned}


def _require(
    law: str,
    one: Subject,
    pool: HostilePool,
    eager: list[list[Round]],
    choose: Callable[[], Runs],
) -> None:
    with no_error(one.where(pool), law):
        for number, index, picks in choose():
            expected = eager[number][index].picks
            check_same(law, one.where(pool, index), expected, picks)


def _both(eager: list[list[Round]], found: Selection) -> Any:
    """Returns picks of eager rounds, and those found in their places."""
    expected = [one.picks for rounds in eager for one in rounds]
    places = np.ndindex(len(eager), ways.NUM_ROUNDS)
    return expected, [taken(found, *place) for place in places]


def _step(one: Subject, batch_size: int) -> Callable[..., Any]:
    def step(key: Array, view: View, memory: Any) -> Any:
        return one.strategy.step(key, view, memory, batch_size)

    return step
