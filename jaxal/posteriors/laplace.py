"""Gaussians around a fitted last layer, in closed form, on plain arrays.

Being relative to the fitted layer, they need that layer's logits, not its weights.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

_product = functools.partial(jnp.matmul, precision="highest")


class KroneckerSums(NamedTuple):
    """What curvature that is one product needs of the labelled rows: sums over them."""

    probs: Array  # [C]
    products: Array  # [C, C] of probabilities
    squares: Array  # [D, D] of features
    num_rows: Array  # []


class KroneckerPosterior(NamedTuple):
    """Covariance of last layers in the eigenvectors of both factors."""

    left: Array  # [C, C]
    right: Array  # [D, D]
    root: Array  # [C, D] of the precision: one over the standard deviations


def full_posterior(
    curvature: Array, shape: tuple[int, int], prior_precision: float | Array
) -> Array:
    """Returns a square root `[C, D, C D]` of the covariance of a layer.

    The precision is `t I` plus the curvature `[C D, C D]`, for a layer trained with
    weight decay `t / 2 |W|^2` on the summed loss. A root in place of the covariance: it
    cannot lose positive definiteness to rounding, and drawing takes no decomposition.
    """
    identity = jnp.eye(curvature.shape[0], dtype=curvature.dtype)
    root = linalg.cholesky(curvature + prior_precision * identity)
    return linalg.solve_lower(root, identity).T.reshape(*shape, -1)


def draw_full(key: Array, factor: Array, num_samples: int) -> Array:
    """Draws last layers, `[S, C, D]` to be added to the fitted one."""
    noise = jax.random.normal(key, (num_samples, factor.shape[-1]), factor.dtype)
    return jnp.einsum("sp,cdp->scd", noise, factor, precision="highest")


def kronecker_sums(probs: Array, features: Array, weights: Array) -> KroneckerSums:
    """Returns sums over the rows that count; those of parts of a pool add up.

    Args:
      probs: `[N, C]` predictions.
      features: `[N, D]`, what the last layer sees.
      weights: `[N]`, numbers or bool; rows of weight 0 do not count.
    """
    weights = weights.astype(probs.dtype)[:, None]
    features = full_precision(features)
    # Masked rows are zeros, and p sums to one or to nothing.
    return KroneckerSums(
        (probs * weights).sum(0),
        _product(probs.T, probs * weights),
        _product(features.T, features * weights),
        weights.sum(),
    )


def kronecker_posterior(
    sums: KroneckerSums, prior_precision: float | Array
) -> KroneckerPosterior:
    r"""Returns the posterior whose curvature is one product.

    The sum of Kronecker products is approximated by the product of sums (KFAC),

        sum_n (diag(p_n) - p_n p_n^T) (x) h_n h_n^T  ~  A (x) B,

    with A the mean over labelled rows and B the sum, which is exact where predictions
    and features are independent. With their eigenvectors U, V and eigenvalues a, b a
    draw is `U ((U^T Z V) / sqrt(a b^T + t)) V^T`, which no choice of eigenvectors
    changes; no matrix is larger than C x C or D x D.

    Reference:
      Ritter, Botev and Barber, A Scalable Laplace Approximation for Neural Networks,
      ICLR 2018. https://openreview.net/forum?id=Skdvd2xAZ
    """
    count = jnp.maximum(sums.num_rows, 1)
    outputs = (jnp.diag(sums.probs) - sums.products) / count
    left, u = linalg.eigh(outputs)
    right, v = linalg.eigh(sums.squares)
    curvature = jnp.maximum(left, 0)[:, None] * jnp.maximum(right, 0)[None]
    return KroneckerPosterior(u, v, jnp.sqrt(curvature + prior_precision))


def draw_kronecker(
    key: Array, posterior: KroneckerPosterior, num_samples: int
) -> Array:
    """Draws last layers, `[S, C, D]` to be added to the fitted one."""
    u, v, root = posterior
    noise = jax.random.normal(key, (num_samples, *root.shape), root.dtype)
    # The symmetric root: eigenvectors of equal eigenvalues are up to rounding.
    scaled = _product(_product(u.T, noise), v) / root[None]
    return _product(_product(u, scaled), v.T)


def laplace_logits(draws: Array, logits: Array, features: Array) -> Array:
    """Returns logits `[S, B, C]` of drawn last layers.

    Args:
      draws: `[S, C, D]`.
      logits: `[B, C]` of the trained network.
      features: `[B, D]`, what its last layer sees.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.posteriors.laplace import laplace_logits
      >>> logits, features = jnp.zeros((1, 2)), jnp.ones((1, 1))
      >>> laplace_logits(jnp.array([[[1.0], [2.0]]]), logits, features).tolist()
      [[[1.0, 2.0]]]
    """
    logits, features = full_precision(logits), full_precision(features)
    moved = jnp.einsum("scd,bd->sbc", draws.astype(features.dtype), features)
    return logits[None] + moved.astype(logits.dtype)


def full_precision(values: Array) -> Array:
    """Returns floating numbers as they are, of half precision as float32."""
    is_half = jnp.finfo(values.dtype).bits < 32
    return values.astype(jnp.float32) if is_half else values
