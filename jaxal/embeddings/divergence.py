"""Predictions as rows whose squared distance is a symmetric KL divergence."""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.embeddings.base import Dense, Embedding, working_dtype

_LEAST_PROBABILITY = 1e-8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SymmetricKL(Embedding):
    r"""Row n stands for the distribution `p_n`; see `kl_embedding`.

    The squared distance of rows `p` and `q` is
    `1/2 sum_c (p_c - q_c) (log p_c - log q_c)`, which is bilinear: norms and inner
    products of the pairs `(p, log p)` give it. It is no Euclidean distance (the
    triangle inequality fails), so what selects by distance alone may use it, as
    `k_center` does, and what needs means may not.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import kl_embedding
      >>> kl_embedding(jnp.zeros([2, 3])).sqnorm().tolist()
      [0.0, 0.0]
    """

    probs: Array  # [N, C], minus 1 / C
    log_probs: Array  # [N, C], plus log C

    def sqnorm(self) -> Array:
        return 0.5 * jnp.sum(self.probs * self.log_probs, axis=-1)

    def inner(self, other: Self) -> Array:
        left = jnp.concatenate([self.probs, self.log_probs], axis=-1)
        right = jnp.concatenate([other.log_probs, other.probs], axis=-1)
        return 0.25 * Dense(left).inner(Dense(right))


@checks.of_classes
def kl_embedding(logits: Array) -> SymmetricKL:
    """Returns predictions as rows at squared distance `(KL(p|q) + KL(q|p)) / 2`.

    Lengths are distances from the uniform distribution. Probabilities below 1e-8 count
    as 1e-8, so that one-hot rows are far from others and not infinitely far.

    Args:
      logits: `[N, C]` logits or log-probabilities, -inf for a class of probability 0.

    Returns:
      `SymmetricKL` of two `[N, C]` arrays in float32 at least.

    Raises:
      ValueError: `logits` are not `[N, C]`.
      TypeError: `logits` are not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import kl_embedding
      >>> rows = kl_embedding(jnp.log(jnp.array([[0.5, 0.5], [0.2, 0.8]])))
      >>> round(float(rows.sqnorm()[1]), 4)
      0.2079

    Reference:
      Agarwal et al., "Contextual Diversity for Active Learning", ECCV 2020.
      https://arxiv.org/abs/2008.05723
    """
    logits = jnp.asarray(logits)
    checks.check_rank("logits", logits, 2, "[N, C]", "Pass one row an example.")
    checks.check_floating("logits", logits, "Cast them, to float32 for example.")
    checks.check_has_classes("logits", logits)
    return _embed(logits)


@jax.jit
def _embed(logits: Array) -> SymmetricKL:
    logits = logits.astype(working_dtype(logits.dtype))
    num_classes = logits.shape[-1]
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    log_probs = jnp.maximum(log_probs, jnp.log(_LEAST_PROBABILITY))
    # A constant leaves distances alone. From the uniform distribution products of
    # both parts are not negative, so that sums of them lose nothing to rounding.
    log_probs = log_probs + jnp.log(num_classes)
    return SymmetricKL(jnp.expm1(log_probs) / num_classes, log_probs)
