"""A block: trials of one cell that go through their rounds together."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.data.locking import exclusive
from jaxal.pools.pool import is_answer
from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs.experiment import one_by_one, stream
from jaxal.runs.resuming import claim
from jaxal.runs.runner import are_nan, round_record
from jaxal.runs.store import Record, RunError
from jaxal.studies import saving
from jaxal.studies.programs import Programs, Shelf, bare
from jaxal.studies.trials import Trial, bought_first, lines_of, masks, taken
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
    size: int  # trials that programs are compiled for, repeats of the last included


class Engine(NamedTuple):
    """What blocks share."""

    shelf: Shelf
    device: jax.Device
    inputs: Inputs  # of the pool, there
    save_every: float  # seconds
    command: str
    is_stopped: Callable[[], bool]
    told: Callable[[str, int, Seconds, float], None]
    """(cell, trial-rounds done, seconds by phase, seconds of compiling)"""
    message: Callable[[str], None]


class BusyError(Exception):
    """Another process has one of the trials."""


def run_block(block: Block, engine: Engine) -> bool:
    """Runs the rounds that are missing; returns whether the block is finished.

    Raises:
      BusyError: another process is at it.
      RunError: a trial belongs to other settings, or what it trained is unsound.
    """
    with _locked(block.trials), jax.default_device(engine.device):
        for trial in block.trials:
            claim(trial.experiment, trial.files, engine.command)
        if all(trial.is_finished for trial in block.trials):
            return True
        state, lines = _begun(block, engine)
        done = saving.resumed(block.trials, state, engine.message)
        if done is None:
            saving.cleared(block.trials)
            done = saving.Done(0, state, [False] * len(block.trials))
        else:
            lines = saving.no_lines(block.trials)
        return _rounds(block, engine, done, lines)


@contextlib.contextmanager
def _locked(trials: list[Trial]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for trial in trials:
            path = trial.files.folder / ".lock"
            try:
                stack.enter_context(exclusive(path, f"{path.parent}", wait=False))
            except BlockingIOError:
                raise BusyError(block_of(trial)) from None
        yield


def block_of(trial: Trial) -> str:
    """Returns what to call a trial in a message."""
    return str(trial.files.folder)


def _begun(block: Block, engine: Engine) -> tuple[LoopState, saving.Lines]:
    """The state in which initial sets are labelled, `[B, ...]`, and their lines."""
    trials = _filled(block)
    num_classes = block.loop.classes(block.first)
    answers = [_first_answers(block, trial) for trial in block.trials]
    bought = bought_first(block.trials, answers, num_classes)
    lines = saving.no_lines(block.trials)
    for trial, found, (asked, labels) in zip(block.trials, lines, bought, strict=True):
        found.queries.extend(lines_of(trial, 0, asked, labels))
    known = [masks(t, *b) for t, b in zip(block.trials, bought, strict=True)]
    known += known[-1:] * (block.size - len(known))
    labels, is_labelled = (np.stack(part) for part in zip(*known, strict=True))
    keys = jnp.stack([trial.experiment.key_weights for trial in trials])
    learner = _call(block, engine, "weights", keys)[0]
    rest = jax.tree.map(lambda x: jnp.stack([x] * block.size), bare(block.first))
    pool = rest.pool._replace(
        labels=jnp.asarray(labels), is_labelled=jnp.asarray(is_labelled)
    )
    state = rest._replace(pool=pool, learner=learner)
    return jax.device_put(state, engine.device), lines


def _filled(block: Block) -> list[Trial]:
    """As many trials as programs take, the last one more than once."""
    return block.trials + block.trials[-1:] * (block.size - len(block.trials))


def _first_answers(block: Block, trial: Trial) -> np.ndarray:
    rows = trial.experiment.initial_rows.astype(np.int32)
    if not rows.size:
        return np.zeros(0, np.asarray(trial.experiment.pool.labels).dtype)
    key = stream(trial.seed, "oracle")
    return np.asarray(one_by_one(block.oracle, key, jnp.int32(0), jnp.asarray(rows)))


def _call(block: Block, engine: Engine, phase: str, *args: Any) -> tuple[Any, float]:
    """What a program returns, and how long it took to compile, 0 where it was there."""
    took: list[float] = []
    fn = getattr(block.programs, phase)
    trials = args if len(args) > 1 else args[0]
    name = phase, id(fn)
    found = engine.shelf.call(name, fn, engine.inputs, trials, seconds=took.append)
    return jax.block_until_ready(found), sum(took)


def _rounds(
    block: Block, engine: Engine, done: saving.Done, lines: saving.Lines
) -> bool:
    saved = time.monotonic()
    while not all(done.is_over):
        done = _round(block, engine, done, lines)
        is_over, is_stopped = all(done.is_over), engine.is_stopped()
        if is_over or is_stopped or time.monotonic() - saved > engine.save_every:
            saving.save(block.trials, done, lines, is_over=is_over)
            lines, saved = saving.no_lines(block.trials), time.monotonic()
        if is_stopped:
            break
    return all(done.is_over)


def _round(
    block: Block, engine: Engine, done: saving.Done, lines: saving.Lines
) -> saving.Done:
    index, state = done.rounds, done.state
    is_last = index == len(block.trials[0].experiment.plan) - 1
    keys, asking = _keys(block, index)
    clock = _Clock(block, engine)
    known = np.asarray(state.pool.is_labelled.sum(-1))
    forgetful = state._replace(memory=())
    learner, fitted, info = clock.call("train", "fit", keys, forgetful)
    state = state._replace(learner=learner)
    forgetful = state._replace(memory=())
    metrics = clock.call("evaluate", "measure", keys, forgetful, fitted)
    chosen = None
    if not is_last:
        chosen = clock.call("select", "choose", keys, asking, state, fitted)
        state = chosen.state._replace(learner=learner)
    found = jax.device_get((metrics, info, chosen and chosen[1:]))
    _refuse(block, index, found, done.is_over)
    is_over = _written(block, index, known, found, clock, done.is_over, lines)
    engine.told(block.name, len(block.trials), clock.seconds, clock.compiling)
    return saving.Done(index + 1, state, is_over)


class _Clock:
    """Calls programs and notes how long they ran, without compiling."""

    def __init__(self, block: Block, engine: Engine):
        self._parts = block, engine
        self.seconds: Seconds = {}
        self.compiling = 0.0
        self.num_compiled = 0

    def call(self, name: str, phase: str, *args: Any) -> Any:
        begin = time.perf_counter()
        found, compiling = _call(*self._parts, phase, *args)
        took = time.perf_counter() - begin - compiling
        self.seconds[name] = took / self._parts[0].size
        self.compiling += compiling
        self.num_compiled += compiling > 0
        return found


def _keys(block: Block, index: int) -> tuple[Any, Any]:
    """Keys of the round and of the oracle, `[B]`."""
    trials = _filled(block)
    keys = jnp.stack([trial.experiment.key_rounds for trial in trials])
    asking = jnp.stack([stream(trial.seed, "oracle") for trial in trials])
    return _folded(keys, jnp.int32(index)), asking


_folded = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))


def _refuse(block: Block, index: int, found: Any, is_over: list[bool]) -> None:
    """Raises what a loop would have raised, for the first trial that has reason to."""
    metrics, info, chosen = found
    for i, trial in enumerate(block.trials):
        if is_over[i]:
            continue
        try:
            refuse_unsound_fit(_of(info, i))
            if metrics is not None and are_nan(_of(metrics, i)):
                raise FloatingPointError("Outputs on the test set are NaN.")
            if chosen is not None:
                refuse_unsound(Looked(_NO_VIEW, *_of(chosen[2], i)))
        except (FloatingPointError, ValueError) as error:
            raise RunError(f"{block_of(trial)}, round {index}: {error}") from error


def _of(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _written(
    block: Block,
    index: int,
    known: np.ndarray,
    found: Any,
    clock: _Clock,
    was_over: list[bool],
    lines: saving.Lines,
) -> list[bool]:
    """Notes the lines of a round; returns which trials are over."""
    metrics, info, chosen = found
    num_classes = block.loop.classes(block.first)
    is_over = []
    for i, trial in enumerate(block.trials):
        if was_over[i]:
            is_over.append(True)
            continue
        bought, ends = 0, chosen is None
        if chosen is not None:
            selection, labels = Selection(*_of(chosen[0], i)), chosen[1][i]
            labels = taken(trial, selection, labels, num_classes)
            lines[i].queries.extend(lines_of(trial, index + 1, selection, labels))
            bought = int((selection.is_valid & is_answer(labels)).sum())
            ends = not selection.is_valid.any()
        told: Record = {
            "labels": int(known[i]),
            **({} if metrics is None else _of(metrics, i)._asdict()),
            "measured": block.loop.measured,
            "loss": _of(info, i).loss,
            "bought": bought,
        }
        lines[i].rounds.append(
            round_record(
                trial.experiment,
                index,
                told,
                clock.seconds,
                clock.num_compiled,
                is_last=bool(ends),
            )
        )
        is_over.append(bool(ends))
    return is_over
