"""All that a run can be told. Each setting is written here, and nowhere else.

Its flag, its line of `--help`, its range, its key in a TOML file and in `config.json`
follow (see `jaxal.settings`); what a setting is where nobody gave it stands here, or in
`settling` where that follows from preset, data and network.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from jaxal.app import choices
from jaxal.models import MODELS
from jaxal.runs.store import Record
from jaxal.settings import Settings, setting, settings_of
from jaxal.training.recipes import AUGMENTATIONS, OPTIMIZERS

_by_preset = partial(setting, follows="the preset's")


@dataclass(frozen=True, kw_only=True)
class Task(Settings):
    """What to run."""

    strategy: str = setting("badge")
    """How rows are chosen: a name that `jaxal strategies` lists, with settings as in
    'badge(first=drawn)'."""
    seeds: tuple[int, ...] = setting(
        (0,), low=0, below=2**32, is_set=True, decides=False
    )
    """One run for each: it decides pool, initial set, weights, order and choices. 0..9
    has ten."""
    preset: Literal["smoke", "cpu", "standard"] = setting(
        follows="standard on an accelerator, else cpu"
    )
    """smoke is a small MLP and takes seconds; cpu is a narrow network and small
    budgets, minutes; standard is the published protocol."""
    plugin: tuple[Path, ...] = setting((), decides=False)
    """Python files that call jaxal.register, for strategies of your own."""


@dataclass(frozen=True, kw_only=True)
class Data(Settings):
    """Data."""

    dataset: str = setting("auto")
    """cifar10, digits, ... , a folder of images per class or an .npz file. auto is
    CIFAR-10 where it can be had, else scikit-learn's digits."""
    data_dir: Path | None = setting(follows="TFDS's own", decides=False)
    """Where data sets are prepared and read."""
    keep_ratios: tuple[float, ...] = setting(())
    """Share of each class kept in the pool, to make it imbalanced; one a class."""
    image_size: tuple[int, int] | None = setting(low=1, follows="as they are")
    """Height and width to resize images to, needed where sizes differ."""
    num_validation: int = setting(0, low=0)
    """Rows kept out of the pool and measured on, apart from the test set."""
    pool_size: int = _by_preset(low=0)
    """Rows of the training set that may be bought, drawn at random; 0 means all."""
    test_size: int | None = _by_preset(low=0)
    """Rows of the test set to measure on, the first ones; 0 means all."""


@dataclass(frozen=True, kw_only=True)
class Labels(Settings):
    """Labels to buy."""

    initial: int = _by_preset(low=1)
    """Labels to start with."""
    initial_kind: Literal["random", "balanced", "typiclust", "k_means"] = setting(
        "random"
    )
    """How the first rows are drawn; balanced looks at the true classes, typiclust and
    k_means at the inputs as they are."""
    initial_rows: Path | None = setting(follows="drawn")
    """Rows to start with: a file of ids of the data set, one a line."""
    query_size: tuple[int, ...] = _by_preset(low=1)
    """Labels to buy in a round; several are a schedule whose last one stays."""
    rounds: int = _by_preset(low=0)
    """How often labels are bought after the initial set."""
    budget: int | None = setting(low=1, follows="as many as --rounds buy")
    """Labels to end with, the initial ones included; as many rounds as that takes."""
    stop: str | None = setting(follows="after the last round")
    """A rule that may end it earlier, by validation accuracy, labels or seconds:
    plateau(patience=2), 'any_of(target_accuracy(target=.9), max_seconds(limit=60))'."""
    label_noise: float = setting(0.0, low=0, below=1)
    """Probability that the oracle names a wrong class."""


@dataclass(frozen=True, kw_only=True)
class Network(Settings):
    """Network."""

    model: str = _by_preset(choices=tuple(MODELS))
    """The network, by name."""
    width: int = _by_preset(low=1)
    """Channels of resnet18's first stage, or hidden units of mlp."""
    # A little dropout before the last layer, for every strategy: bald needs it, and
    # strategies are comparable only on one and the same network.
    dropout: float = setting(0.2, low=0, below=1)
    """Dropout of resnet18 and mlp; the CNNs have their papers' own."""
    dtype: Literal["float32", "bfloat16"] = _by_preset(usual="float32")
    """Precision of resnet18's convolutions."""
    learner: Literal["solved", "trained"] = setting(follows="solved if it can be")
    """logistic_regression is solved in each round, scaling and penalty chosen by leave-
    one-out, unless an option of training is given; the others are trained."""


