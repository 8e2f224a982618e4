"""Monte Carlo dropout: one mask a sample, for the whole pool."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from jaxal.checks import check_positive
from jaxal.pools.inputs import one_row
from jaxal.posteriors.networks import (
    by_samples,
    deterministic,
    mean_probabilities,
    output_of,
)
from jaxal.types import Inputs, Model, Output, Posterior, Variables

# Calls whose arguments and results are those of the jaxpr inside, one by one.
_CALLS = {"pjit", "jit", "closed_call", "checkpoint", "custom_jvp_call"}
_CALLS |= {"custom_vjp_call", "remat2"}
_NO_DROPOUT = (
    "The network's outputs do not depend on the key, so {} dropout masks would all "
    "agree. Give it dropout that a key switches on, or ask deterministic(model), an "
    "ensemble, or laplace(model) instead."
)


def mc_dropout(
    model: Model,
    num_samples: int = 20,
    *,
    combine: Callable[[Array], Array] = mean_probabilities,
) -> Posterior:
    r"""Returns Monte Carlo dropout: the network under `S` random masks.

    $p(y \mid x) \approx \frac1S \sum_s p(y \mid x, \omega_s)$, where $\omega_s$ are the
    weights under the s-th mask. **A mask is drawn once per sample and shared by every
    row**, so that sample s is one function of the input: joint entropies of several
    rows mean something, and neither chunks nor shards change a score. Parts of the
    network before the first dropout are computed once, not `S` times.

    Args:
      model: a network with dropout that a key switches on.
      num_samples: the number of masks `S`.
      combine: from the masks' outputs `[S, B, C]` to the prediction `[B, C]`; for
        regression `combine_gaussians`.

    Returns:
      A `Posterior`; it predicts the mean over masks, as papers report, and its
      `network` is the one without dropout.

    Raises:
      ValueError: `num_samples` is not positive; or, when it is asked for samples, the
        network's outputs do not depend on a key: all masks would agree.

    Example:
      >>> from jaxal import mc_dropout
      >>> from jaxal.models import mlp
      >>> mc_dropout(mlp(3, dropout=0.5), num_samples=8).num_samples
      8

    Reference:
      Gal and Ghahramani, "Dropout as a Bayesian Approximation: Representing Model
      Uncertainty in Deep Learning", ICML 2016. https://arxiv.org/abs/1506.02142
    """
    check_positive(num_samples=num_samples)

    def sample(key: Array, variables: Variables, inputs: Array) -> Output:
        def on_row(key: Array, row: Inputs) -> Array:
            alone = jax.tree.map(lambda leaf: leaf[None], row)
            return output_of(model, variables, alone, key=key).logits[0]

        if num_samples > 1 and not _reads_key(on_row, key, inputs):
            raise ValueError(_NO_DROPOUT.format(num_samples))
        # Rows are mapped inside a sample, all with its key: one mask for the pool.
        one_mask = jax.vmap(on_row, in_axes=(None, 0))
        keys = jax.random.split(key, num_samples)
        return Output(jax.vmap(one_mask, in_axes=(0, None))(keys, inputs))

    network = deterministic(model).network
    return by_samples(num_samples, sample, network, combine=combine)


def _reads_key(fn: Callable[[Array, Array], Array], key: Array, inputs: Array) -> bool:
    """Whether what `fn(key, row)` returns may depend on the key: from shapes alone."""
    struct = jax.ShapeDtypeStruct((), key.dtype)
    jaxpr = jax.make_jaxpr(fn)(struct, one_row(inputs)).jaxpr
    return any(_reached(jaxpr, [True] + [False] * (len(jaxpr.invars) - 1)))


def _reached(jaxpr: Any, is_marked: list[bool]) -> list[bool]:
    """Which results may depend on the marked arguments; never less than do."""
    pairs = zip(jaxpr.invars, is_marked, strict=True)
    known = {id(var) for var, marked in pairs if marked}
    for eqn in jaxpr.eqns:
        hit = [id(var) in known for var in eqn.invars]
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if eqn.primitive.name in _CALLS and inner is not None:
            found = _reached(getattr(inner, "jaxpr", inner), hit)
        else:
            found = [any(hit)] * len(eqn.outvars)
        pairs = zip(eqn.outvars, found, strict=True)
        known |= {id(var) for var, reached in pairs if reached}
    return [id(var) in known for var in jaxpr.outvars]
