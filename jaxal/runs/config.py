"""What a run is asked to do, resolved until nothing is left to decide."""

import dataclasses
import hashlib
import importlib.metadata
import math
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from jaxal.runs import presets
from jaxal.runs.presets import Recipe
from jaxal.runs.store import Record, RunError

FORMAT = 1
_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint")

_RANGES = {
    "rounds": (0, math.inf),
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
    "label_noise": (0.0, 1.0),
    "chunk_size": (1, math.inf),
}

_Preset = tyro.conf.arg(help_behavior_hint="(preset's)")
_Int = Annotated[int | None, _Preset, tyro.conf.arg(metavar="INT")]
_Float = Annotated[float | None, _Preset, tyro.conf.arg(metavar="FLOAT")]
_Ints = Annotated[
    tuple[int, ...] | None, _Preset, tyro.conf.arg(metavar="INT [INT ...]")
]
_Str = Annotated[str | None, _Preset, tyro.conf.arg(metavar="NAME")]


_Drawn = Annotated[
    Literal["random", "balanced"] | None,
    _Preset,
    tyro.conf.arg(metavar="{random,balanced}"),
]
_Dtype = Annotated[
    Literal["float32", "bfloat16"] | None,
    _Preset,
    tyro.conf.arg(metavar="{float32,bfloat16}"),
]
_Optimizer = Annotated[
    Literal["sgd", "adamw"] | None, _Preset, tyro.conf.arg(metavar="{sgd,adamw}")
]
_Augment = Annotated[
    Literal["none", "crop", "crop_flip", "crop_flip_cutout"] | None,
    _Preset,
    tyro.conf.arg(metavar="{none,crop,crop_flip,crop_flip_cutout}"),
]
_Averaging = Annotated[
    Literal["none", "ema", "swa"] | None,
    _Preset,
    tyro.conf.arg(metavar="{none,ema,swa}"),
]
_Refit = Annotated[
    Literal["retrain", "warm_start", "shrink_and_perturb"] | None,
    _Preset,
    tyro.conf.arg(metavar="{retrain,warm_start,shrink_and_perturb}"),
]
_Posterior = Annotated[
    Literal["auto", "deterministic", "mc_dropout", "ensemble"] | None,
    _Preset,
    tyro.conf.arg(metavar="{auto,deterministic,mc_dropout,ensemble}"),
]


@dataclass(frozen=True)
class Overrides:
    """Settings of the preset, each of which can be changed."""

    rounds: _Int = None
    """How often labels are bought after the initial set."""
    initial: _Int = None
    """Labels to start with."""
    initial_kind: _Drawn = None
    """How the first rows are drawn; balanced looks at the true classes."""
    query_size: _Ints = None
    """Labels to buy in a round; several numbers are a schedule whose last one stays."""
    pool_size: _Int = None
    """Rows of the training set that may be bought, drawn at random; 0 means all."""
    test_size: _Int = None
    """Rows of the test set to measure on, the first ones; 0 means all."""
    model: _Str = None
    """Network: resnet18, bayesian_cnn, gal_cnn, mlp or logistic_regression."""
    width: _Int = None
    """Channels of resnet18's first stage, or hidden units of mlp."""
    dropout: _Float = None
    """Dropout of resnet18 and mlp; the CNNs have their papers' own."""
    dtype: _Dtype = None
    """Precision of resnet18's convolutions."""
    epochs: _Int = None
    """Passes over the labelled rows in each round."""
    min_steps: _Int = None
    """At least so many training steps a round, however few the labels."""
    train_batch: _Int = None
    """Rows of a training step."""
    optimizer: _Optimizer = None
    """Nesterov SGD or AdamW, both with warm-up and cosine decay in each round."""
    learning_rate: _Float = None
    """The largest learning rate of a round."""
    weight_decay: _Float = None
    """Weight decay, off biases and normalisation."""
    label_smoothing: _Float = None
    """Share of the target spread over all classes."""
    augment: _Augment = None
    """Augmentation of the training images."""
    averaging: _Averaging = None
    """Averaged weights at the end of a fit."""
    refit: _Refit = None
    """Where each round's training starts."""
    posterior: _Posterior = None
    """Where predictive samples come from; auto is mc_dropout if the strategy asks."""
    num_samples: _Int = None
    """Dropout masks, or members of the ensemble."""
    label_noise: _Float = None
    """Probability that the oracle names a wrong class."""
    chunk_size: _Int = None
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
    preset: Annotated[
        Literal["smoke", "cpu", "standard"] | None,
        tyro.conf.arg(
            metavar="{smoke,cpu,standard}",
            help_behavior_hint="(default: standard on an accelerator, else cpu)",
        ),
    ] = None
    """smoke takes seconds; cpu is a narrow network and small budgets, minutes;
    standard is the published protocol."""
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
    plugin: tuple[Path, ...] = ()
    """Python files that call jaxal.register, for strategies of your own."""
    strategy_options: tuple[str, ...] = ()
    """Settings of the strategy as NAME=VALUE."""
    recipe: tyro.conf.OmitArgPrefixes[Overrides] = Overrides()