@dataclass(frozen=True, kw_only=True)
class Training(Settings):
    """Training."""

    epochs: int = _by_preset(low=1, high=1_000_000)
    """Passes over the labelled rows in each round."""
    min_steps: int = setting(low=0, high=10**9, follows="the network's")
    """At least so many training steps a round, however few the labels."""
    train_batch: int = setting(low=1, follows="the network's")
    """Rows of a training step."""
    optimizer: str = setting(choices=tuple(OPTIMIZERS), follows="the network's")
    """Nesterov SGD, by default for resnet18, or AdamW with gradients cut to norm 1;
    both with warm-up and decay in each round."""
    learning_rate: float = setting(low=1e-9, follows="the network's")
    """The largest learning rate of a round; by default .1 for SGD (.05 with 16 rows
    a step), and for AdamW .02 over the square of the number of the network's layers, at
    least .001."""
    schedule: str = _by_preset(choices=tuple(choices.SCHEDULES), usual="one_cycle")
    """How the learning rate moves within a round: half a cosine, or one triangle."""
    weight_decay: float = setting(low=0, follows="the network's")
    """Weight decay, off biases and normalisation; by default 5e-4 for SGD, and for
    AdamW 1 with hidden layers and .01 without."""
    tune: tuple[int, ...] = setting(low=1, follows="never")
    """Label counts at which learning rate and weight decay are searched, three values
    of each about those given, by --best-by or the nll of the validation split; the
    first round always does."""
    label_smoothing: float = setting(low=0, below=1, usual=0.0)
    """Share of the target spread over all classes."""
    augment: str = setting(choices=AUGMENTATIONS, follows="what suits the data")
    """Augmentation of the training images: by default crops and mirrors for images in
    colour of at least 16 x 16, shifts for other images, none for anything else."""
    averaging: str = setting(choices=tuple(choices.AVERAGINGS), usual="none")
    """Averaged weights at the end of a fit."""
    refit: str = setting(choices=tuple(choices.REFITS), usual="retrain")
    """Where each round's training starts."""
    best_by: Literal["accuracy", "nll", "macro_f1", "ece", "brier"] = setting(
        follows="the last weights"
    )
    """A metric of the validation split: a fit ends with the weights that were best at
    one of thirty looks along it."""
    patience: int | None = setting(low=1, follows="to the end")
    """Looks in a row that may be no better before a fit ends."""
    record: Literal["rounds", "epochs"] = setting(usual="rounds")
    """epochs: metrics of the test and the validation split thirty times along each fit
    too, which are the ends of its epochs unless labels are few."""


@dataclass(frozen=True, kw_only=True)
class Predictions(Settings):
    """Predictions."""

    posterior: str = setting("auto", choices=("auto", *choices.POSTERIORS))
    """Where predictive samples come from; auto, if the strategy asks, is mc_dropout,
    and laplace of a model that is solved. bootstrap is an ensemble on resampled labels,
    laplace draws last layers around the trained one, laplace_full with all their
    correlations."""
    num_samples: int = _by_preset(low=1, usual=20)
    """Dropout masks, members of the ensemble, or last layers drawn."""
    prior_precision: float = setting(1.0, low=1e-9)
    """Of laplace: the weight decay of the summed loss."""
    temperature: Literal["none", "validation"] = setting("none")
    """Divide logits by a temperature fitted on the validation split in each round."""
    measure: Literal["predictive", "network"] = setting(follows="predictive")
    """What metrics are of: the posterior's predictive distribution, the mean over
    dropout masks for instance, or the network without dropout, which is the default
    for a model that is solved."""
    chunk_size: int = setting(512, low=1)
    """Rows of the pool looked at together, which bounds memory."""


@dataclass(frozen=True, kw_only=True)
class Place(Settings):
    """Where results go."""

    name: str | None = setting(follows="dataset-strategy-preset", decides=False)
    """Results go to OUTPUT/NAME-seedK."""
    output: Path = setting(Path("runs"), decides=False)
    """Folder of the runs."""
    overwrite: bool = setting(False, decides=False)
    """Throw away what a run of this name has done, and start again."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Place, Predictions, Training, Network, Labels, Data, Task):
    """What a run is told; None where it follows, until `settling.settle` fills it in.

    Example:
      >>> from jaxal.app.recipe import Recipe
      >>> Recipe(strategy="margin", query_size=5).query_size
      (5,)
      >>> Recipe(dropout=1)
      Traceback (most recent call last):
        ...
      ValueError: --dropout is 1.0, expected at least 0 and below 1.
    """


def as_record(recipe: Recipe) -> Record:
    """Returns what decides the result of a run, as `config.json` has it.

    Example:
      >>> from jaxal.app.recipe import Recipe, as_record
      >>> as_record(Recipe(query_size=(5, 10)))["query_size"]
      [5, 10]
    """
    decisive = (s.name for s in settings_of(Recipe).values() if s.rule.decides)
    values = {name: getattr(recipe, name) for name in decisive}
    return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}
