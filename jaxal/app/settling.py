"""What a recipe does not say, found out once: by preset, data, network and pool."""

from typing import Any

import jax
import numpy as np

from jaxal.app import choices
from jaxal.app.presets import PRESETS, default_preset
from jaxal.app.recipe import Recipe, Training
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record
from jaxal.settings import settings_of
from jaxal.training import recipes


def settle(
    recipe: Recipe,
    inputs: np.ndarray | jax.ShapeDtypeStruct,
    num_classes: int,
    num_given: int | None = None,
) -> Recipe:
    """Returns the recipe with nothing left to decide.

    Rounds that could buy nothing are cut, and no round asks for more rows than there
    will be: what the recipe promises is what happens.

    Args:
      recipe: as asked for.
      inputs: `[N, ...]` of the data set's training split, of which shapes matter.
      num_classes: C.
      num_given: rows that a file names to start with.

    Raises:
      RunError: settings that do not go together, or with the data; or more labels are
        wanted to start with than there are rows, or than may be bought.

    Example:
      >>> import jax
      >>> from jaxal.app.recipe import Recipe
      >>> from jaxal.app.settling import settle
      >>> rows = jax.ShapeDtypeStruct((60, 4), "float32")
      >>> recipe = settle(Recipe(preset="cpu", query_size=200), rows, num_classes=3)
      >>> recipe.model, recipe.initial, recipe.query_size, recipe.rounds
      ('mlp', 10, (50,), 1)
    """
    given = {name: value for name, value in vars(recipe).items() if value is not None}
    preset = recipe.preset or default_preset(jax.default_backend())
    found = {name: s.rule.usual for name, s in settings_of(Recipe).items()}
    found |= PRESETS[preset][recipes.kind_of(inputs.shape[1:])]
    found |= {"rounds": 2**31} if recipe.budget else {}  # the budget is the limit
    found |= {"preset": preset, "learner": "trained", "measure": "predictive", **given}
    found |= _given_start(recipe, num_given)
    if _is_solved(recipe, found["model"]):
        # The mean of a few draws around a weak penalty is much worse than their middle.
        found |= {"learner": "solved", "measure": recipe.measure or "network"}
    else:
        found |= _training(found, inputs, num_classes)
    return Recipe(**found | _labels(found, inputs.shape[0]))


def label_plan(recipe: Recipe) -> list[int]:
    """Returns how many labels each round trains on, as far as pool and budget go.

    Example:
      >>> from jaxal.app.recipe import Recipe
      >>> from jaxal.app.settling import label_plan
      >>> label_plan(Recipe(initial=10, query_size=5, rounds=9, pool_size=22))
      [10, 15, 20, 22]
    """
    return _plan(vars(recipe), min(recipe.pool_size, recipe.budget or 2**31))


def bent(asked: Recipe, settled: Recipe, num_test: int) -> list[str]:
    """Returns a line for each number that cannot be as it was asked for.

    Args:
      asked: what a person said.
      settled: what will happen.
      num_test: rows of the test set.

    Example:
      >>> import jax
      >>> from jaxal.app.recipe import Recipe
      >>> from jaxal.app.settling import bent, settle
      >>> asked = Recipe(preset="cpu", budget=99)
      >>> rows = jax.ShapeDtypeStruct((60, 4), "float32")
      >>> bent(asked, settle(asked, rows, num_classes=3), 30)
      ['--budget is 60, not 99: the run ends with 60 labels of 60 rows, in 6 rounds.']
    """
    plan, rows = label_plan(settled), settled.pool_size
    ends = f"the run ends with {plan[-1]} labels of {rows} rows, in {len(plan)} rounds"
    happens = {
        "pool_size": (rows, f"there are {rows} rows"),
        "test_size": (
            min(asked.test_size or 0, num_test),
            f"there are {num_test} rows",
        ),
        "query_size": (settled.query_size, ends),
        "rounds": (settled.rounds, ends),
        "budget": (plan[-1], ends),
    }
    return [
        f"--{name.replace('_', '-')} is {value}, not {given}: {why}."
        for name, (value, why) in happens.items()
        if (given := getattr(asked, name)) and given != value
    ]


def _given_start(recipe: Recipe, num_given: int | None) -> Record:
    if num_given is None:
        return {}
    if recipe.initial not in (None, num_given) or recipe.initial_kind != "random":
        raise RunError(
            f"{recipe.initial_rows} names {num_given} rows to start with. Leave "
            "--initial and --initial-kind out, or --initial-rows."
        )
    return {"initial": num_given}


def _is_solved(recipe: Recipe, model: str) -> bool:
    """Whether the model is solved: one that can be is, unless training is asked for."""
    trains = [
        s.flag
        for name, s in settings_of(Recipe).items()
        if s.group is Training and getattr(recipe, name) is not None
    ]
    trains += ["--posterior"] if recipe.posterior in choices.OF_MEMBERS else []
    is_linear = model == "logistic_regression"
    if recipe.learner != "solved":
        return is_linear and not trains and recipe.learner is None
    if not is_linear:
        raise RunError(
            f"--learner solved is for --model logistic_regression, not {model}."
        )
    if trains:
        raise RunError(
            f"{trains[0]} is about training, and --learner solved does not train. "
            "Leave one of them out."
        )
    return True


def _training(found: Record, inputs: Any, num_classes: int) -> Record:
    """What suits the network, where it first meets the data."""
    row = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    network = choices.network(found, num_classes)
    try:
        shapes = jax.eval_shape(network.init, jax.random.key(0), row)
    except ValueError as error:
        raise RunError(
            f"--dataset={found['dataset']} with --model {found['model']}: {error}"
        ) from error
    usual = recipes.usual(shapes)
    optimizer = found["optimizer"] or usual.optimizer
    batch_size = found["train_batch"] or usual.batch_size
    rate, decay = recipes.rates(optimizer, shapes["params"], batch_size)
    suited: Record = {
        "optimizer": optimizer,
        "train_batch": batch_size,
        "min_steps": usual.min_steps,
        "learning_rate": rate,
        "weight_decay": decay,
    }
    return {name: value for name, value in suited.items() if found[name] is None}


def _labels(found: Record, num_rows: int) -> Record:
    """Numbers of labels and rows as they will be."""
    size = min(found["pool_size"] or num_rows, num_rows)
    initial, budget = found["initial"], found["budget"]
    if initial > size:
        raise RunError(
            f"--initial is {initial} and the pool has {size} rows. Lower --initial, or "
            "raise --pool-size."
        )
    if budget is not None and budget < initial:
        raise RunError(
            f"--budget is {budget}, less than the {initial} labels to start with. "
            "Raise it, or lower --initial."
        )
    most = min(size, budget or size)
    room = max(most - initial, 1)
    return {
        "pool_size": size,
        "test_size": found["test_size"] or None,
        "rounds": len(_plan(found, most)) - 1,
        "query_size": tuple(min(size, room) for size in found["query_size"]),
    }


def _plan(found: Record, most: int) -> list[int]:
    plan, sizes = [found["initial"]], found["query_size"]
    while len(plan) <= found["rounds"] and plan[-1] < most:
        size = sizes[min(len(plan), len(sizes)) - 1]
        plan.append(min(plan[-1] + size, most))
    return plan
