"""From a settled recipe to the functions a run calls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxal import registry
from jaxal.app import choices
from jaxal.app.recipe import Recipe
from jaxal.app.settling import label_plan
from jaxal.data import Dataset, Split
from jaxal.loop import ActiveLearner, active_learner
from jaxal.pools.initial import class_balanced_rows, random_rows
from jaxal.pools.oracles import array_oracle, noisy_oracle
from jaxal.pools.pool import make_pool
from jaxal.posteriors.calibration import temperature_scaled
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import Experiment, answering, stream, validating
from jaxal.runs.store import Record
from jaxal.training import recipes
from jaxal.training.heads.logistic import logistic_head
from jaxal.training.learner import supervised
from jaxal.training.tuning import tuned
from jaxal.training.watching import Watch, watch
from jaxal.types import Learner, Model, Oracle, Pool, Posterior, Strategy, View
from jaxal.viewing import asks_posterior, reads_samples

_APART = (
    " Here that is --dropout above 0, another --model, or --posterior ensemble, "
    "bootstrap or laplace."
)


def pool_rows(
    seed: int, num_rows: int, size: int, given: np.ndarray | None = None
) -> np.ndarray:
    """Returns the rows of the training split that form the pool, in order.

    Args:
      seed: decides which ones.
      num_rows: of the training split.
      size: of the pool.
      given: rows that must be among them.

    Example:
      >>> from jaxal.app.experiment import pool_rows
      >>> pool_rows(0, 3, 3)
      array([0, 1, 2])
    """
    if size >= num_rows:
        return np.arange(num_rows)
    rows = np.asarray(jax.random.permutation(stream(seed, "pool"), num_rows))
    if given is not None:
        rows = np.concatenate([given, rows[~np.isin(rows, given)]])
    return np.sort(rows[:size])


def build_loop(recipe: Recipe, strategy: Strategy, loaded: Dataset) -> ActiveLearner:
    """Returns the loop of a recipe; runs that share it compile nothing twice.

    Args:
      recipe: settled.
      strategy: how to choose.
      loaded: the data.

    Raises:
      RunError: all posterior samples would be equal, a temperature is asked for and
        there is no validation split, or the strategy cannot choose with its settings.
    """
    network, learner = choices.network(vars(recipe), len(loaded.class_names)), None
    if recipe.learner == "solved":
        most = label_plan(recipe)[-1]
        network, learner, _ = logistic_head(len(loaded.class_names), capacity=most)
    test = [jnp.asarray(part[: recipe.test_size]) for part in loaded.test[:2]]
    posterior = _posterior(recipe, network, strategy, loaded.validation)
    learner = learner or _learner(recipe, network, posterior.members, loaded)
    try:
        loop = active_learner(
            network,
            learner,
            strategy,
            batch_size=recipe.query_size,
            posterior=posterior,
            test=(test[0], test[1]),
            measure=recipe.measure,
            chunk_size=recipe.chunk_size,
        )
        _rehearse(loop, loaded.train.inputs, recipe.pool_size)
    except (TypeError, ValueError) as error:
        is_drawn = reads_samples(strategy) or recipe.posterior == "mc_dropout"
        raise RunError(
            f"--strategy={strategy.name} cannot choose with --posterior "
            f"{recipe.posterior}: {error}{_APART if is_drawn else ''}"
        ) from error
    return loop


def _rehearse(loop: ActiveLearner, inputs: np.ndarray, size: int) -> None:
    """Lets a strategy choose from shapes alone: nothing is computed.

    A setting that a strategy looks at only when it chooses would otherwise be refused
    after the first training.
    """

    pool = make_pool(np.zeros([size, 1], bool))  # as long as the real one

    def choose(key: Array, pool: Pool) -> Any:
        state = loop.init(key, pool)
        return loop.phases.decide(key, state, loop.phases.look(key, state))

    shape = pool.labels.shape + inputs.shape[1:]
    rows = jax.ShapeDtypeStruct(shape, inputs.dtype)
    jax.eval_shape(choose, jax.random.key(0), pool._replace(inputs=rows))


def build(
    settings: Record,
    recipe: Recipe,
    loop: ActiveLearner,
    loaded: Dataset,
    rows: np.ndarray,
    given: np.ndarray | None = None,
    mesh: Mesh | None = None,
) -> Experiment:
    """Returns the experiment of one seed.

    Args:
      settings: what `config.json` holds.
      recipe: settled.
      loop: from `build_loop`.
      loaded: the data.
      rows: of the training split that form the pool.
      given: those of them to start with, by default drawn.
      mesh: over which the pool is spread, by default all devices.
    """
    seed, num_classes = settings["seed"], len(loaded.class_names)
    inputs, labels, ids = (part[rows] for part in loaded.train)
    plan, held_out = label_plan(recipe), loaded.validation
    oracle, name = _oracle(recipe, labels, num_classes)
    most = int(np.diff(plan, prepend=0).max())
    if given is None:
        start = _initial_rows(recipe, seed, inputs, labels, num_classes)
    else:
        start = np.searchsorted(rows, given)
    return Experiment(
        settings=settings,
        loop=loop,
        pool=make_pool(inputs, mesh=mesh),
        ids=ids,
        initial_rows=start,
        answer=answering(oracle, stream(seed, "oracle"), most),
        oracle=name,
        plan=plan,
        key_weights=stream(seed, "weights"),
        key_rounds=stream(seed, "rounds"),
        validate=None if held_out is None else validating(loop, held_out[:2]),
        stop=choices.rule(recipe.stop, held_out is not None),
    )


def _posterior(
    recipe: Recipe, network: Model, strategy: Strategy, held_out: Split | None
) -> Posterior:
    kind = recipe.posterior
    if kind == "auto":
        drawn = "laplace" if recipe.learner == "solved" else "mc_dropout"
        kind = drawn if asks_posterior(strategy) else "deterministic"
    make = choices.POSTERIORS[kind]
    posterior = make(network, recipe.num_samples, recipe.prior_precision)
    if recipe.temperature == "none":
        return posterior
    if held_out is None:
        raise RunError(
            "--temperature validation has no validation split. Keep rows for it with "
            "--num-validation."
        )
    rows = jnp.asarray(held_out.inputs), jnp.asarray(held_out.labels)
    return temperature_scaled(posterior, rows)


def _watch(recipe: Recipe, loaded: Dataset) -> Watch | None:
    if recipe.best_by is None and recipe.patience is not None:
        raise RunError("--patience has nothing to wait for. Give --best-by as well.")
    if recipe.best_by is None and recipe.record == "rounds":
        return None
    by, held_out = None, loaded.validation
    if recipe.best_by is not None:
        by = f"validation/{recipe.best_by}"
        if held_out is None:
            raise RunError(
                f"--best-by {recipe.best_by} has no validation split to look at. Keep "
                "rows for it with --num-validation."
            )
    sets = {} if held_out is None else {"validation": held_out[:2]}
    if recipe.record == "epochs":
        inputs, labels, _ = loaded.test
        sets["test"] = inputs[: recipe.test_size], labels[: recipe.test_size]
    rows = jax.tree.map(jnp.asarray, sets)
    return watch(rows, best_by=by, patience=recipe.patience)


def _learner(
    recipe: Recipe, network: Model, members: int | None, loaded: Dataset
) -> Learner:
    watched = _watch(recipe, loaded)

    def make(learning_rate: float, weight_decay: float) -> Learner:
        rate = choices.SCHEDULES[recipe.schedule](learning_rate)
        optimizer = recipes.OPTIMIZERS[recipe.optimizer]
        return supervised(
            network,
            optimizer(rate, weight_decay=weight_decay),
            epochs=recipe.epochs,
            batch_size=recipe.train_batch,
            min_steps=recipe.min_steps,
            capacity=label_plan(recipe)[-1],
            augment=recipe.augment,
            label_smoothing=recipe.label_smoothing,
            refit=choices.REFITS[recipe.refit],
            averaging=choices.AVERAGINGS[recipe.averaging],
            members=members,
            bootstrap=recipe.posterior == "bootstrap",
            watch=watched,
        )

    rates = {
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
    }
    if not recipe.tune:
        return make(**rates)
    held_out = loaded.validation
    if held_out is None or members is not None:
        raise RunError(
            f"--tune {recipe.tune[0]} searches settings of one network by a validation "
            "split. Keep rows for it with --num-validation, and train no ensemble."
        )
    around = {"learning_rate": (0.3, 1.0, 3.0), "weight_decay": (0.1, 1.0, 10.0)}
    grid = {name: [rates[name] * factor for factor in around[name]] for name in rates}
    rows = jax.tree.map(jnp.asarray, held_out[:2])
    return tuned(make, grid, rows, by=recipe.best_by or "nll", at=recipe.tune)


def _oracle(recipe: Recipe, labels: np.ndarray, num_classes: int) -> tuple[Oracle, str]:
    truth = array_oracle(jnp.asarray(labels))
    if recipe.label_noise == 0:
        return truth, "truth"
    noisy = noisy_oracle(truth, recipe.label_noise, num_classes)
    return noisy, f"noisy({recipe.label_noise})"


def _initial_rows(
    recipe: Recipe, seed: int, inputs: np.ndarray, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    key, is_available = stream(seed, "initial"), jnp.ones(len(labels), bool)
    numbers = {"num_rows": recipe.initial}
    if recipe.initial_kind == "random":
        return np.asarray(random_rows(key, is_available, **numbers))
    if recipe.initial_kind == "balanced":
        numbers["num_classes"] = num_classes
        truth = jnp.asarray(labels)
        return np.asarray(class_balanced_rows(key, truth, is_available, **numbers))
    features = jnp.asarray(inputs, jnp.float32).reshape(len(labels), -1)
    view = View(is_available, jnp.zeros_like(is_available), features=features)
    chosen = registry.strategy(recipe.initial_kind)
    return np.asarray(chosen.select(key, view, recipe.initial).indices)
