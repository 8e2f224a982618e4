"""From a model to predictive samples: one network, dropout masks, or an ensemble."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.types import Model, Output, Posterior, Variables


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

    def predict(variables: Variables, inputs: Array) -> Output:
        return model.apply(variables, inputs)[0]

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        del key
        output = predict(variables, inputs)
        return Output(output.logits[None], output.features)

    return Posterior(1, sample, predict)


def mc_dropout(model: Model, num_samples: int = 20) -> Posterior:
    r"""Returns Monte Carlo dropout: the network under `S` random masks.

    $p(y \mid x) \approx \frac1S \sum_s p(y \mid x, \omega_s)$, where $\omega_s$ are the
    weights under the s-th mask. **A mask is drawn once per sample and shared by every
    row**, so that sample s is one function of the input: joint entropies of several
    rows mean something, and neither chunks nor shards change a score. Parts of the
    network before the first dropout are computed once, not `S` times.

    Args:
      model: a network with dropout that a key switches on.
      num_samples: the number of masks `S`.

    Returns:
      A `Posterior`; its `predict` is the network without dropout.

    Raises:
      ValueError: `num_samples` is not positive.

    Example:
      >>> from jaxal import mc_dropout
      >>> from jaxal.models import mlp
      >>> mc_dropout(mlp(3, dropout=0.5), num_samples=8).num_samples
      8

    Reference:
      Gal and Ghahramani, "Dropout as a Bayesian Approximation: Representing Model
      Uncertainty in Deep Learning", ICML 2016. https://arxiv.org/abs/1506.02142
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}, expected at least 1 mask.")
    single = deterministic(model)

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        def one_row(key: Array, row: Array) -> Array:
            return model.apply(variables, row[None], key=key)[0].logits[0]

        # Rows are mapped inside a sample, all with its key: one mask for the pool.
        one_mask = jax.vmap(one_row, in_axes=(None, 0))
        return Output(jax.vmap(one_mask, in_axes=(0, None))(_split(key), inputs))

    def _split(key: Array) -> Array:
        return jax.random.split(key, num_samples)

    return Posterior(num_samples, sample, single.predict)


def mean_probabilities(logits: Array) -> Array:
    """Returns logits `[B, C]` of the mean of the probabilities of `[S, B, C]` logits.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.posteriors.networks import mean_probabilities
      >>> two = jnp.log(jnp.array([[[0.5, 0.5]], [[1.0, 0.0]]]))
      >>> jnp.exp(mean_probabilities(two)).round(2).tolist()
      [[0.75, 0.25]]
    """
    log_probs = jax.nn.log_softmax(logits)
    count = jnp.log(logits.shape[0]).astype(log_probs.dtype)
    return jax.nn.logsumexp(log_probs, axis=0) - count


def deep_ensemble(
    model: Model,
    members: int = 5,
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
) -> Posterior:
    r"""Returns an ensemble: `S` networks trained from different random weights.

    The prediction used for metrics is the mean of the members' probabilities,
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

    def every(variables: Variables, inputs: Array) -> Output:
        return jax.vmap(lambda v: model.apply(v, inputs)[0])(variables)

    def predict(variables: Variables, inputs: Array) -> Output:
        outputs = every(variables, inputs)
        return Output(combine(outputs.logits), _first(outputs.features))

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        del key
        outputs = every(variables, inputs)
        return Output(outputs.logits, _first(outputs.features))

    return Posterior(members, sample, predict, members)


def _first(features: Array | None) -> Array | None:
    return None if features is None else features[0]
