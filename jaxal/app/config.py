"""What a run is asked to do, resolved until nothing is left to decide."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from jaxal.app import flags, presets
from jaxal.app.presets import Recipe
from jaxal.runs.store import Record, RunError

_RANGES = {
    "rounds": (0, math.inf),
    "budget": (1, math.inf),
    "pool_size": (1, math.inf),
    "test_size": (1, math.inf),
    "initial": (1, math.inf),
    "width": (1, math.inf),
    "dropout": (0.0, 1.0),
    "epochs": (1, math.inf),
    "min_steps": (0, math.inf),
    "train_batch": (1, math.inf),
    "learning_rate": (1e-9, math.inf),
    "weight_decay": (0.0, math.inf),
    "label_smoothing": (0.0, 1.0),
    "num_samples": (1, math.inf),
    "prior_precision": (1e-9, math.inf),
    "label_noise": (0.0, 1.0),
    "chunk_size": (1, math.inf),
}
_OF_TRAINING = (
    "epochs",
    "min_steps",
    "train_batch",
    "optimizer",
    "learning_rate",
    "schedule",
    "weight_decay",
    "label_smoothing",
    "augment",
    "averaging",
    "refit",
)


@dataclass(frozen=True)
class Overrides:
    """Settings of the preset, each of which can be changed."""

    rounds: flags.Int = None
    """How often labels are bought after the initial set."""
    budget: flags.Int = None
    """Labels to end with, the initial ones included; as many rounds as that takes."""
    initial: flags.Int = None
    """Labels to start with."""
    initial_kind: flags.Drawn = None
    """How the first rows are drawn; balanced looks at the true classes."""
    query_size: flags.Ints = None
    """Labels to buy in a round; several numbers are a schedule whose last one stays."""
    pool_size: flags.Int = None
    """Rows of the training set that may be bought, drawn at random; 0 means all."""
    test_size: flags.Int = None
    """Rows of the test set to measure on, the first ones; 0 means all."""
    model: flags.Name = None
    """Network: resnet18, bayesian_cnn, gal_cnn, mlp or logistic_regression."""
    width: flags.Int = None
    """Channels of resnet18's first stage, or hidden units of mlp."""
    dropout: flags.Float = None
    """Dropout of resnet18 and mlp; the CNNs have their papers' own."""
    dtype: flags.Dtype = None
    """Precision of resnet18's convolutions."""
    learner: flags.Learner = None
    """logistic_regression is solved in each round, scaling and penalty chosen by
    leave-one-out, unless an option of training is given; the others are trained."""
    epochs: flags.Int = None
    """Passes over the labelled rows in each round."""
    min_steps: flags.Int = None
    """At least so many training steps a round, however few the labels."""
    train_batch: flags.Int = None
    """Rows of a training step."""
    optimizer: flags.Optimizer = None
    """Nesterov SGD, or AdamW with gradients cut to norm 1; both with warm-up and decay
    in each round."""
    learning_rate: flags.Float = None
    """The largest learning rate of a round; by default .1 for SGD, and for AdamW .02
    over the square of the number of the network's layers, at least .001."""
    schedule: flags.Schedule = None
    """How the learning rate moves within a round: half a cosine, or one triangle."""
    weight_decay: flags.Float = None
    """Weight decay, off biases and normalisation; by default 5e-4 for SGD, and for
    AdamW 1 with hidden layers and .01 without."""
    label_smoothing: flags.Float = None
    """Share of the target spread over all classes."""
    augment: flags.Augment = None
    """Augmentation of the training images: by default crops and mirrors for images in
    colour of at least 16 x 16, shifts for other images, none for anything else."""
    averaging: flags.Averaging = None
    """Averaged weights at the end of a fit."""
    refit: flags.Refit = None
    """Where each round's training starts."""
    posterior: flags.Posterior = None
    """Where predictive samples come from; auto, if the strategy asks, is mc_dropout,
    and laplace of a model that is solved. bootstrap is an ensemble on resampled labels,
    laplace draws last layers around the trained one, laplace_full with all their
    correlations."""
    num_samples: flags.Int = None
    """Dropout masks, members of the ensemble, or last layers drawn."""
    prior_precision: flags.Float = None
    """Of laplace: the weight decay of the summed loss."""
    temperature: flags.Temperature = None
    """Divide logits by a temperature fitted on the validation split in each round."""
    measure: flags.Measure = None
    """What metrics are of: the posterior's predictive distribution, the mean over
    dropout masks for instance, or the network without dropout, which is the default
    for a model that is solved."""
    label_noise: flags.Float = None
    """Probability that the oracle names a wrong class."""
    chunk_size: flags.Int = None
    """Rows of the pool looked at together, which bounds memory."""


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    strategy: str = "badge"
    """How rows are chosen, by name; `jaxal strategies` lists them."""
    dataset: str = "auto"
    """cifar10, digits, ... , a folder of images per class or an .npz file. auto is
    CIFAR-10 where it can be had, else scikit-learn's digits."""
    seeds: tuple[int, ...] = (0,)
    """One run for each: it decides pool, initial set, weights, order and choices."""
    preset: flags.Preset = None
    """smoke is a small MLP and takes seconds; cpu is a narrow network and small
    budgets, minutes; standard is the published protocol."""
    name: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="NAME", help_behavior_hint="(default: dataset-strategy-preset)"
        ),
    ] = None
    """Results go to OUTPUT/NAME-seedK."""
    output: Path = Path("runs")
    """Folder of the runs."""
    overwrite: bool = False
    """Throw away what a run of this name has done, and start again."""
    data_dir: Annotated[
        Path | None,
        tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: TFDS's own)"),
    ] = None
    """Where data sets are prepared and read."""
    keep_ratios: tuple[float, ...] = ()
    """Share of each class kept in the pool, to make it imbalanced; one a class."""
    initial_rows: Annotated[
        Path | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: drawn)"),
    ] = None
    """Rows to start with, as ids of the data set, one a line."""
    num_validation: int = 0
    """Rows kept out of the pool and measured on, apart from the test set."""
    image_size: Annotated[
        tuple[int, int] | None,
        tyro.conf.arg(metavar="H W", help_behavior_hint="(default: as they are)"),
    ] = None
    """Height and width to resize images to, needed where sizes differ."""
    plugin: tuple[Path, ...] = ()
    """Python files that call jaxal.register, for strategies of your own."""
    strategy_options: tuple[str, ...] = ()
    """Settings of the strategy as NAME=VALUE."""
    recipe: tyro.conf.OmitArgPrefixes[Overrides] = Overrides()