def resolve_recipe(overrides: Overrides, preset: str, kind: str) -> Recipe:
    """Returns the preset's recipe with what was given on the command line.

    Args:
      overrides: None where the preset decides.
      preset: a key of `PRESETS`.
      kind: of the data, see `presets.kind_of`.

    Raises:
      RunError: a number is out of its range.

    Example:
      >>> from jaxal.runs.config import Overrides, resolve_recipe
      >>> resolve_recipe(Overrides(width=8), "cpu", "photo").width
      8
    """
    given = {k: v for k, v in vars(overrides).items() if v is not None}
    for name in ("pool_size", "test_size"):
        if given.get(name) == 0:
            given[name] = None
    recipe = dataclasses.replace(presets.PRESETS[preset][kind], **given)
    _check_recipe(recipe)
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
    """
    return {
        "dataset": dataset,
        "source": source,
        "pool": fingerprint,
        "keep_ratios": list(options.keep_ratios),
        "preset": preset,
        "platform": jax.default_backend(),
        "strategy": options.strategy,
        "strategy_options": sorted(options.strategy_options),
        "plugins": {path.name: _checksum(path) for path in options.plugin},
        "seed": seed,
        **{key: _as_json(value) for key, value in vars(recipe).items()},
    }


def environment() -> Record:
    """Returns versions, commit and devices: what results are traced back to."""
    import jaxal

    versions = {name: _version(name) for name in _PACKAGES}
    devices = jax.devices()
    return {
        "jaxal": jaxal.__version__,
        "commit": _commit(Path(jaxal.__file__).parent),
        "python": platform.python_version(),
        **versions,
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "machine": platform.platform(),
    }


def differences(old: Record, new: Record) -> list[str]:
    """Returns a line for each field that is not the same in two records.

    Example:
      >>> from jaxal.runs.config import differences
      >>> differences({"width": 16, "seed": 0}, {"width": 64, "seed": 0})
      ['width: 16, now 64']
    """
    fields = [*old, *(field for field in new if field not in old)]
    return [
        f"{field}: {old.get(field)!r}, now {new.get(field)!r}"
        for field in fields
        if old.get(field) != new.get(field)
    ]


def strategy_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Returns NAME=VALUE pairs as keyword arguments; values are Python literals.

    Raises:
      RunError: there is no equals sign.

    Example:
      >>> from jaxal.runs.config import strategy_settings
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


def _check_recipe(recipe: Recipe) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(recipe, name)
        if not low <= value < high:
            limit = "" if high == math.inf else f" and less than {high}"
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


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The commit of the checkout, with "+changes" when files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", "--", "types.py"):  # installed inside another project
            return None
        is_changed = bool(
            git("status", "--porcelain", "--untracked-files=no", "--", ".")
        )
        return git("rev-parse", "HEAD") + ("+changes" if is_changed else "")
    except (OSError, subprocess.TimeoutExpired):
        return None
