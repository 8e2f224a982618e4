"""From the command line's options to runs, one for each seed."""

import dataclasses
import shlex
from pathlib import Path

import jax
import numpy as np

from jaxal import data
from jaxal.app import config, experiment, presets
from jaxal.app.config import Options
from jaxal.app.given import read_ids, rows_of
from jaxal.app.interrupts import heeded
from jaxal.app.plugins import load_plugins
from jaxal.app.presets import Recipe
from jaxal.app.progress import Terminal, duration
from jaxal.data import Dataset
from jaxal.data.naming import short
from jaxal.loop import ActiveLearner
from jaxal.runs import compiles, runner, store
from jaxal.runs.experiment import Experiment, Validate, validating
from jaxal.runs.store import Record, RunFiles
from jaxal.training import recipes
from jaxal.training.heads.logistic import logistic_head
from jaxal.types import Model, Strategy

SGD_RATES = 0.1, 5e-4  # ResNet's learning rate and weight decay

Loops = dict[tuple[str, Recipe], tuple[ActiveLearner, Validate | None]]


def launch(options: Options, command: str = "") -> list[Path]:
    """Runs every seed, one after the other, and draws their learning curves.

    Args:
      options: what the command line says.
      command: how it was given, for the record.

    Returns:
      The folders of the runs.

    Raises:
      RunError: see `runner.run`.
      StoppedError: Ctrl-C, once there is a run to continue.
      ValueError: an unknown strategy, data set or network; the nearest is named.
    """
    config.check_options(options)
    load_plugins(options.plugin)
    compiles.remember()
    folders: list[Path] = []
    loops: Loops = {}
    for position, seed in enumerate(options.seeds):
        made, recipe = prepare(options, seed, loops)
        files = RunFiles(_folder(options, made.settings, seed))
        later = len(options.seeds) - 1 - position
        try:
            with heeded() as heed:
                display = Terminal(made.plan, runs_after=later, heed=heed)
                display.message(headline(made, recipe, files))
                records = runner.run(
                    made, files, display, command=command, overwrite=options.overwrite
                )
                _finish(files, made.settings, records, display)
                heed()
        except KeyboardInterrupt as error:
            raise store.StoppedError from error
        folders.append(files.folder)
    return folders


def prepare(
    options: Options, seed: int, loops: Loops | None = None
) -> tuple[Experiment, Recipe]:
    """Returns the experiment of one seed, and its recipe.

    Args:
      options: what the command line says.
      seed: of this run.
      loops: those of seeds before this one, to be used again and added to.

    Raises:
      RunError: numbers that do not go together.
      ValueError: an unknown strategy, data set or network; the nearest is named.
    """
    from jaxal.models import build
    from jaxal.registry import strategy

    # Names first: a mistyped one should not cost a download.
    chosen = strategy(
        options.strategy, **config.strategy_settings(options.strategy_options)
    )
    if options.recipe.model is not None:
        build(options.recipe.model, num_classes=2)
    initial_ids = read_ids(options.initial_rows) if options.initial_rows else []
    loaded = _load(options, seed)
    inputs = loaded.train.inputs
    preset = options.preset or presets.default_preset(jax.default_backend())
    recipe = config.resolve_recipe(options.recipe, preset, presets.kind_of(inputs))
    given = rows_of(initial_ids, loaded.train.ids) if initial_ids else None
    if given is not None:
        recipe = _starting_with(recipe, options, len(given))
    recipe = presets.fit_to_pool(recipe, len(inputs))
    try:  # where a network first meets the data
        recipe = _with_rates(recipe, len(loaded.class_names), inputs)
    except ValueError as error:
        raise store.RunError(
            f"--dataset={options.dataset} with --model {recipe.model}: {error}"
        ) from error
    size = recipe.pool_size or len(inputs)
    rows = experiment.pool_rows(seed, len(inputs), size, given)
    train = (inputs[rows], loaded.train.labels[rows], loaded.train.ids[rows])
    settings = config.settings(
        options,
        recipe,
        seed,
        dataset=loaded.name,
        source=loaded.source,
        fingerprint=experiment.fingerprint(loaded.fingerprint, rows),
        preset=preset,
        initial_ids=initial_ids,
    )
    loops = {} if loops is None else loops
    if (same := (loaded.fingerprint, recipe)) not in loops:
        loops[same] = _build_loop(recipe, chosen, loaded)
    loop, validate = loops[same]
    made = experiment.build(
        settings,
        recipe,
        loop,
        train,
        len(loaded.class_names),
        given=None if given is None else np.searchsorted(rows, given),
        validate=validate,
    )
    return made, recipe


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


