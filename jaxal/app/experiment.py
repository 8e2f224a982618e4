"""From resolved settings to the functions a run calls."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxal.app.presets import Recipe, label_plan
from jaxal.loop import ActiveLearner, active_learner
from jaxal.pools.initial import class_balanced_rows, random_rows
from jaxal.pools.oracles import array_oracle, noisy_oracle
from jaxal.pools.pool import UNLABELLED, make_pool
from jaxal.posteriors.calibration import temperature_scaled
from jaxal.posteriors.last_layer import laplace
from jaxal.posteriors.networks import deep_ensemble, deterministic, mc_dropout
from jaxal.runs.experiment import Experiment, Validate, answering, stream
from jaxal.runs.store import Record, RunError
from jaxal.training import recipes, weights
from jaxal.training.learner import supervised
from jaxal.training.optimizers import Optimizer, adamw, cosine, one_cycle, sgd
from jaxal.types import (
    Learner,
    Model,
    Oracle,
    Output,
    Pool,
    Posterior,
    Selection,
    Strategy,
    View,
)
from jaxal.viewing import asks_posterior, check_samples, reads_samples


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


def fingerprint(dataset_fingerprint: str, rows: np.ndarray) -> str:
    """Returns what changes whenever the pool does."""
    digest = hashlib.sha256(dataset_fingerprint.encode())
    digest.update(np.ascontiguousarray(rows, dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


def build_loop(
    recipe: Recipe,
    strategy: Strategy,
    network: Model,
    row_shape: tuple[int, ...],
    test: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    learner: Learner | None = None,
) -> ActiveLearner:
    """Returns the loop of a recipe; runs that share it compile nothing twice.

    Args:
      recipe: resolved and fitted to the pool.
      strategy: how to choose.
      network: takes the inputs as they are.
      row_shape: of one input.
      test: inputs and labels to measure on.
      validation: inputs and labels that a temperature is fitted on.
      learner: of the network, by default one that trains it as the recipe says.

    Raises:
      RunError: all posterior samples would be equal, a temperature is asked for and
        there is no validation split, or the strategy cannot choose with its settings.
    """
    posterior = _posterior(recipe, network, strategy, validation)
    learner = learner or _learner(recipe, network, posterior.members)
    rows = jax.ShapeDtypeStruct((recipe.pool_size or 1, *row_shape), test[0].dtype)
    rehearse(strategy, learner, posterior, rows, max(recipe.query_size))
    return active_learner(
        network,
        learner,
        strategy,
        batch_size=recipe.query_size,
        posterior=posterior,
        test=(jnp.asarray(test[0]), jnp.asarray(test[1])),
        measure=recipe.measure,
        chunk_size=recipe.chunk_size,
    )


def rehearse(
    strategy: Strategy,
    learner: Learner,
    posterior: Posterior,
    inputs: jax.ShapeDtypeStruct,
    batch_size: int,
) -> None:
    """Lets a strategy choose from shapes alone: nothing is computed or compiled.

    A setting that a strategy looks at only when it chooses would otherwise be refused
    after the first training.

    Args:
      strategy: to try.
      learner: what it trains is asked.
      posterior: whose outputs the strategy will see.
      inputs: shape and type of the pool, `[N, ...]`.
      batch_size: rows to choose.

    Raises:
      RunError: it cannot, or would choose by samples that are all equal; says why.
    """

    def ask(key: Array, inputs: Array) -> tuple[Output, Array | None]:
        nobody = jnp.zeros(inputs.shape[0], bool)
        pool = Pool(inputs, jnp.full(inputs.shape[0], UNLABELLED), nobody, ~nobody)
        state = posterior.fit(key, learner.init(key, inputs[:1]), pool)
        output = posterior.network(state, inputs)
        if not reads_samples(strategy):
            return output, None
        return output, posterior.sample(key, state, inputs).logits

    def choose(key: Array, inputs: Array, output: Output, samples: Any) -> Selection:
        nobody = jnp.zeros(inputs.shape[0], bool)
        labels = jnp.full(inputs.shape[0], UNLABELLED)
        fields = {**output._asdict(), "samples": samples, "inputs": inputs}
        fields |= {"labels": labels, "predictive": output.logits}
        wanted = strategy.needs | strategy.streams
        seen = {name: value for name, value in fields.items() if name in wanted}
        return strategy.select(key, View(~nobody, nobody, **seen), batch_size)

    key = jax.random.key(0)
    try:
        check_samples(posterior, strategy)
        found = jax.eval_shape(ask, key, inputs)
    except ValueError as error:
        raise RunError(
            f"--strategy={strategy.name} cannot choose: {error} Here that is --dropout "
            "above 0, another --model, or --posterior ensemble, bootstrap or laplace."
        ) from error
    try:
        jax.eval_shape(choose, key, inputs, *found)
    except (TypeError, ValueError) as error:
        raise RunError(f"--strategy={strategy.name} cannot choose: {error}") from error


def build(
    settings: Record,
    recipe: Recipe,
    loop: ActiveLearner,
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    num_classes: int,
    *,
    given: np.ndarray | None = None,
    validate: Validate | None = None,
    mesh: Mesh | None = None,
) -> Experiment:
    """Returns the experiment of one seed.

    Args:
      settings: see `config.settings`.
      recipe: resolved and fitted to the pool.
      loop: from `build_loop`.
      train: inputs `[N, ...]`, true labels `[N]` and ids `[N]` of the pool's rows.
      num_classes: C.
      given: rows of the pool to start with, by default drawn.
      validate: see `jaxal.runs.experiment.validating`.
      mesh: over which the pool is spread, by default all devices.
    """
    seed = settings["seed"]
    inputs, labels, ids = train
    plan = label_plan(recipe)
    most = int(np.diff(plan, prepend=0).max())
    oracle, oracle_name = _oracle(recipe, labels, num_classes)
    if given is None:
        given = _initial_rows(recipe, seed, labels, num_classes)
    return Experiment(
        settings=settings,
        loop=loop,
        pool=make_pool(inputs, mesh=mesh),
        ids=ids,
        initial_rows=given,
        answer=answering(oracle, stream(seed, "oracle"), most),
        oracle=oracle_name,
        plan=plan,
        key_weights=stream(seed, "weights"),
        key_rounds=stream(seed, "rounds"),
        validate=validate,
    )


def _posterior(
    recipe: Recipe,
    network: Model,
    strategy: Strategy,
    validation: tuple[np.ndarray, np.ndarray] | None,
) -> Posterior:
    kind, num_samples = recipe.posterior, recipe.num_samples
    if kind == "auto":
        drawn = "laplace" if recipe.learner == "solved" else "mc_dropout"
        kind = drawn if asks_posterior(strategy) else "deterministic"
    make = {
        "deterministic": lambda: deterministic(network),
        "mc_dropout": lambda: mc_dropout(network, num_samples),
        "ensemble": lambda: deep_ensemble(network, num_samples),
        "bootstrap": lambda: deep_ensemble(network, num_samples),
        "laplace": lambda: _laplace(recipe, network, "kronecker"),
        "laplace_full": lambda: _laplace(recipe, network, "full"),
    }
    posterior = make[kind]()
    if recipe.temperature == "none":
        return posterior
    if validation is None:
        raise RunError(
            "--temperature validation has no validation split. Keep rows for it with "
            "--num-validation."
        )
    inputs, labels = validation
    return temperature_scaled(posterior, (jnp.asarray(inputs), jnp.asarray(labels)))


def _laplace(recipe: Recipe, network: Model, structure: Any) -> Posterior:
    prior, num_samples = recipe.prior_precision, recipe.num_samples
    return laplace(network, structure, num_samples=num_samples, prior_precision=prior)


def _learner(recipe: Recipe, network: Model, members: int | None) -> Learner:
    refit = {
        "retrain": weights.retrain,
        "warm_start": weights.warm_start,
        "shrink_and_perturb": weights.shrink_and_perturb(),
    }
    averaging = {"none": None, "ema": weights.ema(), "swa": weights.swa()}
    return supervised(
        network,
        _optimizer(recipe),
        epochs=recipe.epochs,
        batch_size=recipe.train_batch,
        min_steps=recipe.min_steps,
        capacity=label_plan(recipe)[-1],
        augment=recipe.augment,
        label_smoothing=recipe.label_smoothing,
        refit=refit[recipe.refit],
        averaging=averaging[recipe.averaging],
        members=members,
        bootstrap=recipe.posterior == "bootstrap",
    )


def _optimizer(recipe: Recipe) -> Optimizer | None:
    peak, decay = recipe.learning_rate, recipe.weight_decay
    if peak is None and decay is None:
        return None
    if peak is None or decay is None:
        raise ValueError(
            f"learning_rate is {peak} and weight_decay {decay}: pass both, or neither."
        )
    rate = {"cosine": cosine, "one_cycle": one_cycle}[recipe.schedule](peak)
    if recipe.optimizer == "sgd":
        return sgd(rate, weight_decay=decay)
    return adamw(rate, weight_decay=decay, clip=recipes.CLIP)


def _oracle(recipe: Recipe, labels: np.ndarray, num_classes: int) -> tuple[Oracle, str]:
    truth = array_oracle(jnp.asarray(labels))
    if recipe.label_noise == 0:
        return truth, "truth"
    noisy = noisy_oracle(truth, recipe.label_noise, num_classes)
    return noisy, f"noisy({recipe.label_noise})"


def _initial_rows(
    recipe: Recipe, seed: int, labels: np.ndarray, num_classes: int
) -> np.ndarray:
    key, is_available = stream(seed, "initial"), jnp.ones(len(labels), bool)
    if recipe.initial_kind == "random":
        return np.asarray(random_rows(key, is_available, num_rows=recipe.initial))
    return np.asarray(
        class_balanced_rows(
            key,
            jnp.asarray(labels),
            is_available,
            num_rows=recipe.initial,
            num_classes=num_classes,
        )
    )
