"""Who answers: the data set itself, a noisy copy of it, or somebody who says no.

A person is not an oracle here but the caller: `ask`, show the rows, `tell`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import checks
from jaxal.modes import held
from jaxal.pools.inputs import is_traced
from jaxal.pools.pool import UNLABELLED, check_labels, check_targets, unanswered
from jaxal.types import Oracle


def array_oracle(labels: Array) -> Oracle:
    """Returns the oracle that knows every label and is always right.

    Args:
      labels: `[N]` integers, one a row of the pool; in regression, floating point.

    Returns:
      An `Oracle`: from a key and `[K]` rows to `[K]` labels, int32 or float32. A row it
      does not know is refused, or, where rows are traced, not answered.

    Raises:
      ValueError: labels are no classes or real numbers `[N]`, or would lose digits;
        or, when it is asked, a row is outside `0 .. N - 1`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import array_oracle
      >>> array_oracle(jnp.array([4, 5, 6]))(jax.random.key(0), jnp.array([2, 0]))
      Array([6, 4], dtype=int32)
    """
    known = labels if isinstance(labels, jax.Array) else np.atleast_1d(labels)
    if known.dtype == bool:  # two classes, as good as any
        known = known.astype(np.int32)
    is_real = jnp.issubdtype(known.dtype, jnp.floating)
    dtype = jnp.float32 if is_real else jnp.int32
    if not isinstance(known, jax.Array):
        (check_targets if is_real else check_labels)(known, len(known))
        known = held("labels", known, dtype)
    answers = jnp.asarray(known, dtype)

    def oracle(key: Array, indices: Array) -> Array:
        del key
        size = answers.shape[0]
        if is_traced(indices, answers):
            rows = jnp.where(indices < 0, size, indices)
            return answers.at[rows].get(
                mode="fill", fill_value=unanswered(answers.dtype)
            )
        if odd := [row for row in np.asarray(indices).tolist() if not 0 <= row < size]:
            raise ValueError(
                f"The oracle was asked for rows {odd[:5]}, and has labels for rows 0 "
                f"to {size - 1}. Give it one label for each row of the pool."
            )
        return answers[jnp.asarray(indices)]

    return oracle


def noisy_oracle(oracle: Oracle, noise: float, num_classes: int) -> Oracle:
    r"""Returns an oracle that errs: with some probability it names another class.

    $P(\tilde y = c \mid y) = 1 - \eta$ for $c = y$ and $\eta / (C - 1)$ otherwise.

    Args:
      oracle: who knows the truth.
      noise: $\eta$ in [0, 1].
      num_classes: the number of classes `C`.

    Returns:
      An `Oracle`. Rows it does not answer stay unanswered.

    Raises:
      ValueError: `noise` is outside [0, 1] or `num_classes` below 2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import array_oracle, noisy_oracle
      >>> liar = noisy_oracle(array_oracle(jnp.array([0, 1])), 1.0, num_classes=2)
      >>> liar(jax.random.key(0), jnp.array([0, 1]))
      Array([1, 0], dtype=int32)
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is {noise}, expected a probability in [0, 1].")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; errors need at least 2.")

    def noisy(key: Array, indices: Array) -> Array:
        checks.check_key(key)
        key_truth, key_error, key_class = jax.random.split(key, 3)
        truth = oracle(key_truth, indices)
        if not jnp.issubdtype(truth.dtype, jnp.integer):
            raise TypeError(
                f"The oracle answers in {truth.dtype}, and noisy_oracle confuses "
                "classes. For regression, give array_oracle targets with noise."
            )
        is_wrong = jax.random.bernoulli(key_error, noise, truth.shape)
        # A shift by 1 .. C - 1 reaches every other class and never the true one.
        shift = jax.random.randint(key_class, truth.shape, 1, num_classes)
        answer = jnp.where(is_wrong, (truth + shift) % num_classes, truth)
        return jnp.where(truth == UNLABELLED, truth, answer)

    return noisy


def reluctant_oracle(oracle: Oracle, refusal: float) -> Oracle:
    """Returns an oracle that leaves some questions unanswered, with -1 or NaN.

    Args:
      oracle: who would answer.
      refusal: probability of no answer, in [0, 1].

    Returns:
      An `Oracle`; a row it refuses stays available and can be asked again.

    Raises:
      ValueError: `refusal` is outside [0, 1].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import array_oracle, reluctant_oracle
      >>> silent = reluctant_oracle(array_oracle(jnp.array([3])), refusal=1.0)
      >>> silent(jax.random.key(0), jnp.array([0]))
      Array([-1], dtype=int32)
    """
    if not 0 <= refusal <= 1:
        raise ValueError(f"refusal is {refusal}, expected a probability in [0, 1].")

    def reluctant(key: Array, indices: Array) -> Array:
        checks.check_key(key)
        key_answer, key_refusal = jax.random.split(key)
        is_refused = jax.random.bernoulli(key_refusal, refusal, indices.shape)
        answers = oracle(key_answer, indices)
        return jnp.where(is_refused, unanswered(answers.dtype), answers)

    return reluctant
