r"""Multinomial logistic regression, solved: many penalties and weightings at once.

The Hessian of the softmax loss is never more than half the Gram matrix (Boehning's
bound), whatever the weights are. So $M = (Z^\top Z / 2 + \Lambda)^{-1}$ is a step that
never overshoots, factored once, and Nesterov's momentum does the rest: two matrix
products a step, shared by all penalties and folds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

_CHUNK = 256  # rows of a matrix product; those not labelled yet cost nothing
_TOLERANCE = 1e-4  # of the gradient, nats a square root of a row


class SoftmaxProblem(NamedTuple):
    """Rows with targets, G penalties and F weightings: `G F` models of `C` classes."""

    design: Array  # [L, D], a column of ones for the bias
    targets: Array  # [L, C], distributions over classes
    weights: Array  # [L, F], 0 for rows that do not count
    penalty: Array  # [G, D], positive
    num_rows: Array  # [] int32, rows beyond it have no weight


class SoftmaxFit(NamedTuple):
    """What a solver found."""

    coefficients: Array  # [G, F, D, C]
    num_steps: Array  # [] int32
    gap: Array  # [G, F] size of the gradient, nats, in the metric of the step


class _Path(NamedTuple):
    """Steps under way."""

    at: Array  # [G, F, D, C]
    ahead: Array  # [G, F, D, C] where the next gradient is taken
    momentum: Array  # [G, F]
    gap: Array  # [G, F]
    num_steps: Array  # []


def solve_softmax(
    problem: SoftmaxProblem, start: Array | None = None, *, max_steps: int = 500
) -> SoftmaxFit:
    r"""Returns $\arg\min_W \sum_n w_n H(t_n, \mathrm{softmax}(z_n W)) + \frac12 W^\top
    \Lambda W$, for every penalty and weighting.

    Args:
      problem: what is solved.
      start: `[G, F, D, C]` coefficients, by default zeros.
      max_steps: steps after which to stop, converged or not.

    Returns:
      A `SoftmaxFit`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.heads.softmax import SoftmaxProblem, solve_softmax
      >>> design = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
      >>> problem = SoftmaxProblem(
      ...     design, jnp.eye(2), jnp.ones([2, 1]), jnp.ones([1, 2]), jnp.int32(2))
      >>> print(f"{solve_softmax(problem).coefficients[0, 0, 0, 0]:.2f}")
      0.52

    Reference:
      Boehning, "Multinomial Logistic Regression Algorithm", Annals of the Institute of
      Statistical Mathematics 1992. https://doi.org/10.1007/BF00048682
    """
    metric = _metric(problem)
    groups, width = problem.penalty.shape
    shape = (groups, problem.weights.shape[1], width, problem.targets.shape[1])
    at = jnp.zeros(shape, problem.design.dtype) if start is None else start
    momentum = jnp.ones(shape[:2], at.dtype)
    gap = jnp.full(shape[:2], jnp.inf, at.dtype)
    limit = _TOLERANCE * jnp.sqrt(problem.num_rows.astype(at.dtype) + 1)

    def is_going(path: _Path) -> Array:
        return (path.num_steps < max_steps) & (path.gap > limit).any()

    def step(path: _Path) -> _Path:
        last, ahead, momentum = path[:3]
        gradient = _gradient(problem, ahead)
        moved = jnp.einsum("gde,gfec->gfdc", metric, gradient, precision="highest")
        new = ahead - moved
        gap = jnp.sqrt(jnp.maximum((gradient * moved).sum((-2, -1)), 0))
        # Momentum that points uphill is dropped (O'Donoghue and Candes).
        is_uphill = (gradient * (new - last)).sum((-2, -1)) > 0
        momentum = jnp.where(is_uphill, 1, momentum)
        after = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        factor = jnp.where(is_uphill, 0, (momentum - 1) / after)[..., None, None]
        ahead = new + factor * (new - last)
        return _Path(new, ahead, after, gap, path.num_steps + 1)

    path = _Path(at, at, momentum, gap, jnp.zeros([], jnp.int32))
    path = jax.lax.while_loop(is_going, step, path)
    return SoftmaxFit(path.at, path.num_steps, path.gap)


def softmax_logits(design: Array, coefficients: Array) -> Array:
    """Returns logits `[L, G, F, C]` of `[L, D]` rows and `[G, F, D, C]` models."""
    return jnp.einsum("ld,gfdc->lgfc", design, coefficients, precision="highest")


def mean_loss(problem: SoftmaxProblem, coefficients: Array) -> Array:
    """Returns the mean cross-entropy of the first model, NaN without rows."""
    logits = softmax_logits(problem.design, coefficients[:1, :1])[:, 0, 0]
    losses = -(problem.targets * jax.nn.log_softmax(logits)).sum(-1)
    weights = problem.weights[:, 0]
    return (weights * losses).sum() / weights.sum()


def _metric(problem: SoftmaxProblem) -> Array:
    most = problem.weights.max(-1, keepdims=True)
    design = problem.design * jnp.sqrt(most)
    gram = jnp.matmul(design.T, design, precision="highest") / 2
    return jax.vmap(lambda p: linalg.positive_inverse(gram + jnp.diag(p)))(
        problem.penalty
    )


def _gradient(problem: SoftmaxProblem, at: Array) -> Array:
    size = problem.design.shape[0]

    def part(first: Array | int, rows: int) -> Array:
        cut = [
            jax.lax.dynamic_slice_in_dim(x, first, rows)
            for x in (problem.design, problem.targets, problem.weights)
        ]
        probs = jax.nn.softmax(softmax_logits(cut[0], at))
        errors = (probs - cut[1][:, None, None, :]) * cut[2][:, None, :, None]
        return jnp.einsum("ld,lgfc->gfdc", cut[0], errors, precision="highest")

    pull = problem.penalty[:, None, :, None] * at
    if size <= _CHUNK:
        return pull + part(0, size)
    # Padded by whoever gathered the rows: chunks need not overlap.
    count = -(-problem.num_rows // _CHUNK)
    return jax.lax.fori_loop(
        0, count, lambda i, total: total + part(i * _CHUNK, _CHUNK), pull
    )


def padded_size(size: int) -> int:
    """Returns how many rows a problem of at most `size` rows must have."""
    return size if size <= _CHUNK else -(-size // _CHUNK) * _CHUNK
