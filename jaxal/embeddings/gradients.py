"""Gradient embeddings: how a label would move the network, one row an example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.embeddings.base import Dense, Outer, working_dtype
from jaxal.modes import any_promotion


@checks.of_classes
@any_promotion
def gradient_embedding(logits: Array, features: Array, *, bias: bool = False) -> Outer:
    """Returns last-layer gradients at the label the model itself would give.

    For the cross-entropy of a linear last layer `z = W h + b` with the predicted
    class `y = argmax z` as label, `dL/dW = (softmax(z) - onehot(y)) (x) h`, and
    `dL/db` is the same with `h = 1`.

    Args:
      logits: `[N, C]`.
      features: `[N, D]`, what the last layer sees.
      bias: whether the gradient of the bias is appended, as a feature that is one.

    Returns:
      `Outer` of `[N, C]` in float32 and `[N, D]` (`[N, D + 1]` with `bias`) in the
      dtype of `features`.

    Raises:
      ValueError: shapes are not `[N, C]` and `[N, D]`.
      TypeError: either is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import gradient_embedding
      >>> gradient_embedding(jnp.array([[0.0, 0.0]]), jnp.array([[2.0]])).a
      Array([[-0.5,  0.5]], dtype=float32)

    Reference:
      Deep batch active learning by diverse, uncertain gradient lower bounds,
      https://arxiv.org/abs/1906.03671
    """
    logits, features = jnp.asarray(logits), jnp.asarray(features)
    checks.check_last_layer(logits, features)
    logits = logits.astype(working_dtype(logits.dtype))
    probs = jax.nn.softmax(logits, axis=-1)
    is_label = jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1], dtype=bool)
    others = jnp.where(is_label, 0, probs)
    # p - 1 written as the sum of the others: a confident row keeps its digits.
    residual = others - is_label * jnp.sum(others, axis=-1, keepdims=True)
    if bias:
        features = jnp.pad(features, ((0, 0), (0, 1)), constant_values=1)
    return Outer(residual, features)


def pseudo_label_loss(logits: Array) -> Array:
    """Returns the cross-entropy of logits with their own argmax as the label.

    `-log max softmax(logits)`, the loss whose gradient BADGE embeds.

    Args:
      logits: `[..., C]`.

    Returns:
      `[...]` nats.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.embeddings import pseudo_label_loss
      >>> pseudo_label_loss(jnp.array([0.0, 0.0]))
      Array(0.6931472, dtype=float32)
    """
    # A label, not a maximum: the gradient of max would be shared among ties.
    label = jnp.argmax(logits, axis=-1, keepdims=True)
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(log_probs, label, axis=-1).squeeze(-1)


def per_example_gradients(
    loss: Callable[..., Array], params: Any, *examples: Any
) -> Dense:
    """Returns the gradient of each example's loss, written out.

    The fallback where the last layer is not linear, or more layers are wanted:
    row n is `d loss(params, example_n) / d params`, all leaves of `params` in a row.
    It holds `N P` numbers for `P` parameters; see `random_projection` for fewer.

    Args:
      loss: `(params, *example) -> []`, for one example without a leading axis.
      params: the pytree to differentiate by: pass the chosen layers, close over others.
      *examples: pytrees of `[N, ...]` arrays.

    Returns:
      `Dense` of shape `[N, P]`.

    Raises:
      ValueError: no examples were given.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import per_example_gradients
      >>> square = lambda w, x: jnp.square(w @ x)
      >>> per_example_gradients(square, jnp.array([1.0, 2.0]), jnp.eye(2)).x
      Array([[2., 0.],
             [0., 4.]], dtype=float32)
    """
    if not examples:
        raise ValueError(
            "per_example_gradients was given no examples. Pass the arrays of [N, ...] "
            "rows that the loss takes after params."
        )
    axes = (None,) + (0,) * len(examples)
    gradients = jax.vmap(jax.grad(loss), axes)(params, *examples)
    leaves = jax.tree.leaves(gradients)
    flat = [jnp.reshape(leaf, (leaf.shape[0], -1)) for leaf in leaves]
    return Dense(jnp.concatenate(flat, axis=-1))
