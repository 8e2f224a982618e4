"""A study of features: every round of every seed in one program."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxal
from accelerator.measuring import compiled, timed_calls
from accelerator.plan import Context, Row
from accelerator.scales import Study
from jaxal.models import logistic_regression

NUM_CLASSES = 10
_TEST_ROWS = 1000


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every strategy, one program each."""
    size = context.scale.study
    for name in size.strategies:
        program, args = _program(name, size)
        row = timed_calls(program.call, [args], repeats=min(2, context.scale.repeats))
        accuracy = np.asarray(program.call(*args))[-1]
        yield {
            "name": name,
            "size": _size(size),
            **row,
            **program.facts(),
            "rounds_per_s": size.seeds * (size.rounds + 1) / row["seconds"],
            "accuracy": float(accuracy.mean()),
            "data": "synthetic clusters",
        }


def _size(size: Study) -> str:
    shape = f"{size.seeds} seeds x {size.rounds + 1} rounds"
    return f"{shape}, {size.batch_size} of {size.rows:,} x {size.features}"


def _program(name: str, size: Study) -> tuple[Any, tuple]:
    """Returns the compiled study, from keys and a pool to accuracies `[R, seeds]`."""
    features, labels = _clusters(size)
    loop = _loop(name, size, features, labels)
    pool = jaxal.make_pool(features[: size.rows])
    keys = jax.random.split(jax.random.key(0), size.seeds)

    def start(key: Any, pool: jaxal.Pool) -> jaxal.LoopState:
        return loop.init(key, pool, initial=size.initial)

    axes = jaxal.seed_axes(jax.eval_shape(start, keys[0], pool))

    def study(keys: Any, pool: jaxal.Pool) -> Any:
        states = jax.vmap(start, (0, None), axes)(keys, pool)
        step = jax.vmap(loop.step, (0, axes), (axes, 0))

        def one(states: jaxal.LoopState, index: Any) -> tuple[jaxal.LoopState, Any]:
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            states, info = step(now, states)
            return states, info.metrics.accuracy

        return jax.lax.scan(one, states, jnp.arange(size.rounds + 1))[1]

    return compiled(study, keys, pool), (keys, pool)


def _loop(
    name: str, size: Study, features: np.ndarray, labels: np.ndarray
) -> jaxal.ActiveLearner:
    model = logistic_regression(NUM_CLASSES)
    capacity = size.initial + (size.rounds + 1) * size.batch_size
    return jaxal.active_learner(
        model,
        jaxal.supervised(model, epochs=size.epochs, capacity=capacity),
        jaxal.strategy(name),
        jaxal.array_oracle(labels[: size.rows]),
        batch_size=size.batch_size,
        test=(features[size.rows :], labels[size.rows :]),
    )


def _clusters(size: Study) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N + T, D]` around five centres a class, which overlap."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5 * NUM_CLASSES, size.features))
    member = rng.integers(len(centres), size=size.rows + _TEST_ROWS)
    noise = rng.standard_normal((len(member), size.features))
    features = (centres[member] + noise).astype(np.float32)
    return features, (member % NUM_CLASSES).astype(np.int32)
