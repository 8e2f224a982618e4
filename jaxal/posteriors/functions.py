"""Functions drawn elsewhere: Gaussian processes, and whatever else gives draws."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.checks import check_positive
from jaxal.pools.inputs import num_rows
from jaxal.posteriors.networks import by_samples, mean_probabilities
from jaxal.types import Output, Posterior

Moments = Callable[[Any, Array], tuple[Array, Array]]


def drawn_functions(
    fn: Callable[[Array, Any, Array], Array],
    num_samples: int,
    *,
    network: Callable[[Any, Array], Array],
    combine: Callable[[Array], Array] | None = None,
    is_joint: bool = True,
) -> Posterior:
    """Returns the posterior whose samples are functions that you draw.

    Args:
      fn: from `(key, state, inputs[N])` to draws `[S, N, C]`: sample s is one function,
        with equal values on equal rows. The state is what the learner's `fit` returns.
      num_samples: the number of draws, `S`.
      network: from `(state, inputs[N])` to `[N, C]`, what is said without chance.
      combine: from `[S, N, C]` to the prediction `[N, C]`; by default the mean of the
        probabilities, of one output the mean.
      is_joint: whether `fn` has to see all rows at once, as one that draws from their
        covariance. One that takes rows by themselves, as random features or pathwise
        samples, is asked in chunks: pass False, and draw from the key alone.

    Returns:
      A `Posterior`; hand it to a loop with `model=None`.

    Raises:
      ValueError: `num_samples` is not positive; or, when it is asked, the draws have
        another shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import drawn_functions
      >>> def waves(key, state, inputs):
      ...   phases = jax.random.uniform(key, [3, 1, 2], maxval=2 * jnp.pi)
      ...   return jnp.sin(inputs[None, :, :1] + phases)
      >>> posterior = drawn_functions(
      ...     waves, 3, network=lambda state, x: jnp.zeros([x.shape[0], 2]),
      ...     is_joint=False)
      >>> key, inputs = jax.random.key(0), jnp.ones([5, 1])
      >>> posterior.predict(key, {}, inputs).logits.shape
      (5, 2)
    """
    check_positive(num_samples=num_samples)

    def sample(key: Array, state: Any, inputs: Array) -> Output:
        draws = fn(key, state, inputs)
        expected = (num_samples, num_rows(inputs))
        if draws.ndim != 3 or draws.shape[:2] != expected:
            raise ValueError(
                f"Draws have shape {list(draws.shape)}, expected [S, N, C] with S, N = "
                f"{list(expected)}. A single output is [S, N, 1]."
            )
        return Output(draws)

    return by_samples(
        num_samples,
        sample,
        lambda state, inputs: Output(network(state, inputs)),
        combine=_mean if combine is None else combine,
        is_joint=is_joint,
    )


def gaussian_functions(
    mean_and_cov: Moments,
    num_samples: int = 20,
    *,
    to_logits: Callable[[Array], Array] = lambda draws: draws,
) -> Posterior:
    r"""Returns the posterior whose samples are jointly Gaussian over all rows.

    $f_s = \mu + \Sigma^{1/2} z_s$ with the symmetric root, eigenvalues that rounding
    made negative being zero; no jitter is added, so equal rows have equal draws.
    Mean and covariance come from GPJax, tinygp, or anything that JAX can trace, and
    from scikit-learn through `jax.pure_callback`.
    Cost: `C N^3` operations and `C N^2` numbers.

    Args:
      mean_and_cov: from `(state, inputs[N])` to the mean `[N]` or `[N, C]` and the
        covariance `[N, N]`, shared by C functions, or `[C, N, N]`.
      num_samples: the number of draws, `S`.
      to_logits: from draws `[S, N, C]` to outputs, by default as they are: a
        regression with C = 1, or logits. For one latent function of two classes
        `lambda f: jnp.concatenate([0 * f, f], -1)`.

    Returns:
      A joint `Posterior`: its rows are never chunked.

    Raises:
      ValueError: as `drawn_functions`; or the covariance has another shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import gaussian_functions
      >>> def prior(state, inputs):
      ...   gap = inputs - inputs.T
      ...   return jnp.zeros(inputs.shape[0]), jnp.exp(-(gap**2))
      >>> inputs = jnp.array([[0.0], [5.0], [0.0]])
      >>> draws = gaussian_functions(prior, 4).sample(jax.random.key(0), {}, inputs)
      >>> bool(jnp.allclose(draws.logits[:, 0], draws.logits[:, 2], atol=1e-3))
      True

    Reference:
      Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, A.2.
      https://gaussianprocess.org/gpml
    """

    def moments(state: Any, inputs: Array) -> tuple[Array, Array]:
        mean, covariance = (jnp.asarray(x) for x in mean_and_cov(state, inputs))
        mean = mean[:, None] if mean.ndim == 1 else mean
        size = num_rows(inputs)
        if covariance.ndim == 2:
            covariance = covariance[None]
        if mean.shape[0] != size or covariance.shape[1:] != (size, size):
            raise ValueError(
                f"mean_and_cov gave shapes {list(mean.shape)} and "
                f"{list(covariance.shape)}, expected [N, C] and [C, N, N] or [N, N] "
                f"with N = {size}. Return the covariance of all rows, not variances."
            )
        return mean, covariance

    def draw(key: Array, state: Any, inputs: Array) -> Array:
        mean, covariance = moments(state, inputs)
        roots = jax.vmap(_symmetric_root)(covariance)
        noise = jax.random.normal(key, (num_samples, *mean.T.shape), mean.dtype)
        roots = jnp.broadcast_to(roots, (mean.shape[1], *roots.shape[1:]))
        moved = jnp.einsum("cnm,scm->snc", roots, noise, precision="highest")
        return to_logits(mean[None] + moved)

    def network(state: Any, inputs: Array) -> Array:
        return to_logits(moments(state, inputs)[0][None])[0]

    return drawn_functions(draw, num_samples, network=network)


def _symmetric_root(covariance: Array) -> Array:
    values, vectors = linalg.eigh(covariance)
    scaled = vectors * jnp.sqrt(jnp.maximum(values, 0))[None]
    return linalg.product(scaled, vectors.T)


def _mean(draws: Array) -> Array:
    return draws.mean(0) if draws.shape[-1] == 1 else mean_probabilities(draws)
