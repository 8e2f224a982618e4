"""From a model to predictive samples: one network, an ensemble, or draws of its own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.checks import check_positive
from jaxal.modes import in_any_mode
from jaxal.pools.inputs import num_rows
from jaxal.types import Inputs, Model, Output, Posterior, Variables, same_variables


def mean_probabilities(logits: Array) -> Array:
    """Returns logits `[B, C]` of the mean of the probabilities of `[S, B, C]` logits.

    Raises:
      ValueError: there is one output, as in regression.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.posteriors.networks import mean_probabilities
      >>> two = jnp.log(jnp.array([[[0.5, 0.5]], [[1.0, 0.0]]]))
      >>> jnp.exp(mean_probabilities(two)).round(2).tolist()
      [[0.75, 0.25]]
    """
    if logits.shape[-1] == 1:
        raise ValueError(
            f"logits has shape {list(logits.shape)}: one output is no distribution "
            "over classes. For regression pass combine=combine_gaussians."
        )
    log_probs = jax.nn.log_softmax(logits)
    count = jnp.log(logits.shape[0]).astype(log_probs.dtype)
    return jax.nn.logsumexp(log_probs, axis=0) - count


def by_samples(
    num_samples: int,
    sample: Callable[[Array, Any, Array], Output],
    network: Callable[[Any, Array], Output],
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
    fit: Callable[[Array, Any, Any], Any] = same_variables,
    members: int | None = None,
    is_joint: bool = False,
) -> Posterior:
    r"""Returns the posterior that predicts the mean of its samples.

    Args:
      num_samples: `S`.
      sample: from `(key, state, inputs[B])` to logits `[S, B, C]`.
      network: from `(state, inputs[B])` to logits and features, without chance.
      combine: from `[S, B, C]` to the prediction `[B, C]`: the logarithm of
        $\frac1S \sum_s p_s(y \mid x)$; for regression `combine_gaussians`.
      fit: from `(key, variables, pool)` to the state.
      members: leading axis of the variables, None where there is none.
      is_joint: whether a sample needs all rows at once.

    Returns:
      A `Posterior`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import Output
      >>> from jaxal.posteriors.networks import by_samples
      >>> def sample(key, state, inputs):
      ...   return Output(jax.random.normal(key, [4, 1, 2]) * inputs[None])
      >>> posterior = by_samples(4, sample, lambda state, inputs: Output(0 * inputs))
      >>> posterior.predict(jax.random.key(0), {}, jnp.ones([3, 2])).logits.shape
      (3, 2)
    """

    def predict(key: Array, state: Any, inputs: Array) -> Output:
        output = sample(key, state, inputs)
        return Output(combine(output.logits), output.features)

    return in_any_mode(
        Posterior(num_samples, sample, predict, network, fit, members, is_joint)
    )


def by_members(
    num_samples: int,
    every: Callable[[Any, Array], Output],
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
    members: int | None = None,
) -> Posterior:
    """Returns the posterior of networks that are asked without chance.

    Args:
      num_samples: `S`.
      every: from `(state, inputs[B])` to logits `[S, B, C]` of all networks, and
        features of one.
      combine: as for `by_samples`; it makes the `network` too.
      members: as for `by_samples`.
    """

    def sample(key: Array, state: Any, inputs: Array) -> Output:
        del key
        return every(state, inputs)

    def network(state: Any, inputs: Array) -> Output:
        output = every(state, inputs)
        return Output(combine(output.logits), output.features)

    return by_samples(num_samples, sample, network, combine=combine, members=members)


def output_of(
    model: Model, variables: Variables, inputs: Inputs, **settings: Any
) -> Output:
    """Returns what a model says of rows, where it says that in the form it should.

    Args:
      model: the network.
      variables: of it.
      inputs: `[B, ...]`.
      **settings: of `model.apply`, such as `key`.

    Raises:
      TypeError: `apply` does not return an output and variables.
      ValueError: logits are not `[B, C]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import Model
      >>> from jaxal.posteriors.networks import output_of
      >>> model = Model(lambda key, x: {}, lambda variables, x: x)
      >>> try:
      ...   output_of(model, {}, jnp.zeros([3, 2]))
      ... except TypeError as error:
      ...   print(str(error)[:46])
      model.apply returned an array of shape [3, 2],
    """
    found = model.apply(variables, inputs, **settings)
    if not isinstance(found, tuple) or len(found) != 2 or not _is_output(found[0]):
        parts = found if type(found) is tuple else (found,)
        what = ", ".join(map(_kind, parts))
        raise TypeError(
            f"model.apply returned {what}, expected (Output(logits, features), "
            "variables): logits [B, C], features [B, D] or None, and the variables as "
            "they are or updated. jaxal.models.from_linen and from_nnx do so."
        )
    checks.check_field("logits", found[0].logits, num_rows(inputs))
    return found[0]


def _is_output(found: Any) -> bool:
    return hasattr(found, "logits") and hasattr(found, "features")


def _kind(found: Any) -> str:
    shape = getattr(found, "shape", None)
    name = type(found).__name__
    return name if shape is None else f"an array of shape {list(shape)}"


def deterministic(model: Model) -> Posterior:
    """Returns the posterior that is the network itself: one sample, no dropout.

    Args:
      model: the network.

    Returns:
      A `Posterior` with `num_samples = 1`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import Model, Output, deterministic
      >>> def apply(variables, inputs, *, key=None, train=False):
      ...   return Output(inputs @ variables["params"], inputs), variables
      >>> model = Model(lambda key, x: {"params": jnp.ones([2, 3])}, apply)
      >>> variables = model.init(jax.random.key(0), jnp.ones([1, 2]))
      >>> posterior = deterministic(model)
      >>> posterior.sample(jax.random.key(1), variables, jnp.ones([4, 2])).logits.shape
      (1, 4, 3)
    """

    def network(variables: Variables, inputs: Array) -> Output:
        return output_of(model, variables, inputs)

    def predict(key: Array, variables: Variables, inputs: Array) -> Output:
        del key
        return network(variables, inputs)

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        output = predict(key, variables, inputs)
        return Output(output.logits[None], output.features)

    return Posterior(1, sample, predict, network)


def deep_ensemble(
    model: Model,
    members: int = 5,
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
) -> Posterior:
    r"""Returns an ensemble: `S` networks trained from different random weights.

    The prediction is the mean of the members' probabilities,
    $\frac1S \sum_s p_s(y \mid x)$; its features are those of the first member, so that
    they live in one space. Variables carry a leading axis of `members`, as
    `supervised(model, members=members)` trains them, in one vmapped program.

    Args:
      model: the network every member has.
      members: how many there are, `S`.
      combine: from the members' outputs `[S, B, C]` to the prediction `[B, C]` used for
        metrics; for regression `jaxal.training.regression.combine_gaussians`.

    Returns:
      A `Posterior` with `num_samples = members`.

    Raises:
      ValueError: `members` is less than two.

    Example:
      >>> from jaxal import deep_ensemble
      >>> from jaxal.models import mlp
      >>> deep_ensemble(mlp(3), members=4).members
      4

    Reference:
      Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
      Uncertainty Estimation using Deep Ensembles", NeurIPS 2017.
      https://arxiv.org/abs/1612.01474
    """
    if members < 2:
        raise ValueError(
            f"members is {members}, expected at least 2. "
            "For a single network use deterministic(model)."
        )

    return drawn_parameters(model, members, combine=combine)


def drawn_parameters(
    model: Model,
    num_samples: int,
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
) -> Posterior:
    """Returns the posterior whose samples are parameters drawn elsewhere.

    A learner's state is the model's variables with a leading axis of `S` draws, as a
    Markov chain of BlackJAX or NumPyro makes them, thinned. Sample s is the network
    of draw s, for every row; nothing is left to chance here.

    Args:
      model: the network that takes one draw.
      num_samples: the number of draws, `S`.
      combine: from the draws' outputs `[S, B, C]` to the prediction `[B, C]`; for
        regression `combine_gaussians`.

    Returns:
      A `Posterior` whose prediction is the mean of the draws' probabilities; so is its
      `network`, with the features of the first draw, so that they live in one space.

    Raises:
      ValueError: `num_samples` is not positive; or the variables have another axis.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import drawn_parameters
      >>> from jaxal.models import logistic_regression
      >>> model, inputs = logistic_regression(2), jnp.ones([4, 3])
      >>> draws = jax.vmap(lambda key: model.init(key, inputs))(
      ...     jax.random.split(jax.random.key(0), 7))
      >>> posterior = drawn_parameters(model, num_samples=7)
      >>> posterior.sample(jax.random.key(1), draws, inputs).logits.shape
      (7, 4, 2)
    """
    check_positive(num_samples=num_samples)

    def every(variables: Variables, inputs: Array) -> Output:
        _check_draws(variables, num_samples)
        found = jax.vmap(lambda v: model.apply(v, inputs)[0])(variables)
        first = None if found.features is None else found.features[0]
        return Output(found.logits, first)

    return by_members(num_samples, every, combine=combine, members=num_samples)


def _check_draws(variables: Variables, num_samples: int) -> None:
    shapes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(variables)}
    if shapes - {(num_samples,)}:
        raise ValueError(
            f"The leading axes of the variables are {sorted(shapes)}, expected "
            f"{num_samples} networks in each. Train with as many members, or pass the "
            "number of draws there are."
        )
