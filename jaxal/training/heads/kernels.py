"""Kernels with a length a column, and how well they explain targets."""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

Kernel = Literal["matern", "rbf"]
# Of the targets' variance and the kernel's: below it 32 bits lose the factorisation.
_LEAST_NOISE = 1e-4
_RATE = 0.1


class Hyperparameters(NamedTuple):
    """What the marginal likelihood chooses; targets have a variance of one."""

    log_lengths: Array  # [D], of columns with a deviation of one
    log_amplitude: Array  # [], variance of the function
    log_noise: Array  # [], variance around it


def usual(width: int, dtype: jnp.dtype) -> Hyperparameters:
    """Returns where to start: longer lengths in more dimensions, a little noise."""
    return Hyperparameters(
        jnp.full(width, 0.5 * jnp.log(width), dtype),
        jnp.zeros([], dtype),
        jnp.full([], -3.0, dtype),
    )


def covariance(kernel: Kernel, hyper: Hyperparameters, a: Array, b: Array) -> Array:
    r"""Returns the covariance of the function at rows `[A, D]` and `[B, D]`.

    RBF, $s e^{-d^2 / 2}$, or Matern 5/2, $s (1 + \sqrt5 d + 5 d^2 / 3) e^{-\sqrt5 d}$.

    Args:
      kernel: which.
      hyper: lengths and amplitude.
      a: `[A, D]`.
      b: `[B, D]`.

    Reference:
      Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, 4.2.
      https://gaussianprocess.org/gpml
    """
    scale = jnp.exp(-hyper.log_lengths)[None]
    a, b = a * scale, b * scale
    inner = linalg.product(a, b.T)
    squares = (a**2).sum(-1)[:, None] + (b**2).sum(-1)[None] - 2 * inner
    squares = jnp.maximum(squares, 0)
    if kernel == "rbf":
        return jnp.exp(hyper.log_amplitude - squares / 2)
    # The root has no slope at zero; the kernel has one, which is zero.
    root = jnp.sqrt(5 * jnp.maximum(squares, 1e-12))
    shape = (1 + root + 5 / 3 * squares) * jnp.exp(-root)
    return jnp.exp(hyper.log_amplitude) * shape


def noise_of(hyper: Hyperparameters) -> Array:
    """Returns the variance of targets around the function."""
    least = _LEAST_NOISE * (1 + jnp.exp(hyper.log_amplitude))
    return jnp.exp(hyper.log_noise) + least


def noisy_covariance(
    kernel: Kernel,
    hyper: Hyperparameters,
    rows: Array,
    is_used: Array,
    noise: Array | float = 0.0,
) -> Array:
    """Returns the covariance of targets `[L, L]`; rows not in use stand alone.

    Args:
      kernel: which.
      hyper: lengths, amplitude and noise.
      rows: `[L, D]`.
      is_used: `[L]` bool.
      noise: variance on top of that of `hyper`, `[L]`.
    """
    pairs = is_used[:, None] & is_used[None]
    between = jnp.where(pairs, covariance(kernel, hyper, rows, rows), 0)
    alone = jnp.where(is_used, noise_of(hyper) + noise, 1)
    return between + jnp.diag(alone)