def _load(options: Options, seed: int) -> Dataset:
    try:
        return data.load(
            options.dataset,
            data_dir=options.data_dir,
            num_validation=options.num_validation,
            seed=seed,
            keep_ratios=options.keep_ratios or None,
            image_size=options.image_size,
        )
    except (OSError, TypeError) as error:  # files and arrays are a person's to mend
        raise store.RunError(f"--dataset={options.dataset}: {error}") from error


def _starting_with(recipe: Recipe, options: Options, num_given: int) -> Recipe:
    asked = options.recipe.initial
    if asked is not None and asked != num_given:
        raise store.RunError(
            f"--initial is {asked}, and {options.initial_rows} names {num_given} rows. "
            "Leave --initial out."
        )
    return dataclasses.replace(recipe, initial=num_given, initial_kind="given")


def _build_loop(
    recipe: Recipe, chosen: Strategy, loaded: Dataset
) -> tuple[ActiveLearner, Validate | None]:
    inputs, size = loaded.train.inputs, recipe.test_size
    network, learner = _network(recipe, len(loaded.class_names)), None
    if recipe.learner == "solved":
        most = presets.label_plan(recipe)[-1]
        network, learner, _ = logistic_head(len(loaded.class_names), capacity=most)
    parts = recipe, chosen, network, inputs.shape[1:]
    test = loaded.test.inputs[:size], loaded.test.labels[:size]
    if loaded.validation is None:
        return experiment.build_loop(*parts, test, learner=learner), None
    held_out = loaded.validation.inputs, loaded.validation.labels
    loop = experiment.build_loop(*parts, test, held_out, learner=learner)
    return loop, validating(loop, held_out)


def _with_rates(recipe: Recipe, num_classes: int, inputs: np.ndarray) -> Recipe:
    """The recipe with learning rate and decay that suit its network, if not given."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.learner == "solved":
        return recipe
    row = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    shapes = jax.eval_shape(_network(recipe, num_classes).init, jax.random.key(0), row)
    usual = (
        recipes.learning_rate(shapes["params"]),
        recipes.weight_decay(shapes["params"]),
    )
    usual = SGD_RATES if recipe.optimizer == "sgd" else usual
    return dataclasses.replace(
        recipe,
        learning_rate=usual[0] if rate is None else rate,
        weight_decay=usual[1] if decay is None else decay,
    )


def _network(recipe: Recipe, num_classes: int) -> Model:
    from jaxal.models import build

    extra: dict[str, object] = {}
    if recipe.model == "resnet18":
        extra = {name: getattr(recipe, name) for name in ("width", "dropout", "dtype")}
    if recipe.model == "mlp":
        extra = {"hidden": (recipe.width,), "dropout": recipe.dropout}
    return build(recipe.model, num_classes, **extra)


def _folder(options: Options, settings: Record, seed: int) -> Path:
    parts = (settings["dataset"], options.strategy, settings["preset"])
    name = short(options.name or "-".join(_slug(part) for part in parts))
    if not name or name != Path(name).name:
        raise store.RunError(
            f"--name is {name!r}, expected one folder name; --output is its parent."
        )
    return options.output / f"{name}-seed{seed}"


def _slug(text: str) -> str:
    kept = [c if c.isalnum() or c in "_." else "_" for c in Path(text).name]
    return "".join(kept).strip("._") or "data"


def _finish(
    files: RunFiles, settings: Record, records: list[Record], display: Terminal
) -> None:
    from jaxal.report import figures

    figure = figures.draw_run(files.folder, files.figures / "learning_curve.png")
    first, last = records[0], records[-1]
    spent = sum(sum(record["seconds"].values()) for record in records)
    display.message(
        f"{settings['dataset']}: accuracy {100 * first['accuracy']:.1f} % with "
        f"{first['labels']} labels, {100 * last['accuracy']:.1f} % with "
        f"{last['labels']}; {duration(spent)}\n{figure}\n"
        f"compare runs: jaxal report {shlex.quote(str(files.folder.parent))}"
    )
