"""Runs read again for a report: their rows, and what their last models say of them."""

import contextlib
import csv
import io
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxal import data
from jaxal.app import features
from jaxal.app.launch import Loops, prepare
from jaxal.app.recipe import Recipe, Training
from jaxal.loop import ActiveLearner
from jaxal.pools.changes import reveal
from jaxal.pools.pool import make_pool
from jaxal.report.options import ReportOptions
from jaxal.report.page.rows import PARTS, Rows, bought
from jaxal.report.reading import Run
from jaxal.rounds import LoopState
from jaxal.runs import compiles, ledger, store
from jaxal.runs.errors import RunError
from jaxal.runs.provenance import PROGRAM
from jaxal.runs.resuming import last_state
from jaxal.runs.store import Record, RunFiles
from jaxal.scores import bald, expected_entropy
from jaxal.settings import S, changed, settings_of
from jaxal.types import Pool

SAMPLES = "batch_bald"  # a strategy that reads samples whole, whatever the run's reads
MOST = 1 << 23  # logits of a pool that samples of are held in memory
STUDY = "study.json"


class Last(NamedTuple):
    """A loop in a state, and what its rows are called."""

    loop: ActiveLearner
    key: Any
    state: LoopState
    ids: np.ndarray


class Study(NamedTuple):
    """What trials of a study share."""

    loop: ActiveLearner
    pool: Pool
    ids: np.ndarray


@dataclass(frozen=True)
class Reader:
    """Reads what runs of the command line and of studies say they were about."""

    options: ReportOptions
    loops: Loops = field(default_factory=dict)  # of runs, to compile nothing twice
    studies: dict[str, Study] = field(default_factory=dict)

    def rows(self, run: Run) -> Rows:
        """Returns the rows of the data set of a run.

        Raises:
          RunError: a run of a program, and no `--data` says where its rows are.
          ValueError: the data are no longer there, or not what they were.
        """
        if self.options.data is not None:
            return _named(self.options.data)
        study = _study(run)
        if study.get("features"):
            return _embeddings(Path(study["features"]))
        if run.settings["preset"] == PROGRAM:
            raise RunError("these are runs of a program; --data names their rows")
        size = run.settings.get("image_size")
        return _loaded(_dataset(run), _folder(run), size)

    def uncertainty(self, run: Run) -> dict[str, dict[str, float]]:
        """Returns total, aleatoric and epistemic uncertainty, nats, by id.

        Of the rows that are still for sale after the last round: of the model that a
        checkpoint holds, or of a study's head, solved again on what was bought.

        Raises:
          RunError: there is no such model, or its samples are all equal.
        """
        compiles.remember()
        study = _study(run)
        if study.get("features"):
            return _scores(_solved(run, self._study(run, study)))
        if run.settings["preset"] == PROGRAM:
            raise RunError("the model of a program is not known here")
        return _scores(_restored(run, self.loops))

    def _study(self, run: Run, told: Record) -> Study:
        name = str(run.folder.resolve().parent)
        if name not in self.studies:
            self.studies[name] = _read_study(run, told)
        return self.studies[name]


def _scores(model: Last) -> dict[str, dict[str, float]]:
    loop, key, state, ids = model
    if len(ids) * (loop.classes(state) or 1) > MOST:
        raise RunError(f"{len(ids)} rows of {loop.classes(state)} classes are too many")
    fitted = loop.phases.fit(key, state)
    view = loop.phases.look(key, state, fitted=fitted).view
    kept = np.flatnonzero(np.asarray(state.pool.is_available))
    kept = kept[kept < len(ids)]
    names = ids[kept].astype(str).tolist()
    assert view.samples is not None  # the strategy reads them
    # What there is, is of two kinds; a program of all three would compile for longer.
    aleatoric, epistemic = expected_entropy(view.samples), bald(view.samples)
    found = jax.device_get((aleatoric + epistemic, aleatoric, epistemic))
    parts = zip(PARTS, found, strict=True)
    return {n: dict(zip(names, of[kept].tolist(), strict=True)) for n, of in parts}


def _restored(run: Run, loops: Loops) -> Last:
    """The last model of a run of the command line."""
    recipe = _recipe(run)
    made, _, _ = prepare(recipe, run.seed, loops)
    if made.settings["pool"] != run.settings["pool"]:
        raise RunError(
            "its pool cannot be had again: other rows, or others to start with"
        )
    state = made.loop.init(made.key_weights, made.pool, None)
    files = RunFiles(run.folder)
    entries = ledger.read(made, files, made.loop.classes(state))
    found = last_state(made, files, run.rounds, entries, state, lambda said: None)
    if found is None:
        raise RunError("it has no checkpoint")
    index, state = found
    return Last(made.loop, jax.random.fold_in(made.key_rounds, index), state, made.ids)


