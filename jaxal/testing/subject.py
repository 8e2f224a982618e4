"""The strategy under examination, and playing a few rounds with it as a loop does."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxal.testing import ways
from jaxal.testing.judging import check_kept, check_picks
from jaxal.testing.laws import Where, no_error
from jaxal.testing.pools import BATCH_SIZE, NUM_ROWS, HostilePool
from jaxal.testing.ways import NUM_ROUNDS
from jaxal.types import PER_ROW, Selection, Strategy, View

NUM_KEYS = 8  # of the compiled rounds
NUM_EAGER = 4  # of them that are tried one by one


class Round(NamedTuple):
    """One round of several: from what, with what outcome."""

    pool: HostilePool
    memory: Any  # before
    picks: Selection
    after: Any  # memory after


class Subject(NamedTuple):
    """A strategy, its programs, and the seed of its pools and keys."""

    strategy: Strategy
    is_deterministic: bool
    most_classes: int
    find_rows: Callable[[HostilePool], Any]
    at_once: Callable[..., tuple[Selection, Any]]  # rounds in a scan, keys under vmap
    seed: int

    @property
    def keys(self) -> Array:
        return jax.random.split(jax.random.key(self.seed), NUM_KEYS)

    def more_keys(self, num: int) -> list[Array]:
        """Returns as many keys times `NUM_KEYS`."""
        keys = jax.random.split(jax.random.key(self.seed), num * NUM_KEYS)
        return list(keys.reshape(num, NUM_KEYS))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of numbers that it looks at."""
        names = self.strategy.needs | self.strategy.streams
        return tuple(name for name in PER_ROW if name in names)

    def where(self, pool: HostilePool, index: int = 0) -> Where:
        return Where(self.strategy.name, pool.name, self.seed, index)

    def view(self, pool: HostilePool) -> View:
        """Returns what the loop would show."""
        return ways.loop_view(self.strategy, pool, self.find_rows(pool))


def subject(
    strategy: Strategy, is_deterministic: bool, most_classes: int, seed: int
) -> Subject:
    """Returns the subject with programs of its own, to be shared between seeds."""
    return Subject(
        strategy,
        is_deterministic,
        most_classes,
        ways.row_finder(strategy),
        ways.over_keys(ways.scan_of_rounds(strategy)),
        seed,
    )


def play(
    one: Subject, pool: HostilePool, key: Array, num_rounds: int = NUM_ROUNDS
) -> list[Round]:
    """Plays rounds eagerly: what is picked is labelled, and memory carried over.

    Raises:
      BrokenLawError: something is raised, a pick is none, or memory changes its kind.
    """
    return list(_rounds(one, pool, key, num_rounds))


def play_at_once(
    one: Subject, pool: HostilePool, keys: Array | None = None
) -> tuple[Selection, Any]:
    """Plays rounds with all keys in one program: `[NUM_KEYS, NUM_ROUNDS, ...]`."""
    with no_error(one.where(pool)):
        memory = one.strategy.init(NUM_ROWS)
        keys = one.keys if keys is None else keys
        found = one.at_once(keys, one.view(pool), memory, pool.classes)
        return jax.device_get(found)


def taken(tree: Any, *index: int) -> Any:
    """Returns one entry of a tree of stacked arrays."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _rounds(
    one: Subject, pool: HostilePool, key: Array, num_rounds: int
) -> Iterator[Round]:
    with no_error(one.where(pool)):
        rows = one.find_rows(pool)
        memory = one.strategy.init(NUM_ROWS)
    check_kept(one.where(pool), memory, memory)
    for index in range(num_rounds):
        where, own_key = one.where(pool, index), ways.round_key(key, index)
        with no_error(where):
            view = ways.loop_view(one.strategy, pool, rows)
            picks, after = one.strategy.step(own_key, view, memory, BATCH_SIZE)
        check_picks(where, picks, pool, BATCH_SIZE)
        check_kept(where, memory, after)
        yield Round(pool, memory, picks, after)
        pool, memory = pool.bought(picks), after
