"""A run on disk of any loop: a program's own model, data and people."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxal.pools.initial import initial_rows
from jaxal.pools.inputs import num_rows
from jaxal.pools.names import LabelNames
from jaxal.pools.oracles import array_oracle
from jaxal.pools.refusals import Refusals
from jaxal.rounds import ActiveLearner
from jaxal.runs import runner, store
from jaxal.runs.arguments import check_arguments, check_known_labels
from jaxal.runs.displays import Display, Lines
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import Experiment, People, answering, stream, validating
from jaxal.runs.history import rows_there
from jaxal.runs.provenance import PROGRAM
from jaxal.runs.refusals import USUAL
from jaxal.runs.store import Record, RunFiles
from jaxal.stopping import Rule, name_of
from jaxal.types import Inputs, Oracle, Pool

_FACTS = {"pool", "rows", "capacity", "preset", "seed"}  # by which a run is known


def run(
    loop: ActiveLearner,
    pool: Pool,
    oracle: Oracle | People | Any,
    folder: str | os.PathLike,
    *,
    rounds: int,
    initial: Any = None,
    seed: int = 0,
    ids: Sequence[Any] | None = None,
    names: LabelNames | None = None,
    validation: tuple[Inputs, Any] | None = None,
    dataset: str = "pool",
    settings: Record | None = None,
    refusals: Refusals | None = USUAL,
    stop: Rule | None = None,
    display: Display | None = None,
    overwrite: bool = False,
) -> list[Record]:
    """Runs a loop on disk: killed at any moment and started again, it goes on.

    The folder holds `config.json`, `rounds.jsonl` (a line a round: metrics, seconds),
    `queries.jsonl` (a line a label), and a checkpoint. Every label is on disk before it
    is trained on and is asked for once. A run that was killed ends with the files of
    one that was not, times aside; `jaxal report` reads it.

    Args:
      loop: from `active_learner`; its own oracle is not used.
      pool: the rows, with the labels there are already. It must be made of the same
        inputs each time; a pool with spare capacity may have new rows after them.
      oracle: who answers: an `Oracle`, the labels `[N]` themselves, or `People`, who
        answer in their own time.
      folder: of the run, made if need be.
      rounds: how often to train; the last round buys nothing.
      initial: rows to label first: how many, which ones, or None.
      seed: decides initial rows, weights, the oracle's chances, and the rounds.
      ids: `[N]` what rows are called, by default their numbers.
      names: of the classes, for an oracle that answers by name and for the ledger.
      validation: inputs and labels to measure on besides the loop's test set.
      dataset: what to call the data in reports.
      settings: what else decides the result, such as `{"learning_rate": 0.1}`: a run
        is not continued with others than it was begun with.
      refusals: when a row that nobody answers is asked again, and when no more; None:
        at any time, for ever.
      stop: a rule of `jaxal.stopping` that may end the run before its last round;
        accuracies are those of `validation`. The last record says `stopped_by`.
      display: who is told of progress, by default standard output.
      overwrite: throw away what is there.

    Returns:
      One record a round, as `rounds.jsonl` has them. The last has `is_last`, unless
      people have questions left to answer: start the program again when they have.

    Raises:
      RunError: the folder belongs to another run, a file is damaged, the disk is full,
        outputs are NaN, or an answer is no label.
      TypeError: an argument is of another kind.
      ValueError: `rounds` is below 1, `ids` are not one a row or not distinct, initial
        rows are none, or `settings` are none that a file can hold.

    Example:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> from jaxal import active_learner, make_pool, strategy, supervised
      >>> from jaxal.models import logistic_regression
      >>> from jaxal.runs import Silent, run
      >>> inputs = jnp.linspace(-1.0, 1.0, 40)[:, None]
      >>> labels, model = (inputs[:, 0] > 0.3).astype(int), logistic_regression(2)
      >>> loop = active_learner(
      ...     model, supervised(model), strategy("margin"), batch_size=4,
      ...     test=(inputs, labels))
      >>> folder = tempfile.mkdtemp()
      >>> records = run(
      ...     loop, make_pool(inputs), labels, folder, rounds=3, initial=4,
      ...     display=Silent())
      >>> [record["labels"] for record in records]
      [4, 8, 12]
    """
    files = RunFiles(Path(folder))
    experiment = prepared(
        loop,
        pool,
        oracle,
        rounds=rounds,
        initial=initial,
        seed=seed,
        ids=ids,
        names=names,
        validation=validation,
        dataset=dataset,
        settings=settings,
        refusals=refusals,
        stop=stop,
        begun=lambda size: size if overwrite else _begun(files, size),
    )
    shown = Lines() if display is None else display
    return runner.run(experiment, files, shown, overwrite=overwrite)


def prepared(
    loop: ActiveLearner,
    pool: Pool,
    oracle: Oracle | People | Any,
    *,
    rounds: int,
    initial: Any = None,
    seed: int = 0,
    ids: Sequence[Any] | None = None,
    names: LabelNames | None = None,
    validation: tuple[Inputs, Any] | None = None,
    dataset: str = "pool",
    settings: Record | None = None,
    refusals: Refusals | None = None,
    stop: Rule | None = None,
    begun: Callable[[int], int] | None = None,
) -> Experiment:
    """Returns what `run` runs, which says what is passed.

    Args:
      begun: from the rows there are now to how many there were at first.

    Raises:
      ValueError: as `run` does.
    """
    check_arguments(
        loop=loop,
        pool=pool,
        rounds=rounds,
        seed=seed,
        ids=ids,
        names=names,
        validation=validation,
        settings=settings,
        refusals=refusals,
        stop=stop,
    )
    called, size = _ids(pool, ids), rows_there(pool)
    rows_begun = size if begun is None else begun(size)
    whole, pool = pool, _before(pool, rows_begun)
    rows = initial_rows(stream(seed, "initial"), pool, initial)
    plan = _plan(loop, pool, 0 if rows is None else rows.size, rounds)
    most = max(plan[0], *loop.batch_sizes)
    return Experiment(
        settings=_settings(
            settings,
            dataset=dataset,
            source="a program",
            preset=PROGRAM,
            strategy=loop.strategy,
            seed=seed,
            pool=_fingerprint(pool, called, 0, rows_begun),
            rows=rows_begun,
            capacity=num_rows(pool.inputs),
            rounds=rounds,
            refusals=None if refusals is None else list(refusals),
            classes=None if names is None else [*map(repr, names.names)],
            **({} if stop is None else {"stop": name_of(stop)}),
        ),
        loop=loop,
        pool=pool,
        ids=called,
        initial_rows=np.zeros(0, np.int32) if rows is None else np.asarray(rows),
        answer=_answer(oracle, pool, seed, most),
        oracle=getattr(oracle, "name", type(oracle).__name__),
        plan=plan,
        key_weights=stream(seed, "weights"),
        key_rounds=stream(seed, "rounds"),
        validate=None if validation is None else validating(loop, validation),
        names=names,
        num_rows=size,
        digest=partial(_fingerprint, whole, called),
        refusals=refusals,
        stop=stop,
    )


def _settings(given: Record | None, **own: Any) -> Record:
    """What decides the result, as reading config.json will give it back."""
    if clash := _FACTS & (given or {}).keys():
        raise ValueError(
            f"settings has {sorted(clash)[0]!r}, which the run writes itself. Call "
            "yours by another name."
        )
    for name, value in (given or {}).items():
        try:
            own[str(name)] = json.loads(store.encode(value))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"settings has {name!r}: {error}. Give numbers, words, and lists or "
                "dicts of them."
            ) from error
    return own


def _ids(pool: Pool, ids: Sequence[Any] | None) -> np.ndarray:
    size = rows_there(pool)
    called = [str(name) for name in (range(size) if ids is None else ids)]
    if not size <= len(called) <= num_rows(pool.inputs):
        raise ValueError(f"ids has {len(called)} names, the pool {size} rows.")
    if len(set(called)) < len(called):
        twice = next(name for name in called if called.count(name) > 1)
        raise ValueError(f"ids has {twice!r} twice, expected a name of its own a row.")
    return np.array(called)


def _plan(loop: ActiveLearner, pool: Pool, initial: int, rounds: int) -> list[int]:
    """Labels that each round trains on, if everything is answered."""
    sizes = loop.batch_sizes
    bought = [sizes[min(i, len(sizes) - 1)] for i in range(rounds - 1)]
    start = int(np.asarray(pool.is_labelled).sum()) + initial
    most = start + int(np.asarray(pool.is_available).sum()) - initial
    return np.minimum(np.cumsum([start, *bought]), most).tolist()


def _begun(files: RunFiles, size: int) -> int:
    """Rows when the run was begun."""
    if not files.config.exists():
        return size
    config = store.read_json(files.config)
    settings = config.get("settings") if isinstance(config, dict) else None
    rows = settings.get("rows") if isinstance(settings, dict) else None
    if type(rows) is not int or rows < 1:  # another run's, as will be said
        return size
    if rows > size:
        raise RunError(
            f"{files.folder} was begun with {rows} rows, and the pool has {size}. Pass "
            "all of them, those that came later last; withdraw what is not wanted."
        )
    return rows


def _before(pool: Pool, size: int) -> Pool:
    """The pool without rows that came after the first `size`."""
    new = np.arange(size, rows_there(pool))
    if not new.size:
        return pool
    if np.asarray(pool.is_labelled)[new].any() or pool.is_spare is None:
        raise RunError(
            "Rows that came later have labels already, or the pool has no spare "
            "rows. Make it with make_pool(..., capacity=), extend it by inputs alone, "
            "and let the oracle say what is known."
        )
    return pool._replace(
        is_valid=pool.is_valid.at[new].set(False),
        is_spare=pool.is_spare.at[new].set(True),
    )


def _fingerprint(pool: Pool, ids: np.ndarray, start: int, stop: int) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((pool.inputs, pool.labels, pool.is_valid)):
        array = np.ascontiguousarray(np.asarray(leaf)[start:stop])
        digest.update(f"{array.dtype.name}{array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    digest.update("\n".join(ids[start:stop].tolist()).encode())
    return digest.hexdigest()[:16]


def _answer(oracle: Any, pool: Pool, seed: int, most: int) -> Any:
    if isinstance(oracle, People):
        return oracle
    if not callable(oracle):
        known, oracle = oracle, array_oracle(oracle)
        check_known_labels(known, pool)
    return answering(oracle, stream(seed, "oracle"), most)