def _recipe(run: Run) -> Recipe:
    """What a run was told, its strategy aside."""
    known = settings_of(Recipe)
    said = {n: v for n, v in run.settings.items() if n in known and v is not None}
    said |= {"dataset": _dataset(run), "strategy": SAMPLES}
    if said.get("learner") == "solved":  # what nothing was trained by is refused
        said = {n: v for n, v in said.items() if known[n].group is not Training}
    if run.settings.get("initial_rows"):
        raise RunError("it began with rows of a file, which is not kept")
    return changed(Recipe(), said | {"data_dir": _folder(run)})


def _solved(run: Run, study: Study) -> Last:
    """The head of a study, solved once more on all that a run bought."""
    ids, lines = study.ids, [line for line in bought(run) if line.row < len(study.ids)]
    if any(ids[line.row] != line.id for line in lines):
        raise RunError("the embeddings are no longer those of the study")
    rows = np.array([line.row for line in lines], np.int32)
    labels = np.array([line.label for line in lines], np.int32)
    key = jax.random.key(run.seed)
    state = study.loop.init(key, reveal(study.pool, rows, labels))
    state, _ = study.loop.phases.train(key, state)
    return Last(study.loop, key, state, ids)


def _read_study(run: Run, told: Record) -> Study:
    found = features.read(_said(features.Data(), told))
    budget = features.Budget(int(run.labels[-1]), 1, 0)
    loop = features.maker(found, budget, _said(features.Head(), told))(strategy=SAMPLES)
    pool = make_pool(features.flat(found.pool))
    return Study(loop, pool, found.pool.ids.astype(str))


def _said(base: S, told: Record) -> S:
    """Settings with those changed that a record has."""
    return changed(
        base, {n: v for n, v in told.items() if n in settings_of(type(base))}
    )


def _study(run: Run) -> Record:
    """What the study that a run is of was told, empty where it is of none."""
    path = run.folder.resolve().parent / STUDY
    found = store.read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _dataset(run: Run) -> str:
    """The name or the path of the data of a run."""
    for kind in ("arrays of ", "images in "):
        if run.settings["source"].startswith(kind):
            return run.settings["source"].removeprefix(kind)
    return run.settings["dataset"]


def _folder(run: Run) -> str | None:
    """Where data sets were read from, as the command of a run says."""
    config = store.read_json(RunFiles(run.folder).config)
    words = shlex.split(str(config.get("command", "")))
    for word, after in zip(words, [*words[1:], ""], strict=True):
        name, _, value = word.replace("_", "-").partition("=")
        if name == "--data-dir":
            return word.partition("=")[2] if value else after
    return None


def _loaded(name: str, folder: str | None, size: Any = None) -> Rows:
    found = data.load(name, data_dir=folder, download=False, image_size=size)
    return Rows(
        found.train.ids.astype(str).tolist(),
        found.train.inputs,
        None,
        found.class_names,
    )


def _embeddings(path: Path) -> Rows:
    if path.suffix == ".npz":
        return _loaded(str(path.resolve()), None)
    inputs = np.load(path, mmap_mode="r")
    return Rows([*map(str, range(len(inputs)))], inputs)


def _named(name: str) -> Rows:
    """Rows of a data set that a person names."""
    path = Path(name).expanduser()
    if path.suffix == ".npy":
        return _embeddings(path)
    if path.suffix not in (".txt", ".csv", ".jsonl"):
        return _loaded(name, None)
    text = path.read_text("utf-8-sig")  # with the mark that spreadsheets begin with
    if path.suffix == ".txt":
        lines = text.splitlines()
        return Rows([*map(str, range(len(lines)))], None, lines)
    is_csv = path.suffix == ".csv"
    records = [*csv.DictReader(io.StringIO(text))] if is_csv else _records(path, text)
    if any("text" not in record for record in records):
        raise RunError(
            f"--data {path}: expected a text, and at best an id, in each row"
        )
    ids = [str(record.get("id", i)) for i, record in enumerate(records)]
    return Rows(ids, None, [str(record["text"]) for record in records])


def _records(path: Path, text: str) -> list[Record]:
    """Records of a person's file, whose last line need not end."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        record: Any = None
        with contextlib.suppress(ValueError):
            record = json.loads(line.strip() or "{}")
        if not isinstance(record, dict):
            raise RunError(f"--data {path}, line {number}: expected a JSON object")
        found += [record] if line.strip() else []
    return found