def fit_hyperparameters(
    kernel: Kernel,
    num_steps: int,
    spread: float,
    start: Hyperparameters,
    rows: Array,
    targets: Array,
    noise: Array,
    is_used: Array,
) -> Hyperparameters:
    r"""Returns hyperparameters of large marginal likelihood, by Adam.

    The slope of $\log p(y)$ is $\frac12 \mathrm{tr}((\alpha \alpha^\top - K^{-1})\,
    \partial K)$, $\alpha = K^{-1} y$, summed over C functions that have them in
    common. Priors hold what few rows say nothing about:
    $\log \ell \sim \mathcal N(\sqrt2 + \log \sqrt D, 3)$ and
    $\log \sigma^2 \sim \mathcal N(-4, 1)$.

    Args:
      kernel: which.
      num_steps: steps of Adam.
      spread: variance of the logarithms of lengths around their own mean; infinite
        where each has the prior by itself.
      start: where to begin.
      rows: `[L, D]`.
      targets: `[C, L]` with a variance of one, 0 where not in use.
      noise: `[C, L]` variance that is known.
      is_used: `[L]` bool.

    Reference:
      Hvarfner, Hellsten and Nardi, "Vanilla Bayesian Optimization Performs Great in
      High Dimensions", ICML 2024. https://arxiv.org/abs/2402.02229
    """

    def loss(hyper: Hyperparameters, pull: Array) -> Array:
        usual_length = 2**0.5 + 0.5 * jnp.log(rows.shape[1]).astype(rows.dtype)
        lengths = hyper.log_lengths
        if math.isinf(spread):
            priors = ((lengths - usual_length) ** 2).sum() / 6
        else:
            centre = lengths.mean()
            priors = (centre - usual_length) ** 2 / 6
            priors += ((lengths - centre) ** 2).sum() / (2 * spread)
        priors += (hyper.log_noise + 4) ** 2 / 2 + hyper.log_amplitude**2 / 8
        # Noise that is known has no slope.
        return (
            priors - (pull * noisy_covariance(kernel, hyper, rows, is_used)).sum() / 2
        )

    def slope(hyper: Hyperparameters) -> Hyperparameters:
        def inverse_with(noise: Array) -> Array:
            gram = noisy_covariance(kernel, hyper, rows, is_used, noise)
            return linalg.positive_inverse(gram)

        inverse = jax.vmap(inverse_with)(noise)
        alpha = linalg.product(inverse, targets[..., None])
        pull = (alpha * alpha.swapaxes(1, 2) - inverse).sum(0)
        return jax.grad(loss)(hyper, pull)

    def step(i: Array, state: tuple) -> tuple:
        hyper, mean, square = state
        grads = slope(hyper)
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        square = jax.tree.map(lambda s, g: 0.95 * s + 0.05 * g**2, square, grads)
        turn = (i + 1).astype(targets.dtype)
        rate = _RATE * (1 - i.astype(targets.dtype) / num_steps)
        ups = 1 - 0.9**turn, 1 - 0.95**turn
        hyper = jax.tree.map(
            lambda h, m, s: h - rate * (m / ups[0]) / (jnp.sqrt(s / ups[1]) + 1e-8),
            hyper,
            mean,
            square,
        )
        return hyper, mean, square

    zeros = jax.tree.map(jnp.zeros_like, start)
    return jax.lax.fori_loop(0, num_steps, step, (start, zeros, zeros))[0]


def log_evidence(
    kernel: Kernel,
    hyper: Hyperparameters,
    rows: Array,
    targets: Array,
    noise: Array,
    is_used: Array,
) -> Array:
    """Returns what `fit_hyperparameters` makes large, but for priors and a constant."""
    factor, half = conditioned(kernel, hyper, rows, targets, noise, is_used)
    return log_density(factor, half).sum()


def conditioned(
    kernel: Kernel,
    hyper: Hyperparameters,
    rows: Array,
    targets: Array,
    noise: Array,
    is_used: Array,
) -> tuple[Array, Array]:
    """Returns factors `[C, L, L]` of the targets' covariance, and targets `[C, L]`
    solved by them."""

    def of_function(targets: Array, noise: Array) -> tuple[Array, Array]:
        gram = noisy_covariance(kernel, hyper, rows, is_used, noise)
        root = linalg.cholesky(gram)
        return root, linalg.solve_lower(root, targets[:, None])[:, 0]

    return jax.vmap(of_function)(targets, noise)


def log_density(factor: Array, half: Array) -> Array:
    """Returns that of targets solved by `conditioned`, but for a constant."""
    roots = jnp.diagonal(factor, axis1=-2, axis2=-1)
    return -(half**2).sum(-1) / 2 - jnp.log(roots).sum(-1)
