"""What a run is made of, whoever made it: the command line or a program."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.metrics import Metrics
from jaxal.pools.names import LabelNames
from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs.store import Record
from jaxal.stopping import Rule
from jaxal.types import Inputs, Pool

Answer = Callable[[int, np.ndarray], np.ndarray]  # (round, rows [K]) -> labels [K]
Validate = Callable[[Array, LoopState, Any], Metrics]
"""From a round's key, the state trained in it, and the posterior's, to metrics."""

STREAMS = ("pool", "initial", "weights", "oracle", "rounds")


class Question(NamedTuple):
    """A row that somebody is to label."""

    row: int  # of the pool
    id: str  # what the data set calls it
    round: int  # the first that trains on it, 0 for the initial set


class Reply(NamedTuple):
    """What somebody said of a row; the last word on it counts.

    On a row that has a label already another label corrects it, and None takes it back.
    """

    id: str  # of the question
    label: Any  # a class, by number or name; None for no answer to be had
    who: str | None = None
    when: str | None = None  # as ISO 8601 has it
    seconds: float | None = None  # it took
    cost: float | None = None  # in the run's unit of money
    withdraw: bool = False  # the row itself: never asked, never trained on again


@runtime_checkable
class People(Protocol):
    """Those who answer in their own time, in any order, in parts."""

    def ask(self, questions: Sequence[Question]) -> None:
        """Shows questions; the same may be shown again after an interruption."""
        ...

    def collect(self) -> Iterable[Reply]:
        """Returns what has come in, those of earlier calls included."""
        ...


class Experiment(NamedTuple):
    """All that a run needs and a person has decided."""

    settings: Record  # what config.json holds
    loop: ActiveLearner
    pool: Pool  # before the initial set is labelled
    ids: np.ndarray  # [N] the data set's own names of the pool's rows
    initial_rows: np.ndarray  # [L] rows to start with
    answer: Answer | People
    oracle: str  # what the oracle is called
    plan: list[int]  # labels each round trains on
    key_weights: Array
    key_rounds: Array
    validate: Validate | None = None
    names: LabelNames | None = None  # of classes, where they have any
    num_rows: int | None = None  # there are now, more than at first where some came
    digest: Callable[[int, int], str] | None = None  # of rows from .. to
    refusals: Any = None  # a `Refusals`; None: rows without an answer stay for sale
    stop: Rule | None = None  # before all rounds are through


def stream(seed: int, name: str) -> Array:
    """Returns the key of one of the things a seed decides, independent of the others.

    Example:
      >>> from jaxal.runs.experiment import stream
      >>> stream(0, "initial") == stream(0, "weights")
      Array(False, dtype=bool)
    """
    return jax.random.fold_in(jax.random.key(seed), STREAMS.index(name))


def answering(oracle: Any, key: Array, most: int) -> Answer:
    """Asks row by row, so an answer does not depend on what else is being asked.

    Args:
      oracle: from a key and `[K]` rows to `[K]` labels, see `jaxal.Oracle`.
      key: of all its answers.
      most: rows that are asked for at once: as many are asked for always, to be
        compiled once.
    """

    ask = jax.jit(partial(one_by_one, oracle, key))

    def answer(index: int, rows: np.ndarray) -> np.ndarray:
        padded = np.zeros(max(most, len(rows)), np.int32)
        padded[: len(rows)] = rows
        return np.asarray(ask(np.int32(index), padded))[: len(rows)]

    return answer


def one_by_one(oracle: Any, key: Array, index: Array, rows: Array) -> Array:
    """Returns answers `[K]` to what round `index` asked, see `answering`."""

    def one(row: Array) -> Array:
        question = jax.random.fold_in(jax.random.fold_in(key, index), row)
        return oracle(question, row[None])[0]

    return jax.vmap(one)(rows)


def validating(loop: ActiveLearner, validation: tuple[Inputs, Any]) -> Validate:
    """Returns the function that measures a state of the loop on the validation split.

    Args:
      loop: of the run.
      validation: inputs and labels, none of them in the pool.
    """
    inputs, labels = jax.tree.map(jnp.asarray, validation)
    return lambda key, state, fitted: loop.phases.measure(
        key, state, inputs, labels, fitted=fitted
    )
