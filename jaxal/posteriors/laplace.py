"""A Gaussian posterior over a last layer, in closed form, on plain arrays."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.curvature import softmax_curvature


class LaplacePosterior(NamedTuple):
    """Weights of the last layer are those fitted plus `N(shift, factor factor^T)`.

    Being relative to the fitted layer, it needs that layer's logits, not its weights.
    A square root in place of the covariance: it cannot lose positive definiteness to
    rounding, and drawing from it takes no decomposition.
    """

    shift: Array  # [C, D]
    factor: (
        Array  # [C * D, C * D], row c * D + d for the weight of feature d on class c
    )


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


def laplace_posterior(
    logits: Array,
    features: Array,
    is_labelled: Array,
    *,
    prior_precision: float | Array = 1.0,
) -> LaplacePosterior:
    """Returns the Laplace approximation of a softmax layer after training.

    The precision is the prior's plus the curvature of the labelled rows' loss,

        P = t I + sum_labelled (diag(p) - p p^T) (x) h h^T,

    for a layer trained with weight decay `t / 2 |W|^2` on the summed loss.

    Args:
      logits: `[N, C]` of the trained network.
      features: `[N, D]`, what its last layer sees; append ones to include the bias.
      is_labelled: `[N]` bool, rows it was trained on.
      prior_precision: t, positive.

    Returns:
      LaplacePosterior with a shift of zero. Cost: `(C D)^2 (C D + L)` operations for
      L labelled rows.

    Raises:
      ValueError: the shapes do not fit together.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> logits, features = jnp.zeros((3, 2)), jnp.ones((3, 1))
      >>> posterior = laplace_posterior(logits, features, jnp.zeros(3, bool))
      >>> posterior.factor.tolist()
      [[1.0, 0.0], [0.0, 1.0]]

    Reference:
      Daxberger et al., Laplace Redux: Effortless Bayesian Deep Learning, NeurIPS
      2021. https://arxiv.org/abs/2106.14806
    """
    _check(logits, features)
    checks.check_mask("is_labelled", is_labelled, logits.shape[0])
    return _fit(logits, features, is_labelled, prior_precision)


def laplace_update(
    posterior: LaplacePosterior,
    logits: Array,
    features: Array,
    is_new: Array,
    labels: Array | None = None,
) -> LaplacePosterior:
    """Returns the posterior after some rows were labelled, without training.

    The covariance S loses what the new rows tell (Woodbury, in square-root form),
    `S' = S - S V (I + V^T S V)^-1 V^T S`. With labels the mean takes one Newton step,
    `shift' = shift + S' sum_new (onehot(y) - p) (x) h`; without, it stays, as for a
    batch whose labels are not known yet.

    Args:
      posterior: the posterior before.
      logits: `[K, C]` of the trained network.
      features: `[K, D]`, what its last layer sees.
      is_new: `[K]` bool, rows that count.
      labels: `[K]` int, or None.

    Returns:
      LaplacePosterior after K updates of rank C: `3 K C (C D)^2` operations.

    Raises:
      ValueError: the shapes do not fit together.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> logits, features = jnp.zeros((3, 2)), jnp.ones((3, 1))
      >>> rows = jnp.array([True, False, False])
      >>> prior = laplace_posterior(logits, features, jnp.zeros(3, bool))
      >>> after = laplace_update(prior, logits, features, rows, jnp.zeros(3, int))
      >>> bool(after.shift[0, 0] > 0 > after.shift[1, 0])
      True

    Reference:
      Huseljic et al., Fast Bayesian Updates for Deep Learning with a Use Case in
      Active Learning, 2022. https://arxiv.org/abs/2210.06112
    """
    _check(logits, features)
    checks.check_mask("is_new", is_new, logits.shape[0])
    _check_fits(posterior.shift, logits, features)
    return _update(posterior, logits, features, is_new, labels)


def laplace_moments(
    posterior: LaplacePosterior, logits: Array, features: Array
) -> tuple[Array, Array]:
    """Returns mean `[B, C]` and covariance `[B, C, C]` of the logits of `B` rows.

    Args:
      posterior: the posterior over the last layer.
      logits: `[B, C]` of the trained network.
      features: `[B, D]`, what its last layer sees.

    Returns:
      The mean and covariance of a Gaussian, row by row.

    Example:
      >>> import jax.numpy as jnp
      >>> logits, features = jnp.zeros((1, 2)), jnp.full((1, 1), 3.0)
      >>> prior = laplace_posterior(logits, features, jnp.zeros(1, bool))
      >>> laplace_moments(prior, logits, features)[1].tolist()
      [[[9.0, 0.0], [0.0, 9.0]]]
    """
    _check(logits, features)
    _check_fits(posterior.shift, logits, features)
    return _moments(posterior, logits, features)


def laplace_probit(
    posterior: LaplacePosterior, logits: Array, features: Array
) -> Array:
    """Returns log-probabilities `[B, C]` averaged over the posterior, approximately.

    `log_softmax(m_c / sqrt(1 + pi v_c / 8))` with m and v mean and variance of each
    logit: what a probit in place of the logistic function gives.

    Args:
      posterior: the posterior over the last layer.
      logits: `[B, C]` of the trained network.
      features: `[B, D]`, what its last layer sees.

    Returns:
      `[B, C]` log-probabilities, less certain than the network's own.

    Example:
      >>> import jax.numpy as jnp
      >>> logits, features = jnp.array([[2.0, -2.0]]), jnp.ones((1, 1))
      >>> prior = laplace_posterior(logits, features, jnp.zeros(1, bool))
      >>> float(jnp.exp(laplace_probit(prior, logits, features)).max()) < 0.98
      True

    Reference:
      MacKay, The Evidence Framework Applied to Classification Networks, Neural
      Computation 1992. https://doi.org/10.1162/neco.1992.4.5.720
    """
    mean, covariance = laplace_moments(posterior, logits, features)
    variance = jnp.diagonal(covariance, axis1=1, axis2=2)
    return jax.nn.log_softmax(mean / jnp.sqrt(1 + jnp.pi / 8 * variance))


def laplace_draws(key: Array, posterior: LaplacePosterior, num_samples: int) -> Array:
    """Draws last layers, `[S, C, D]` to be added to the fitted one.

    Args:
      key: typed key, consumed.
      posterior: the posterior over the last layer.
      num_samples: S, static.

    Returns:
      `[S, C, D]`: one set of draws serves every chunk of the pool.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> prior = LaplacePosterior(jnp.zeros((2, 3)), jnp.eye(6))
      >>> laplace_draws(jax.random.key(0), prior, 5).shape
      (5, 2, 3)
    """
    checks.check_key(key)
    factor = posterior.factor
    noise = jax.random.normal(key, (num_samples, factor.shape[1]), factor.dtype)
    draws = jnp.matmul(noise, factor.T, precision="highest")
    return posterior.shift[None] + draws.reshape(num_samples, *posterior.shift.shape)


def kronecker_draws(
    key: Array,
    logits: Array,
    features: Array,
    is_labelled: Array,
    *,
    num_samples: int,
    prior_precision: float | Array = 1.0,
) -> Array:
    r"""Draws last layers from a Laplace posterior whose curvature is one product.

    The sum of Kronecker products is approximated by the product of sums (KFAC),

        sum_n (diag(p_n) - p_n p_n^T) (x) h_n h_n^T  ~  A (x) B,

    with A the mean over labelled rows and B the sum, which is exact where predictions
    and features are independent. With their eigenvectors U, V and eigenvalues a, b a
    draw is `U ((U^T Z V) / sqrt(a b^T + t)) V^T`, which no choice of eigenvectors
    changes; no matrix is larger than C x C or D x D.

    Args:
      key: typed key, consumed.
      logits: `[N, C]` of the trained network.
      features: `[N, D]`, what its last layer sees; append ones to include the bias.
      is_labelled: `[N]` bool, rows it was trained on.
      num_samples: S, static.
      prior_precision: t, positive.

    Returns:
      `[S, C, D]` to be added to the fitted layer, see `laplace_logits`. Cost:
      `N (C^2 + D^2) + C^3 + D^3 + S C D (C + D)` operations.

    Raises:
      ValueError: the shapes do not fit together.
      TypeError: an argument has the wrong type.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> logits, features = jnp.zeros((3, 2)), jnp.ones((3, 4))
      >>> nobody = jnp.zeros(3, bool)
      >>> kronecker_draws(
      ...     jax.random.key(0), logits, features, nobody, num_samples=5
      ... ).shape
      (5, 2, 4)

    Reference:
      Ritter, Botev and Barber, A Scalable Laplace Approximation for Neural Networks,
      ICLR 2018. https://openreview.net/forum?id=Skdvd2xAZ
    """
    checks.check_key(key)
    _check(logits, features)
    checks.check_mask("is_labelled", is_labelled, logits.shape[0])
    arrays = (logits, features, is_labelled, prior_precision)
    return _kronecker_draws(key, *arrays, num_samples)


@functools.partial(jax.jit, static_argnums=5)
def _kronecker_draws(
    key: Array,
    logits: Array,
    features: Array,
    is_labelled: Array,
    prior_precision: float | Array,
    num_samples: int,
) -> Array:
    sums = kronecker_sums(jax.nn.softmax(full_precision(logits)), features, is_labelled)
    return draw_kronecker(key, kronecker_posterior(sums, prior_precision), num_samples)


def kronecker_sums(probs: Array, features: Array, is_counted: Array) -> KroneckerSums:
    """Returns sums over the rows that count; those of parts of a pool add up.

    Args:
      probs: `[N, C]` predictions.
      features: `[N, D]`, what the last layer sees.
      is_counted: `[N]` bool.
    """
    product = functools.partial(jnp.matmul, precision="highest")
    weights = is_counted.astype(probs.dtype)[:, None]
    probs, features = probs * weights, full_precision(features) * weights
    # Masked rows are zeros, and p sums to one or to nothing.
    return KroneckerSums(
        probs.sum(0),
        product(probs.T, probs),
        product(features.T, features),
        weights.sum(),
    )


def kronecker_posterior(
    sums: KroneckerSums, prior_precision: float | Array
) -> KroneckerPosterior:
    """Returns the posterior of `kronecker_draws`, from sums over labelled rows."""
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
    product = functools.partial(jnp.matmul, precision="highest")
    u, v, root = posterior
    noise = jax.random.normal(key, (num_samples, *root.shape), root.dtype)
    # The symmetric root: eigenvectors of equal eigenvalues are up to rounding.
    scaled = product(product(u.T, noise), v) / root[None]
    return product(product(u, scaled), v.T)


def laplace_logits(draws: Array, logits: Array, features: Array) -> Array:
    """Returns logits of drawn last layers, `[S, B, C]`.

    Args:
      draws: `[S, C, D]` from `laplace_draws`.
      logits: `[B, C]` of the trained network.
      features: `[B, D]`, what its last layer sees.

    Returns:
      `[S, B, C]` logits, for `bald`, `batch_bald`, `epig` and the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> logits, features = jnp.zeros((1, 2)), jnp.ones((1, 1))
      >>> laplace_logits(jnp.array([[[1.0], [2.0]]]), logits, features).tolist()
      [[[1.0, 2.0]]]
    """
    _check(logits, features)
    checks.check_rank("draws", draws, 3, "[S, C, D]", "Pass laplace_draws(...).")
    _check_fits(draws[0], logits, features)
    logits, features = full_precision(logits), full_precision(features)
    moved = jnp.einsum("scd,bd->sbc", draws.astype(features.dtype), features)
    return logits[None] + moved.astype(logits.dtype)


@jax.jit
def _fit(
    logits: Array, features: Array, is_labelled: Array, prior_precision: float | Array
) -> LaplacePosterior:
    num_classes, width = logits.shape[1], features.shape[1]
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    precision = softmax_curvature(probs, features, is_labelled)
    return full_posterior(precision, (num_classes, width), prior_precision)


def full_posterior(
    curvature: Array, shape: tuple[int, int], prior_precision: float | Array
) -> LaplacePosterior:
    """Returns the posterior of a layer `[C, D]` from its curvature `[C D, C D]`."""
    identity = jnp.eye(curvature.shape[0], dtype=curvature.dtype)
    root = linalg.cholesky(curvature + prior_precision * identity)
    factor = linalg.solve_lower(root, identity)
    return LaplacePosterior(jnp.zeros(shape, curvature.dtype), factor.T)


@jax.jit
def _update(
    posterior: LaplacePosterior,
    logits: Array,
    features: Array,
    is_new: Array,
    labels: Array | None,
) -> LaplacePosterior:
    features = features.astype(jnp.float32)
    mean = logits.astype(jnp.float32) + jnp.matmul(
        features, posterior.shift.T, precision="highest"
    )
    probs = jax.nn.softmax(mean)

    def add(factor: Array, row: tuple[Array, Array, Array]) -> tuple[Array, None]:
        probs, features, is_new = row
        outputs = (jnp.eye(probs.size) - probs[:, None]) * jnp.sqrt(probs)[None]
        columns = (outputs[:, None, :] * features[None, :, None]) * is_new
        return _shrink(factor, columns.reshape(-1, probs.size)), None

    factor, _ = jax.lax.scan(add, posterior.factor, (probs, features, is_new))
    if labels is None:
        return posterior._replace(factor=factor)
    errors = (jax.nn.one_hot(labels, probs.shape[1]) - probs) * is_new[:, None]
    gradient = jnp.matmul(errors.T, features, precision="highest")
    step = factor @ (factor.T @ gradient.reshape(-1))
    return LaplacePosterior(posterior.shift + step.reshape(gradient.shape), factor)


def _shrink(factor: Array, columns: Array) -> Array:
    """Square root of `(A A^T)` after information `V V^T` (Andrews' form of Potter's).

    With `B = A^T V` and `L L^T = I + B^T B` it is `A (I - B L^-T (L + I)^-1 B^T)`.
    """
    product = functools.partial(jnp.matmul, precision="highest")
    seen = product(factor.T, columns)
    identity = jnp.eye(columns.shape[1])
    root = linalg.cholesky(identity + product(seen.T, seen))
    inner = linalg.solve_lower(root + identity, seen.T)
    inner = linalg.solve_lower_transposed(root, inner)
    return factor - product(product(factor, seen), inner)


@jax.jit
def _moments(
    posterior: LaplacePosterior, logits: Array, features: Array
) -> tuple[Array, Array]:
    num_classes, width = posterior.shift.shape
    by_class = posterior.factor.reshape(num_classes, width, -1)

    def covariance(row: Array) -> Array:
        seen = jnp.einsum("d,cdp->cp", row, by_class, precision="highest")
        return jnp.matmul(seen, seen.T, precision="highest")

    features = features.astype(jnp.float32)
    covariances = jax.lax.map(covariance, features, batch_size=64)
    shift = jnp.matmul(features, posterior.shift.T, precision="highest")
    return logits.astype(jnp.float32) + shift, covariances


def full_precision(values: Array) -> Array:
    """Returns floating numbers as they are, of half precision as float32."""
    is_half = jnp.finfo(values.dtype).bits < 32
    return values.astype(jnp.float32) if is_half else values


def _check(logits: Array, features: Array) -> None:
    cure = "Pass what the last layer gives and what it sees, a row for each example."
    checks.check_rank("logits", logits, 2, "[N, C]", cure)
    checks.check_rank("features", features, 2, "[N, D]", cure)
    checks.check_floating("logits", logits, "Cast them to float32.")
    checks.check_floating("features", features, "Cast them to float32.")
    if logits.shape[0] != features.shape[0]:
        raise ValueError(
            f"features has {features.shape[0]} rows, logits {logits.shape[0]}. {cure}"
        )


def _check_fits(layer: Array, logits: Array, features: Array) -> None:
    found = (logits.shape[1], features.shape[1])
    if layer.shape != found:
        raise ValueError(
            f"logits and features make a layer [C, D] of {list(found)}, expected "
            f"{list(layer.shape)}. Pass rows of the network the posterior was made for."
        )