def check_options(options: Options) -> None:
    """Refuses what can be known to be wrong before any data is read.

    Args:
      options: the command line.

    Raises:
      RunError: seeds that are none or repeat, or a number out of its range.
    """
    seeds = options.seeds
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if not seeds:
        raise RunError("--seeds has no numbers, expected one or more, as --seeds 0 1.")
    if repeated:
        raise RunError(f"--seeds names {repeated} twice; each seed is one run.")
    if min(seeds) < 0 or max(seeds) >= 2**32:
        raise RunError(
            f"--seeds are {list(seeds)}, expected numbers in 0 .. 2**32 - 1."
        )
    if options.initial_rows is not None and options.recipe.initial_kind is not None:
        raise RunError(
            "--initial-rows and --initial-kind both say which rows to start with. "
            "Leave one out."
        )
    resolve_recipe(options.recipe, "smoke", "table")  # any: its numbers are in range


def resolve_recipe(overrides: Overrides, preset: str, kind: str) -> Recipe:
    """Returns the preset's recipe with what was given on the command line.

    Args:
      overrides: None where the preset decides.
      preset: a key of `PRESETS`.
      kind: of the data, see `presets.kind_of`.

    Raises:
      RunError: a number is out of its range.

    Example:
      >>> from jaxal.app.config import Overrides, resolve_recipe
      >>> resolve_recipe(Overrides(width=8), "cpu", "photo").width
      8
    """
    given = {k: v for k, v in vars(overrides).items() if v is not None}
    for name in ("pool_size", "test_size"):
        if given.get(name) == 0:
            given[name] = None
    if "budget" in given and "rounds" not in given:
        given["rounds"] = 2**31  # the budget is the limit
    recipe = dataclasses.replace(presets.PRESETS[preset][kind], **given)
    _check_recipe(recipe)
    recipe = dataclasses.replace(recipe, learner=_learner(recipe, given))
    if recipe.learner == "solved" and "measure" not in given:
        # The mean of a few draws around a weak penalty is much worse than their middle.
        recipe = dataclasses.replace(recipe, measure="network")
    return recipe


