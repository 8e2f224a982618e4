"""What a network is trained for, and what a fit has to say about itself."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.metrics import classification_metrics, log_likelihood
from jaxal.pools.mapping import map_rows
from jaxal.posteriors.networks import mean_probabilities
from jaxal.training import soundness
from jaxal.types import Output


class FitInfo(NamedTuple):
    """What a fit has to say about itself."""

    loss: Array  # [] mean training loss over the last epoch, nats
    num_steps: Array  # [] int32 steps taken
    num_labelled: Array  # [] int32 rows trained on
    is_sound: Array | bool = True  # [] bool, a model that may be asked what to buy
    final_loss: Array | float = float("nan")  # [] of the trained model on those rows
    naive_loss: Array | float = float("nan")  # [] of guessing without looking at inputs
    history: Any = None  # what `watch` saw, by name; [num_looks] each
    best_step: Any = None  # [] int32 steps after which it was best, 0 if none was kept
    tuned: Any = None  # settings that a search chose, by name


class Task(NamedTuple):
    """What a network is trained for, and how its outputs are judged.

    A task that `standardises` has targets that are real numbers, and a loss that says
    the same in every unit up to a factor or a term: where the network keeps the scale
    of its outputs, it is trained on $(y - \bar y) / s$ of the labelled rows.
    """

    loss: Callable[[Array, Array], Array]  # (outputs [B, C], labels [B]) -> [B]
    metrics: Callable[[Array, Array], Any]  # of a test set, as in `Learner.evaluate`
    combine: Callable[[Array], Array]  # outputs of S networks [S, B, C] -> [B, C]
    guess: Callable[[Array, Array, int], Array] | None = None  # (labels [B], weights
    # [B], C) -> [C], the best outputs that do not look at inputs
    standardises: bool = False
    answers: Callable[[int], int] | None = None  # how many there are, 0 .. this - 1, of
    # C outputs; None where labels may be any number
    of_logits: bool = True  # whether outputs are what scores of classes may read


def evaluator(
    network: Callable[[Any, Any], Output],
    metrics: Callable[[Array, Array], Any],
    chunk_size: int = 1024,
) -> Callable[[Any, Any, Array], Any]:
    """Returns the `evaluate` of a learner, from what its network says of a state.

    Args:
      network: from `(state, inputs[B])` to outputs.
      metrics: from outputs `[N, C]` and labels to what is said of them.
      chunk_size: rows asked together.
    """

    def evaluate(state: Any, inputs: Any, labels: Array) -> Any:
        outputs = map_rows(
            lambda rows: network(state, rows).logits, inputs, chunk_size=chunk_size
        )
        return metrics(outputs, labels)

    return evaluate


def cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0) -> Array:
    r"""Returns cross-entropy against labels smoothed towards the uniform.

    $-\sum_c q_c \log p_c$ with $q = (1 - \epsilon) e_y + \epsilon / C$.

    Args:
      logits: `[B, C]`.
      labels: `[B]` integers in `0 .. C - 1`.
      smoothing: $\epsilon$ in [0, 1).

    Returns:
      `[B]` losses in nats, NaN for a label that is no class.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.tasks import cross_entropy
      >>> cross_entropy(jnp.zeros([1, 2]), jnp.array([1])).round(4)
      Array([0.6931], dtype=float32)
    """
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
    target = log_likelihood(logits, labels)
    return -(1 - smoothing) * target - smoothing * log_probs.mean(axis=-1)


def task_or_classes(task: Task | None, label_smoothing: float) -> Task:
    """Returns the task that was given, by default classification."""
    if task is None:
        loss = partial(cross_entropy, smoothing=label_smoothing)
        guess = soundness.class_frequencies
        return Task(loss, classification_metrics, mean_probabilities, guess)
    if label_smoothing:
        raise ValueError(
            f"label_smoothing is {label_smoothing}, and a task was given. Smooth the "
            "labels in the task's loss."
        )
    return task
