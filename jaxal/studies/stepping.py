"""A round of a block: trials of one cell train, are measured, and choose together."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.pools.pool import is_answer
from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import stream
from jaxal.runs.recording import Shown, are_nan, round_record, stopped_by
from jaxal.runs.store import Record
from jaxal.studies import saving
from jaxal.studies.programs import Chosen, Programs, Shelf
from jaxal.studies.trials import Trial, lines_of, taken
from jaxal.types import Inputs, Oracle, Selection
from jaxal.viewing import Looked, refuse_unsound, refuse_unsound_fit

Seconds = dict[str, float]
_NO_VIEW: Any = None  # looked at on the device, and not needed here


class Block(NamedTuple):
    """Trials that share their shapes and their programs."""

    name: str  # of the cell
    loop: ActiveLearner
    oracle: Oracle
    first: LoopState  # of the loop, before anything is labelled
    programs: Programs
    trials: list[Trial]
    size: int  # trials that programs are compiled for

    @property
    def key(self) -> tuple[str, int]:
        """Its cell, and the seed of its first trial."""
        return self.name, self.trials[0].seed

    def filled(self) -> list[Trial]:
        """As many trials as programs take, the last one more than once."""
        return self.trials + self.trials[-1:] * (self.size - len(self.trials))


class Engine(NamedTuple):
    """What blocks share."""

    shelf: Shelf
    device: jax.Device
    inputs: Inputs  # of the pool, there
    save_every: float  # seconds
    command: str
    is_stopped: Callable[[], bool]
    told: Callable[[tuple[str, int], int, Seconds, float], None]
    """(block, trial-rounds done, seconds by phase, seconds of compiling)"""
    message: Callable[[str], None]


def call(
    block: Block, engine: Engine, phase: str, is_over: list[bool], *args: Any
) -> tuple[Any, float]:
    """Returns what a program returns, and how long compiling it took, if it did."""
    took: list[float] = []
    fn = getattr(block.programs, phase)
    trials = args if len(args) > 1 else args[0]
    none_there = [True] * (block.size - len(is_over))
    parts = engine.inputs, trials, jnp.array([*is_over, *none_there])
    found = engine.shelf.call((phase, id(fn)), fn, *parts, seconds=took.append)
    return jax.block_until_ready(found), sum(took)


class _Clock:
    """Calls programs and notes how long they ran, without compiling."""

    def __init__(self, block: Block, engine: Engine):
        self._parts = block, engine
        self.seconds: Seconds = {}
        self.compiling = 0.0
        self.num_compiled = 0

    def call(self, name: str, phase: str, is_over: list[bool], *args: Any) -> Any:
        begin = time.perf_counter()
        found, compiling = call(*self._parts, phase, is_over, *args)
        took = time.perf_counter() - begin - compiling
        self.seconds[name] = took / max(is_over.count(False), 1)
        self.compiling += compiling
        self.num_compiled += compiling > 0
        return found


def step(
    block: Block, engine: Engine, done: saving.Done, lines: saving.Lines
) -> saving.Done:
    """Returns how far a block is after its next round, whose lines it adds.

    Raises:
      RunError: what a loop would have objected to, and of which trial.
    """
    index, state, is_over = done
    keys, asking = _keys(block, index)
    clock = _Clock(block, engine)
    known = np.asarray(state.pool.is_labelled.sum(-1))
    forgetful = state._replace(memory=())
    learner, fitted, info = clock.call("train", "fit", is_over, keys, forgetful)
    state = state._replace(learner=learner)
    forgetful = state._replace(memory=())
    parts = keys, forgetful, fitted
    metrics, held_out = clock.call("evaluate", "measure", is_over, *parts)
    metrics, held_out, info = jax.device_get((metrics, held_out, info))
    told = [
        Shown(int(count), _of(metrics, i), _of(held_out, i), _of(info, i))
        for i, count in enumerate(known[: len(block.trials)])
    ]
    _refuse(block, index, told, info, is_over)
    rules = _stopped_by(block, index, told, lines, is_over, clock.seconds)
    ends = [over or rule is not None for over, rule in zip(is_over, rules, strict=True)]
    chosen = None
    if index < len(block.trials[0].experiment.plan) - 1 and not all(ends):
        chosen = clock.call("select", "choose", ends, keys, asking, state, fitted)
        state = chosen.state._replace(learner=learner)
        chosen = jax.device_get(chosen._replace(state=()))
        _refuse_view(block, index, chosen, ends)
    ends = [
        over or _written(block, i, index, told[i], rules[i], chosen, clock, lines[i])
        for i, over in enumerate(is_over)
    ]
    engine.told(block.key, len(block.trials), clock.seconds, clock.compiling)
    return saving.Done(index + 1, state, ends)


def _keys(block: Block, index: int) -> tuple[Any, Any]:
    """Keys of the round and of the oracle, `[B]`."""
    trials = block.filled()
    keys = jnp.stack([trial.experiment.key_rounds for trial in trials])
    asking = jnp.stack([stream(trial.seed, "oracle") for trial in trials])
    return _folded(keys, jnp.int32(index)), asking


_folded = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))


def _of(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _refuse(
    block: Block, index: int, told: list[Shown], info: Any, is_over: list[bool]
) -> None:
    """Raises what a loop would have raised, for the first trial that has reason to."""

    def check(i: int) -> None:
        refuse_unsound_fit(_of(info, i))
        if are_nan(told[i].metrics):
            raise FloatingPointError("Outputs on the test set are NaN.")

    _checked(block, index, is_over, check)


def _refuse_view(block: Block, index: int, chosen: Chosen, is_over: list[bool]) -> None:
    def check(i: int) -> None:
        refuse_unsound(Looked(_NO_VIEW, *_of(chosen.looked, i)))

    _checked(block, index, is_over, check)


def _stopped_by(
    block: Block,
    index: int,
    told: list[Shown],
    lines: saving.Lines,
    is_over: list[bool],
    seconds: Seconds,
) -> list[str | None]:
    """What the rule that ends each trial here is called."""
    found: list[str | None] = [None] * len(block.trials)

    def check(i: int) -> None:
        experiment, files = block.trials[i]
        if experiment.stop is not None:
            records = store.read_lines(files.rounds) + lines[i].rounds
            found[i] = stopped_by(experiment, records, told[i], seconds)

    _checked(block, index, is_over, check)
    return found


def _checked(
    block: Block, index: int, is_over: list[bool], check: Callable[[int], None]
) -> None:
    for i, trial in enumerate(block.trials):
        try:
            if not is_over[i]:
                check(i)
        except (FloatingPointError, ValueError) as error:
            raise RunError(f"{trial.files.folder}, round {index}: {error}") from error


def _written(
    block: Block,
    i: int,
    index: int,
    shown: Shown,
    rule: str | None,
    chosen: Chosen | None,
    clock: _Clock,
    lines: saving.New,
) -> bool:
    """Notes the lines of a round of one trial; returns whether it is over."""
    trial, bought, ends = block.trials[i], 0, True
    if chosen is not None and rule is None:
        selection = Selection(*_of(chosen.selection, i))
        answers = np.asarray(chosen.labels[i])
        labels = taken(trial, selection, answers, block.loop.classes(block.first))
        lines.queries.extend(lines_of(trial, index + 1, selection, labels))
        bought = int((selection.is_valid & is_answer(labels)).sum())
        ends = not selection.is_valid.any()  # the pool is dry
    record: Record = round_record(
        trial.experiment,
        index,
        shown,
        bought=bought,
        rule=rule,
        seconds=clock.seconds,
        num_compiled=clock.num_compiled,
        is_last=bool(ends),
    )
    lines.rounds.append(record)
    return bool(ends)
