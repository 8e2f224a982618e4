"""Gaussians around a fitted last layer, in closed form, on plain arrays.

Being relative to the fitted layer, they need that layer's logits, not its weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

_PRECISIONS = 1e-4, 1e6  # between which evidence may put the prior


class KroneckerSums(NamedTuple):
    """What curvature that is one product needs of the labelled rows: sums over them."""

    probs: Array  # [C]
    products: Array  # [C, C] of probabilities
    squares: Array  # [D, D] of features
    cross: Array  # [C, D] of centred logits and features
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


def kronecker_sums(logits: Array, features: Array, weights: Array) -> KroneckerSums:
    """Returns sums over the rows that count; those of parts of a pool add up.

    Args:
      logits: `[N, C]` of the fitted layer.
      features: `[N, D]`, what the last layer sees.
      weights: `[N]`, numbers or bool; rows of weight 0 do not count.
    """
    logits, features = full_precision(logits), full_precision(features)
    weights = weights.astype(logits.dtype)[:, None]
    probs = jax.nn.softmax(logits)
    centred = logits - logits.mean(axis=-1, keepdims=True)
    # Masked rows are zeros, and p sums to one or to nothing.
    return KroneckerSums(
        (probs * weights).sum(0),
        linalg.product(probs.T, probs * weights),
        linalg.product(features.T, features * weights),
        linalg.product(centred.T, features * weights),
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
    u, v, curvature, _ = _eigen(sums)
    return KroneckerPosterior(u, v, jnp.sqrt(curvature + prior_precision))


def evidence_precision(sums: KroneckerSums, num_steps: int = 100) -> Array:
    r"""Returns the precision of the prior under which the labels are likeliest, `[]`.

    Of the evidence of the Laplace approximation,
    $\log p(D \mid W) - \frac t2 |W|^2 + \frac P2 \log t -
    \frac12 \sum_i \log(\lambda_i + t)$, the highest point is where
    $t = \sum_i \lambda_i / (\lambda_i + t) / |W|^2$, and repeating that leads there.
    W is the shortest layer that says of the labelled rows what the fitted one does,
    which with weight decay is the fitted one.

    Args:
      sums: over the labelled rows; with nothing in them the answer is 1.
      num_steps: static.

    Reference:
      MacKay, "The Evidence Framework Applied to Classification Networks", Neural
      Computation 1992. https://doi.org/10.1162/neco.1992.4.5.720
    """
    _, v, curvature, squares = _eigen(sums)
    is_seen = squares > squares.max() * squares.size * jnp.finfo(squares.dtype).eps
    layer = linalg.product(sums.cross, v) / jnp.where(is_seen, squares, 1)[None]
    size = jnp.where(is_seen[None], layer**2, 0).sum()

    def step(_: Array, t: Array) -> Array:
        known = (curvature / (curvature + t)).sum()
        better = known / jnp.where(size > 0, size, 1)
        return jnp.where(size > 0, jnp.clip(better, *_PRECISIONS), t)

    return jax.lax.fori_loop(0, num_steps, step, jnp.ones((), curvature.dtype))


def _eigen(sums: KroneckerSums) -> tuple[Array, Array, Array, Array]:
    """Returns eigenvectors `[C, C]`, `[D, D]`, curvature `[C, D]`, squares' `[D]`."""
    count = jnp.maximum(sums.num_rows, 1)
    outputs = (jnp.diag(sums.probs) - sums.products) / count
    left, u = linalg.eigh(outputs)
    right, v = linalg.eigh(sums.squares)
    right = jnp.maximum(right, 0)
    return u, v, jnp.maximum(left, 0)[:, None] * right[None], right


def draw_kronecker(
    key: Array, posterior: KroneckerPosterior, num_samples: int
) -> Array:
    """Draws last layers, `[S, C, D]` to be added to the fitted one."""
    u, v, root = posterior
    noise = jax.random.normal(key, (num_samples, *root.shape), root.dtype)
    # The symmetric root: eigenvectors of equal eigenvalues are up to rounding.
    scaled = linalg.product(linalg.product(u.T, noise), v) / root[None]
    return linalg.product(linalg.product(u, scaled), v.T)


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
