"""Exact Gaussian processes for regression, their lengths by marginal likelihood."""

import math
from functools import partial

import jax.numpy as jnp
from jax import Array

from jaxal.training.heads.conditioning import (
    Response,
    fit_process,
    means_and_variances,
    process_model,
    process_posterior,
)
from jaxal.training.heads.kernels import Kernel, log_density, noise_of
from jaxal.training.heads.linear import Head, solved
from jaxal.training.regression import gaussian_likelihood
from jaxal.training.targets import target_units
from jaxal.types import Model, Output, Posterior, Variables

_MOST_CHOOSING = 512  # rows whose likelihood chooses lengths


def gaussian_process_head(
    kernel: Kernel = "matern",
    *,
    capacity: int = 1000,
    num_samples: int = 20,
    warp: bool = True,
) -> Head:
    r"""Returns an exact Gaussian process with a length a column.

    $f \sim \mathcal{GP}(\bar y, k)$, $y = f + \epsilon$, columns and targets
    scaled to a deviation of one inside; predictions are in the units of the targets.
    Lengths, amplitude and noise maximise the marginal likelihood of at most 512
    labelled rows times priors, and are fitted anew, from those of before, when labels
    have grown by half; every labelled row conditions the function. Where labels are
    likelier by a nat if columns are bent to look normal over the pool (Yeo and
    Johnson's power of each, from its 5 % quantile on), they are.

    Cost: `L^3 / 3` operations a round and `L^2` numbers for a capacity of L, up to some
    5,000; draws of the posterior are joint, `N^3` for a view of N rows.

    Args:
      kernel: "matern" (5/2) or "rbf".
      capacity: the most labelled rows there will ever be; a loop refuses to buy more.
      num_samples: functions that `posterior` draws.
      warp: whether columns may be bent.

    Returns:
      A `Head` whose outputs are mean and log-variance, for a `regression_pool`.

    Raises:
      ValueError: a setting is out of its range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import gaussian_process_head, regression_pool
      >>> inputs = jnp.linspace(0.0, 6.0, 40)[:, None]
      >>> pool = regression_pool(inputs, 100 + jnp.sin(inputs[:, 0]))
      >>> head = gaussian_process_head(capacity=40)
      >>> state = head.learner.init(jax.random.key(0), pool.inputs)
      >>> state, _ = jax.jit(head.learner.fit)(jax.random.key(1), state, pool)
      >>> float(head.learner.evaluate(state, inputs, pool.labels).rmse) < 0.05
      True

    Reference:
      Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, 2.2 and
      5.4. https://gaussianprocess.org/gpml
    """
    model = process_model(kernel, capacity, 1, partial(_outputs, kernel), warp)
    fit = partial(
        fit_process, kernel, _respond, _MOST_CHOOSING, math.inf, True, _evidence
    )
    learner = solved(model, fit, gaussian_likelihood, capacity)
    return Head(model, learner, _posterior(kernel, model, num_samples))


def _respond(labels: Array, is_used: Array) -> Response:
    targets = labels.astype(jnp.promote_types(labels.dtype, jnp.float32))
    units = target_units(targets, is_used)
    targets = jnp.where(is_used, units.inwards(targets), 0)[None]
    return Response(targets, jnp.zeros_like(targets), units)


def _outputs(kernel: Kernel, variables: Variables, inputs: Array) -> Array:
    (mean,), (left,) = means_and_variances(kernel, variables, inputs)
    return variables["units"].outwards(mean, left + noise_of(variables["params"]))


def _evidence(variables: Variables, response: Response) -> Array:
    """Nats a label that the process did not expect."""
    known = variables["known"]
    evidence = log_density(known.factor, known.half).sum()
    each = -evidence / jnp.maximum(known.is_used.sum(), 1).astype(evidence.dtype)
    return each + jnp.log(2 * jnp.pi) / 2 + jnp.log(response.units.deviation)


def _posterior(kernel: Kernel, model: Model, num_samples: int) -> Posterior:
    joint = process_posterior(kernel, model, num_samples)

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        draws = joint.sample(key, variables, inputs).logits[..., 0]
        units = variables["units"]
        inner = (draws - units.mean) / units.deviation
        return Output(units.outwards(inner, noise_of(variables["params"])))

    return joint._replace(sample=sample)
