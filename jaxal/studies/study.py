"""A study: a grid of settings and seeds over any loop, in one call."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxal.pools.oracles import array_oracle
from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs.experiment import validating
from jaxal.runs.program import prepared
from jaxal.runs.store import Record, RunFiles
from jaxal.stopping import Rule
from jaxal.studies.crew import work
from jaxal.studies.grid import called, cells, part_of
from jaxal.studies.programs import Programs, programs
from jaxal.studies.shown import StudyLine
from jaxal.studies.stepping import Block
from jaxal.studies.trials import Trial, first_rows, of_seed
from jaxal.types import Inputs, Oracle, Pool

_TURNS = 8  # trials of a block on a CPU: as quick as any, and few to lose


def study(
    make: Callable[..., ActiveLearner],
    pool: Pool,
    oracle: Oracle | Any,
    folder: str | os.PathLike,
    *,
    grid: Mapping[str, Iterable[Any]],
    seeds: Sequence[int],
    rounds: int,
    initial: Any = None,
    ids: Sequence[Any] | None = None,
    dataset: str = "pool",
    settings: Record | None = None,
    validation: tuple[Inputs, Any] | None = None,
    stop: Rule | None = None,
    part: tuple[int, int] | None = None,
    together: int | None = None,
    workers: int | None = None,
    save_every: float = 30.0,
    is_shown: bool = True,
) -> list[Path]:
    """Runs every combination of settings with every seed; killed, it goes on.

    Each trial is the folder of a run, with the picks and the files that
    `jaxal.runs.run(refusals=None)` would give it, times aside; `jaxal report FOLDER`
    compares them.
    Trials go through their rounds together, several in one program, and strategies
    share the programs that fit and measure: make what they share, such as learner and
    test set, once and outside of `make`. Several processes, on any machines, may run
    the same study in the same folder: each takes what nobody has.

    Args:
      make: from settings by name to a loop; its oracle is not used.
      pool: the rows, with the labels there are already.
      oracle: who answers, an `Oracle` that can be traced, or the labels `[N]`.
      folder: of the study.
      grid: from the names of settings to their values; each combination is a cell.
      seeds: of the trials of a cell; the same in all cells, so that they are pairs.
      rounds: how often to train; the last round buys nothing.
      initial: rows to label first: how many, which ones, None, or a function from a key
        to which ones, a draw for each seed.
      ids: `[N]` what rows are called, by default their numbers.
      dataset: what to call the data in reports.
      settings: what else decides the result, for the record.
      validation: inputs and labels to measure on besides the test set.
      stop: a rule of `jaxal.stopping` that may end a trial before its last round;
        accuracies are those of `validation`. Its last record says `stopped_by`.
      part: `(3, 16)` for the third of sixteen machines that share no folder.
      together: trials in one program; by default 8 on a CPU, elsewhere all seeds.
      workers: blocks at the same time; by default one for each device. On one CPU
        rather start several processes, each on cores of its own.
      save_every: seconds of work that a kill may cost.
      is_shown: whether a line says how far it is.

    Returns:
      The folders of the trials of this part.

    Raises:
      RunError: a folder holds a trial with other settings, or trials failed, once all
        others are done.
      ValueError: the grid, the part, or what `jaxal.runs.run` refuses.

    Example:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> from jaxal import active_learner, logistic_head, make_pool, strategy
      >>> from jaxal.studies import study
      >>> inputs = jnp.linspace(-1.0, 1.0, 40)[:, None]
      >>> labels, head = (inputs[:, 0] > 0.3).astype(int), logistic_head(2)
      >>> def make(strategy_name):
      ...   return active_learner(
      ...     head.model, head.learner, strategy(strategy_name), batch_size=4,
      ...     test=(inputs, labels))
      >>> trials = study(
      ...     make, make_pool(inputs), labels, tempfile.mkdtemp(), seeds=range(2),
      ...     grid={"strategy_name": ["random", "margin"]}, rounds=2, initial=4,
      ...     is_shown=False)
      >>> [trial.name for trial in trials][:2]
      ['strategy_name=random-seed0', 'strategy_name=random-seed1']
    """
    pool = jax.device_put(pool, jax.local_devices()[0])  # trials are spread, not rows
    plan = Plan(
        rounds, initial, ids, dataset, settings or {}, validation, stop, Path(folder)
    )
    chosen = part_of([(c, s) for c in cells(grid) for s in seeds], part)
    size = together or (_TURNS if _is_in_turn() else len(seeds))
    blocks = _blocks(make, pool, oracle, plan, chosen, size)
    crew = workers or len(jax.local_devices())
    totals = {block.key: sum(t.num_left for t in block.trials) for block in blocks}
    line = StudyLine(totals, min(crew, len(blocks)), is_shown=is_shown)
    work(blocks, pool, line, workers=crew, save_every=save_every)
    return [trial.files.folder for block in blocks for trial in block.trials]


class Plan(NamedTuple):
    """What all trials have in common."""

    rounds: int
    initial: Any
    ids: Sequence[Any] | None
    dataset: str
    settings: Record
    validation: tuple[Inputs, Any] | None
    stop: Rule | None
    folder: Path


def _blocks(
    make: Callable[..., ActiveLearner],
    pool: Pool,
    oracle: Any,
    plan: Plan,
    chosen: list[tuple[dict[str, Any], int]],
    size: int,
) -> list[Block]:
    """Blocks of trials, the first seeds of all cells first."""
    asked = oracle if callable(oracle) else array_oracle(oracle)
    by_name: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for cell, seed in chosen:
        by_name.setdefault(called(cell), (cell, []))[1].append(seed)
    shared: dict[Any, Programs] = {}
    found: list[tuple[int, Block]] = []
    for name, (cell, seeds) in by_name.items():
        loop = make(**cell)
        first = loop.init(jax.random.key(0), pool)  # says what is wrong with it
        whole = _programs(loop, asked, first, plan.validation, shared)
        trials = _trials(loop, pool, oracle, plan, name, cell, seeds)
        each = -(-len(trials) // -(-len(trials) // size))
        for i in range(0, len(trials), each):
            part = trials[i : i + each]
            found.append((i, Block(name, loop, asked, first, whole, part, each)))
    return [block for _, block in sorted(found, key=lambda pair: pair[0])]


def _programs(
    loop: ActiveLearner,
    oracle: Oracle,
    first: LoopState,
    validation: tuple[Inputs, Any] | None,
    shared: dict[Any, Programs],
) -> Programs:
    """The programs of a loop; those that fit and measure are another's where alike."""
    validate = validation and validating(loop, validation)
    mine = programs(loop, oracle, first, validate, in_turn=_is_in_turn())
    if not loop.training:
        return mine
    return shared.setdefault(tuple(map(id, loop.training)), mine)._replace(
        choose=mine.choose
    )


def _trials(
    loop: ActiveLearner,
    pool: Pool,
    oracle: Any,
    plan: Plan,
    name: str,
    cell: dict[str, Any],
    seeds: list[int],
) -> list[Trial]:
    said = {
        k: v if isinstance(v, int | float | str) else str(v) for k, v in cell.items()
    }
    first = prepared(
        loop,
        pool,
        oracle,
        rounds=plan.rounds,
        initial=first_rows(plan.initial, seeds[0]),
        ids=plan.ids,
        dataset=plan.dataset,
        settings=plan.settings | said,
        validation=plan.validation,
        stop=plan.stop,
    )
    return [
        Trial(
            of_seed(first, seed, plan.initial),
            RunFiles(plan.folder / f"{name}-seed{seed}"),
        )
        for seed in seeds
    ]


def _is_in_turn() -> bool:
    return jax.default_backend() == "cpu"
