"""A block: trials of one cell that go through their rounds together."""

import contextlib
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.data.locking import exclusive
from jaxal.rounds import LoopState
from jaxal.runs.experiment import one_by_one, stream
from jaxal.runs.resuming import claim
from jaxal.studies import saving
from jaxal.studies.programs import bare
from jaxal.studies.stepping import Block, Engine, call, step
from jaxal.studies.trials import Trial, bought_first, lines_of, masks


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
                raise BusyError(f"{path.parent}") from None
        yield


def _begun(block: Block, engine: Engine) -> tuple[LoopState, saving.Lines]:
    """The state in which initial sets are labelled, `[B, ...]`, and their lines."""
    num_classes = block.loop.classes(block.first)
    answers = [_first_answers(block, trial) for trial in block.trials]
    bought = bought_first(block.trials, answers, num_classes)
    lines = saving.no_lines(block.trials)
    for trial, found, (asked, labels) in zip(block.trials, lines, bought, strict=True):
        found.queries.extend(lines_of(trial, 0, asked, labels))
    known = [masks(t, *b) for t, b in zip(block.trials, bought, strict=True)]
    known += known[-1:] * (block.size - len(known))
    labels, is_labelled = (np.stack(part) for part in zip(*known, strict=True))
    keys = jnp.stack([trial.experiment.key_weights for trial in block.filled()])
    nobody = [False] * len(block.trials)
    learner = call(block, engine, "weights", nobody, keys)[0]
    rest = jax.tree.map(lambda x: jnp.stack([x] * block.size), bare(block.first))
    pool = rest.pool._replace(
        labels=jnp.asarray(labels), is_labelled=jnp.asarray(is_labelled)
    )
    state = rest._replace(pool=pool, learner=learner)
    return jax.device_put(state, engine.device), lines


def _first_answers(block: Block, trial: Trial) -> np.ndarray:
    rows = trial.experiment.initial_rows.astype(np.int32)
    if not rows.size:
        return np.zeros(0, np.asarray(trial.experiment.pool.labels).dtype)
    key = stream(trial.seed, "oracle")
    return np.asarray(one_by_one(block.oracle, key, jnp.int32(0), jnp.asarray(rows)))


def _rounds(
    block: Block, engine: Engine, done: saving.Done, lines: saving.Lines
) -> bool:
    saved = time.monotonic()
    while not all(done.is_over):
        done = step(block, engine, done, lines)
        is_over, is_stopped = all(done.is_over), engine.is_stopped()
        if is_over or is_stopped or time.monotonic() - saved > engine.save_every:
            saving.save(block.trials, done, lines, is_over=is_over)
            lines, saved = saving.no_lines(block.trials), time.monotonic()
        if is_stopped:
            break
    return all(done.is_over)