def settings(
    options: Options,
    recipe: Recipe,
    seed: int,
    *,
    dataset: str,
    source: str,
    fingerprint: str,
    preset: str,
    initial_ids: Sequence[str] = (),
) -> Record:
    """Returns everything that decides the result of one run, as JSON has it.

    Args:
      options: the command line.
      recipe: resolved and fitted to the pool.
      seed: of this run.
      dataset: what the data set turned out to be called.
      source: where it came from, for people.
      fingerprint: of the pool.
      preset: the one in use.
      initial_ids: of the rows to start with, where a file names them.
    """
    named = "\n".join(sorted(initial_ids)).encode()
    return {
        "dataset": dataset,
        "source": source,
        "pool": fingerprint,
        "keep_ratios": list(options.keep_ratios),
        "num_validation": options.num_validation,
        "image_size": _as_json(options.image_size),
        "initial_rows": hashlib.sha256(named).hexdigest()[:16] if named else None,
        "preset": preset,
        "platform": jax.default_backend(),
        "strategy": options.strategy,
        "strategy_options": sorted(options.strategy_options),
        "plugins": {path.name: _checksum(path) for path in options.plugin},
        "seed": seed,
        **{key: _as_json(value) for key, value in vars(recipe).items()},
    }


def strategy_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Returns NAME=VALUE pairs as keyword arguments; values are Python literals.

    Raises:
      RunError: there is no equals sign.

    Example:
      >>> from jaxal.app.config import strategy_settings
      >>> strategy_settings(("first=largest", "num=3"))
      {'first': 'largest', 'num': 3}
    """
    import ast

    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise RunError(f"--strategy-options has {pair!r}, expected NAME=VALUE.")
        try:
            found[name.replace("-", "_")] = ast.literal_eval(text)
        except (ValueError, SyntaxError):  # a bare word is a string
            found[name.replace("-", "_")] = text
    return found


def _learner(recipe: Recipe, given: dict[str, Any]) -> str:
    """What makes the model: one that can be solved is, unless training is asked for."""
    asked = [name for name in _OF_TRAINING if name in given]
    asked += ["posterior"] if recipe.posterior in ("ensemble", "bootstrap") else []
    is_linear = recipe.model == "logistic_regression"
    if recipe.learner != "solved":
        is_trained = recipe.learner == "trained" or asked or not is_linear
        return "trained" if is_trained else "solved"
    if not is_linear:
        raise RunError(
            f"--learner solved is for --model logistic_regression, not {recipe.model}."
        )
    if asked:
        flag = "--" + asked[0].replace("_", "-")
        raise RunError(
            f"{flag} is about training, and --learner solved does not train. Leave one "
            "of them out."
        )
    return "solved"


def _check_recipe(recipe: Recipe) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(recipe, name)
        if value is not None and not low <= value < high:
            limit = "" if high == math.inf else f" and less than {high}"
            limit += ", or 0 for all" if name in ("pool_size", "test_size") else ""
            flag = "--" + name.replace("_", "-")
            raise RunError(f"{flag} is {value}, expected at least {low}{limit}.")
    if not recipe.query_size or min(recipe.query_size) < 1:
        raise RunError(
            f"--query-size is {list(recipe.query_size)}, expected positive numbers."
        )


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise RunError(
            f"--plugin {path} cannot be read: {error.strerror}. Give the path of a "
            "Python file that calls jaxal.register."
        ) from None
