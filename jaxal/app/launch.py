"""From a recipe to runs, one for each seed."""

import hashlib
import shlex
from pathlib import Path

import jax
import numpy as np

from jaxal import data
from jaxal.app import experiment
from jaxal.app.given import read_ids, rows_of
from jaxal.app.interrupts import heeded
from jaxal.app.plugins import checksums, load_plugins
from jaxal.app.progress import Terminal, duration
from jaxal.app.recipe import Recipe, as_record
from jaxal.app.settling import bent, settle
from jaxal.data import Dataset
from jaxal.data.naming import short
from jaxal.loop import ActiveLearner
from jaxal.registry import strategy
from jaxal.runs import compiles, runner
from jaxal.runs.errors import RunError, StoppedError
from jaxal.runs.experiment import Experiment
from jaxal.runs.store import Record, RunFiles
from jaxal.stopping import rule_of

Loops = dict[tuple[str, Recipe], ActiveLearner]


def launch(recipe: Recipe, command: str = "") -> list[Path]:
    """Runs every seed, one after the other, and draws their learning curves.

    Args:
      recipe: what to run.
      command: how it was given, for the record.

    Returns:
      The folders of the runs.

    Raises:
      RunError: see `runner.run`.
      StoppedError: Ctrl-C, once there is a run to continue.
      ValueError: an unknown strategy or data set; the nearest is named.
    """
    load_plugins(recipe.plugin)
    compiles.remember()
    folders: list[Path] = []
    loops: Loops = {}
    for position, seed in enumerate(recipe.seeds):
        with heeded() as heed:
            made, settled, notes = prepare(recipe, seed, loops)
            heed()
        files = RunFiles(_folder(recipe, made.settings))
        later = len(recipe.seeds) - 1 - position
        try:
            with heeded() as heed:
                display = Terminal(made.plan, runs_after=later, heed=heed)
                display.message("\n".join([headline(made, settled, files), *notes]))
                records = runner.run(
                    made, files, display, command=command, overwrite=recipe.overwrite
                )
                _finish(files, made.settings, records, display)
                heed()
        except KeyboardInterrupt as error:
            raise StoppedError from error
        except jax.errors.JaxRuntimeError as error:
            if "ut of memory" not in str(error):
                raise
            raise RunError(
                f"{files.folder}: {str(error).splitlines()[0]} Lower --train-batch, "
                "--chunk-size or --width. Labels and complete rounds are on disk."
            ) from error
        folders.append(files.folder)
    return folders


def prepare(
    recipe: Recipe, seed: int, loops: Loops | None = None
) -> tuple[Experiment, Recipe, list[str]]:
    """Returns the experiment of one seed, its settled recipe, and what had to give.

    Args:
      recipe: what to run.
      seed: of this run.
      loops: those of seeds before this one, to be used again and added to.

    Raises:
      RunError: numbers that do not go together.
      ValueError: an unknown strategy or data set; the nearest is named.
    """
    chosen = strategy(recipe.strategy)  # first: a typing error should cost no download
    _ = recipe.stop and rule_of(recipe.stop)
    named = read_ids(recipe.initial_rows) if recipe.initial_rows else []
    loaded = _load(recipe, seed)
    given = rows_of(named, loaded.train.ids) if named else None
    inputs = loaded.train.inputs
    settled = settle(recipe, inputs, len(loaded.class_names), len(named) or None)
    rows = experiment.pool_rows(seed, len(inputs), settled.pool_size, given)
    loops = {} if loops is None else loops
    if (same := (loaded.fingerprint, settled)) not in loops:
        loops[same] = experiment.build_loop(settled, chosen, loaded)
    settings = _settings(settled, seed, loaded, rows, named)
    made = experiment.build(settings, settled, loops[same], loaded, rows, given)
    return made, settled, bent(recipe, settled, len(loaded.test.labels))


def headline(made: Experiment, recipe: Recipe, files: RunFiles) -> str:
    """Returns the loud line: which data, which preset and why, what will be done."""
    settings = made.settings
    why = "no accelerator found" if settings["platform"] == "cpu" else "on accelerator"
    network = recipe.model
    if recipe.model in ("resnet18", "mlp"):
        network += f" of width {recipe.width}"
    if recipe.learner == "solved":
        network += ", solved"
    return (
        f"=== {settings['dataset'].upper()} ({settings['source']})\n"
        f"=== preset {settings['preset']} ({settings['platform']}: {why}) | "
        f"{settings['strategy']} | {network} | seed {settings['seed']}\n"
        f"=== {made.plan[0]} to {made.plan[-1]} of {len(made.ids)} labels in "
        f"{len(made.plan)} rounds | {files.folder}"
    )


def _load(recipe: Recipe, seed: int) -> Dataset:
    try:
        return data.load(
            recipe.dataset,
            data_dir=recipe.data_dir,
            num_validation=recipe.num_validation,
            seed=seed,
            keep_ratios=recipe.keep_ratios or None,
            image_size=recipe.image_size,
        )
    except (OSError, TypeError, ValueError) as error:  # a person's to mend
        told = _in_flags(str(error))
        is_said = isinstance(error, ValueError) and recipe.dataset in told
        told = told if is_said else f"--dataset={recipe.dataset}: {told}"
        raise RunError(told) from error


def _in_flags(text: str) -> str:
    """Names of arguments as the command line has them."""
    text = text.replace("image_size=(height, width)", "--image-size HEIGHT WIDTH")
    for name in ("image_size", "keep_ratios", "num_validation"):
        text = text.replace(name, f"--{name.replace('_', '-')}")
    return text


def _settings(
    recipe: Recipe, seed: int, loaded: Dataset, rows: np.ndarray, named: list[str]
) -> Record:
    """Everything that decides the result of one run, as JSON has it."""
    start = {"initial_kind": "given", "initial_rows": _digest(sorted(named))}
    return {
        **as_record(recipe),
        "dataset": loaded.name,
        "source": loaded.source,
        "pool": _digest([loaded.fingerprint], np.int64(rows).tobytes()),
        "platform": jax.default_backend(),
        "plugins": checksums(recipe.plugin),
        "seed": seed,
        **(start if named else {}),
    }


def _digest(words: list[str], content: bytes = b"") -> str:
    return hashlib.sha256("\n".join(words).encode() + content).hexdigest()[:16]


def _folder(recipe: Recipe, settings: Record) -> Path:
    parts = (settings["dataset"], recipe.strategy, settings["preset"])
    name = short(recipe.name or "-".join(_slug(part) for part in parts))
    if not name or name != Path(name).name:
        raise RunError(
            f"--name is {name!r}, expected one folder name; --output is its parent."
        )
    return recipe.output / f"{name}-seed{settings['seed']}"


def _slug(text: str) -> str:
    kept = [c if c.isalnum() or c in "_." else "_" for c in Path(text).name]
    return "".join(kept).strip("._") or "data"


def _finish(
    files: RunFiles, settings: Record, records: list[Record], display: Terminal
) -> None:
    from jaxal.report.figures import pictures

    figure = pictures.draw_run(files.folder, files.figures / "learning_curve.png")
    first, last = records[0], records[-1]
    spent = sum(sum(record["seconds"].values()) for record in records)
    display.message(
        f"{settings['dataset']}: accuracy {100 * first['accuracy']:.1f} % with "
        f"{first['labels']} labels, {100 * last['accuracy']:.1f} % with "
        f"{last['labels']}; {duration(spent)}\n{figure}\n"
        f"compare runs: jaxal report {shlex.quote(str(files.folder.parent))}"
    )
