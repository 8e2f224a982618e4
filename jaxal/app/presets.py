"""Recipes: everything about training and budget that a preset decides."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxal.runs.store import RunError
from jaxal.training import recipes


@dataclass(frozen=True)
class Recipe:
    """What to train, how, and what to spend; `Overrides` has a line on each field."""

    model: str
    width: int
    dropout: float
    dtype: str
    learner: str | None  # None until it is known what is asked of it
    epochs: int
    min_steps: int
    train_batch: int
    optimizer: str
    learning_rate: float | None  # None until the network is known
    schedule: str
    weight_decay: float | None  # likewise
    label_smoothing: float
    augment: str
    averaging: str
    refit: str
    initial: int
    initial_kind: str
    query_size: tuple[int, ...]
    rounds: int
    budget: int | None
    pool_size: int | None
    test_size: int | None
    posterior: str
    num_samples: int
    prior_precision: float
    temperature: str
    measure: Literal["predictive", "network"]
    label_noise: float
    chunk_size: int


_BASE = Recipe(
    model="resnet18",
    width=16,
    # A little dropout before the last layer, for every strategy: bald needs it, and
    # strategies are comparable only on one and the same network.
    dropout=0.2,
    dtype="float32",
    learner=None,
    # How to train is said in `recipes`, for Python and the command line alike; here
    # with half the images a step and fewer epochs, to take minutes on a CPU.
    epochs=24,
    min_steps=recipes.MIN_STEPS,
    train_batch=recipes.BATCH_SIZE // 2,
    optimizer="adamw",
    learning_rate=None,
    schedule="one_cycle",
    weight_decay=None,
    label_smoothing=0.0,
    augment=recipes.AUGMENTATION_OF["photo"],
    averaging="none",
    refit="retrain",
    initial=200,
    initial_kind="random",
    query_size=(200,),
    rounds=5,
    budget=None,
    pool_size=10_000,
    test_size=None,
    posterior="auto",
    num_samples=20,
    prior_precision=1.0,
    temperature="none",
    measure="predictive",
    label_noise=0.0,
    chunk_size=512,
)

_SMALL_IMAGES = dataclasses.replace(
    _BASE,
    model="gal_cnn",
    epochs=recipes.EPOCHS,
    train_batch=recipes.BATCH_SIZE,
    augment=recipes.AUGMENTATION_OF["small"],
    initial=20,
    query_size=(20,),
    rounds=8,
)

_TABLE = dataclasses.replace(
    _SMALL_IMAGES,
    model="mlp",
    width=128,
    augment=recipes.AUGMENTATION_OF["table"],
    initial=10,
    query_size=(10,),
    pool_size=None,
)

# The 5 % protocol of Munjal et al., "Towards Robust and Reproducible Active Learning
# Using Neural Networks", CVPR 2022: 5 % of the training set, then 5 % a round up to
# 40 %, 150 epochs from scratch each time. The network is ResNet-18, and the training
# settings are fixed instead of searched for in each round.
_STANDARD_PHOTO = dataclasses.replace(
    _BASE,
    width=64,
    dtype="bfloat16",
    epochs=150,
    min_steps=0,
    train_batch=128,
    optimizer="sgd",
    schedule="cosine",
    initial=2_500,
    query_size=(2_500,),
    rounds=7,
    pool_size=None,
)


def _smoke(recipe: Recipe) -> Recipe:
    if recipe.model != "mlp":  # a network that compiles in a moment
        recipe = dataclasses.replace(
            recipe,
            model="mlp",
            width=128,
            augment="none",
        )
    return dataclasses.replace(
        recipe,
        epochs=1,
        min_steps=300,
        initial=20,
        query_size=(20,),
        rounds=2,
        pool_size=512,
        test_size=512,
        num_samples=8,
    )


PRESETS: dict[str, dict[str, Recipe]] = {
    "smoke": {
        "photo": _smoke(_BASE),
        "small": _smoke(_SMALL_IMAGES),
        "table": _smoke(_TABLE),
    },
    "cpu": {"photo": _BASE, "small": _SMALL_IMAGES, "table": _TABLE},
    "standard": {
        "photo": _STANDARD_PHOTO,
        "small": dataclasses.replace(_SMALL_IMAGES, epochs=100, rounds=15),
        "table": dataclasses.replace(_TABLE, epochs=100, rounds=15),
    },
}
"""Recipes by preset and kind of data; a row of either is all a new one takes."""


def kind_of(inputs: np.ndarray) -> str:
    """Returns which column of `PRESETS` suits these inputs.

    Args:
      inputs: `[N, H, W, channels]` images, or `[N, ...]` anything else.

    Returns:
      "photo", "small" or "table", see `recipes.kind_of`.

    Example:
      >>> import numpy as np
      >>> from jaxal.app.presets import kind_of
      >>> kind_of(np.zeros([5, 32, 32, 3])), kind_of(np.zeros([5, 4]))
      ('photo', 'table')
    """
    return recipes.kind_of(inputs.shape[1:])


def default_preset(platform: str) -> str:
    """Returns the preset for a JAX platform: `standard` needs an accelerator."""
    return "cpu" if platform == "cpu" else "standard"


def fit_to_pool(recipe: Recipe, num_rows: int) -> Recipe:
    """Returns the recipe for a pool of so many rows, or says why it cannot be.

    Rounds that could buy nothing are cut, and no round asks for more rows than there
    will be: what the recipe promises is what happens.

    Args:
      recipe: as asked for.
      num_rows: rows of the data set's training split.

    Raises:
      RunError: more labels are wanted to start with than there are rows, or than may
        be bought.

    Example:
      >>> import dataclasses
      >>> from jaxal.app.presets import PRESETS, fit_to_pool
      >>> recipe = dataclasses.replace(PRESETS["cpu"]["table"], query_size=(200,))
      >>> recipe = fit_to_pool(recipe, 60)
      >>> recipe.initial, recipe.query_size, recipe.rounds
      (10, (50,), 1)
    """
    size = min(recipe.pool_size or num_rows, num_rows)
    if recipe.initial > size:
        raise RunError(
            f"--initial is {recipe.initial} and the pool has {size} rows. "
            "Lower --initial, or raise --pool-size."
        )
    if recipe.budget is not None and recipe.budget < recipe.initial:
        raise RunError(
            f"--budget is {recipe.budget}, less than the {recipe.initial} labels to "
            "start with. Raise it, or lower --initial."
        )
    recipe = dataclasses.replace(recipe, pool_size=size)
    plan = label_plan(recipe)
    room = max(most_labels(recipe) - recipe.initial, 1)
    sizes = tuple(min(size, room) for size in recipe.query_size)
    return dataclasses.replace(recipe, rounds=len(plan) - 1, query_size=sizes)


def label_plan(recipe: Recipe) -> list[int]:
    """Returns how many labels each round trains on, as far as pool and budget go.

    Example:
      >>> from jaxal.app.presets import PRESETS, fit_to_pool, label_plan
      >>> label_plan(fit_to_pool(PRESETS["smoke"]["small"], 1000))
      [20, 40, 60]
    """
    plan, limit = [recipe.initial], most_labels(recipe)
    while len(plan) <= recipe.rounds and plan[-1] < limit:
        size = recipe.query_size[min(len(plan), len(recipe.query_size)) - 1]
        plan.append(min(plan[-1] + size, limit))
    return plan


def most_labels(recipe: Recipe) -> int:
    """Returns the labels at which pool or budget is used up."""
    return min(recipe.pool_size or 2**31, recipe.budget or 2**31)
