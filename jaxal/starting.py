"""How a loop begins: with nothing, with some labels, or where it was left."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from jaxal import checks
from jaxal.pools.answers import is_regression
from jaxal.pools.initial import initial_rows
from jaxal.pools.inputs import (
    as_inputs,
    check_like,
    is_traced,
    num_rows,
    take_rows,
)
from jaxal.pools.mesh import pool_mesh, replicate, spread_over
from jaxal.rounds import LoopState
from jaxal.types import Inputs, Learner, Oracle, Pool, Strategy

Test = tuple[Inputs, Array]  # inputs and labels to measure on
Classes = Callable[[LoopState], int | None]  # C, where labels are classes


def first_state(
    key: Array, pool: Pool, learner: Learner, strategy: Strategy, trained: Any
) -> LoopState:
    """Returns a state in which nothing has been asked.

    Args:
      key: of the weights.
      pool: to choose from.
      learner: whose weights are drawn, unless they are given.
      strategy: whose memory begins.
      trained: what the learner has trained elsewhere, or None.

    Raises:
      ValueError: it was trained by a learner of another model.
    """
    row = take_rows(pool.inputs, slice(1))
    if trained is None:
        trained = learner.init(key, row)
    else:
        _check_trained(trained, jax.eval_shape(learner.init, key, row))
    trained = jax.tree.map(jnp.asarray, trained)
    rest = trained, jnp.zeros([], jnp.int32), strategy.init(pool.labels.shape[0])
    return LoopState(pool, *replicate(rest, pool))


def _check_trained(trained: Any, expected: Any) -> None:
    found, known = (
        {jax.tree_util.keystr(path): list(jnp.shape(leaf)) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (trained, expected))
    )
    for name in {**known, **found}:
        if found.get(name) != known.get(name):
            raise ValueError(
                f"trained{name} has shape {found.get(name)}, the learner's "
                f"{known.get(name)}. Pass all that a learner of this model trained, "
                "such as model.init makes."
            )


def say_what_is_lost(pool: Pool, learner: Learner) -> None:
    """Warns where a trained model is not asked before it is trained anew."""
    if learner.keeps or is_traced(pool.is_labelled) or not pool.is_labelled.any():
        return
    warnings.warn(
        "The model that was passed as trained= will not be asked: rows are labelled "
        "already, and the learner begins each fit with new weights. To go on from it "
        "pass supervised(..., refit=warm_start).",
        stacklevel=3,
    )


def first_answers(
    keys: tuple[Array, Array], pool: Pool, oracle: Oracle | None, initial: Any
) -> tuple[Array, Array] | None:
    """Returns the rows of the initial set and their answers, see `initial_rows`.

    Args:
      keys: of the rows and of the oracle.
      pool: to choose from.
      oracle: who labels them.
      initial: how many rows, which ones, or None.

    Raises:
      ValueError: the rows are none, or there is no oracle.
    """
    rows = initial_rows(keys[0], pool, initial)
    if rows is None:
        return None
    if oracle is None:
        raise ValueError(
            "initial rows need an oracle to label them. Pass oracle= to "
            "active_learner, or give make_pool the labels you have."
        )
    return rows, oracle(keys[1], rows)


def check_known(
    pool: Pool, test: Test | None, num_classes: int | None, strategy: Strategy
) -> None:
    """Raises where labels are outside `0 .. C - 1`, or none that the strategy reads.

    Args:
      pool: with the labels it came with.
      test: to measure on.
      num_classes: `C`, None where labels are no classes.
      strategy: who may read outputs as logits of classes.

    Raises:
      ValueError: a label is no class; or the strategy reads classes of a regression.
    """
    check_labelled(pool, num_classes)
    if test is not None and not is_traced(pool.inputs, test):
        check_like(test[0], pool.inputs, "test rows", "test[0]", any_dtype=True)
    if strategy.reads_classes and is_regression(pool):
        raise ValueError(
            f"Strategy {strategy.name!r} reads outputs as logits of classes, and the "
            f"pool's labels are real numbers. {checks.FOR_REGRESSION}"
        )
    if num_classes is None or is_regression(pool):
        return
    few = min(num_classes, 2)  # classes there are to doubt
    checks.check_has_classes("logits", jnp.zeros((1, few)))
    if test is not None:
        check_truth(pool, test[1], num_classes)


def check_labelled(pool: Pool, num_classes: int | None) -> None:
    """Raises ValueError where a label of the pool is no class.

    Args:
      pool: as it came, or as the user has changed it.
      num_classes: `C`, None where labels are no classes.
    """
    if num_classes is None or is_regression(pool) or is_traced(pool.labels):
        return
    # The key may be traced where the pool is known.
    with jax.ensure_compile_time_eval():
        highest = int(pool.labels.max())
    if highest >= num_classes:
        checks.check_classes(
            "pool.labels",
            np.asarray(highest),
            num_classes,
            "Number the classes from 0 (jaxal.label_names does), and say what stands "
            "for no label: make_pool(..., unlabelled=255).",
        )


def check_task(task: Any, strategy: Strategy) -> None:
    """Raises where a strategy reads outputs as logits of classes, which they are not.

    Args:
      task: of a learner, None for classification.
      strategy: how to choose.
    """
    if task is not None and strategy.reads_classes and not task.of_logits:
        raise ValueError(
            f"Strategy {strategy.name!r} reads outputs as logits of classes, which "
            "those of this task are not. Of sigmoid columns ask "
            "by_score(per_label(entropy), 'logits'), or what reads features: coreset."
        )


def check_truth(pool: Pool, labels: Any, num_classes: int | None) -> None:
    """Raises ValueError where a label to measure on is no class.

    Args:
      pool: of the loop.
      labels: `[T]`.
      num_classes: `C`, None where labels are no classes.
    """
    if not (num_classes is None or is_regression(pool) or is_traced(labels)):
        cure = "Leave such rows out with ignore=."
        checks.check_classes("test", labels, num_classes, cure)


def check_answers_read(
    pool: Pool, strategy: Strategy, is_of_classes: bool, are_outputs: bool
) -> None:
    """Raises where labels would be read as the classes that they are not.

    Args:
      pool: of a loop.
      strategy: how to choose.
      is_of_classes: whether the learner's task is to classify.
      are_outputs: whether there is a label for each of the model's outputs.
    """
    if is_of_classes and is_regression(pool) and not strategy.reads_classes:
        raise ValueError(
            "The pool's labels are real numbers and the learner classifies. Pass "
            "supervised(model, task=least_squares), or classes to make_pool."
        )
    is_reader = strategy.reads_classes and "labels" in strategy.needs | strategy.streams
    if is_reader and not are_outputs:
        raise ValueError(
            f"Strategy {strategy.name!r} reads labels as classes, a class for each of "
            "the model's outputs, which those of this task (soft_labels) are not. Pass "
            "one that reads no labels, such as margin or badge."
        )


def check_memory(strategy: Strategy, state: LoopState) -> None:
    """Raises where what a strategy remembers is of a pool of another size.

    Args:
      strategy: of the loop.
      state: that came back to it.

    Raises:
      ValueError: the arrays it remembers have other shapes.
    """
    size = state.pool.labels.shape[0]
    expected = jax.eval_shape(lambda: strategy.init(size))
    if _shapes(expected) != _shapes(state.memory):
        raise ValueError(
            f"Strategy {strategy.name!r} remembers {_shapes(state.memory)}, expected "
            f"{_shapes(expected)} of a pool of {size} rows: this state is of another "
            "strategy, or its pool of another size. Make room for rows to come by "
            "make_pool(..., capacity=) and add them by extend, or begin with init."
        )


def _shapes(memory: Any) -> list[list[int]]:
    return [list(jnp.shape(leaf)) for leaf in jax.tree.leaves(memory)]


def as_test(test: Any, ignore: int | None) -> Test | None:
    """Returns a test set as arrays, without the rows whose label is `ignore`.

    Raises:
      ValueError: inputs are none (see `as_inputs`), labels are no numbers or not as
        many, or no row is left.
    """
    if test is None or is_traced(test):
        return test
    inputs = as_inputs(test[0], name="test[0]")
    labels: Any = test[1]
    labels = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if not labels.shape or labels.shape[0] != num_rows(inputs):
        raise ValueError(
            f"test has {num_rows(inputs)} rows and labels of shape "
            f"{list(labels.shape)}, expected (inputs, labels), one label for each row."
        )
    if not (labels.dtype == bool or jnp.issubdtype(labels.dtype, jnp.number)):
        raise ValueError(
            f"test[1] has dtype {labels.dtype}, expected numbers: jaxal.label_names "
            "makes classes of names."
        )
    labels = labels.astype(np.int32) if labels.dtype == bool else labels
    (rows,) = np.nonzero(np.asarray(labels) != ignore)
    if rows.size == labels.shape[0]:
        return inputs, labels
    if not rows.size:
        raise ValueError(f"test has no labels but {ignore}, which ignore= leaves out.")
    return take_rows(inputs, rows), labels[rows]


def arrived(state: LoopState, mesh: Mesh | None) -> LoopState:
    """Returns a state that was saved, by pickle or `jax.device_get`, on its devices.

    Args:
      state: of the loop; one whose arrays are JAX's comes back as it is.
      mesh: of the pool, by default every device there is.
    """
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state)):
        return state
    pool, *rest = state
    if not isinstance(pool.labels, jax.Array):
        mesh = pool_mesh() if mesh is None else mesh
        is_even = pool.labels.shape[0] % mesh.size == 0
        pool = jax.device_put(pool, spread_over(mesh) if is_even else None)
    return LoopState(pool, *replicate(jax.tree.map(jnp.asarray, rest), pool))
