"""EPIG: rows whose label says most about predictions that will be wanted."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import scores
from jaxal.checks import check_positive
from jaxal.modes import any_promotion
from jaxal.readings import field, masked
from jaxal.registry import register
from jaxal.selection import top_k
from jaxal.selection.subsets import random_subset
from jaxal.types import Selection, Strategy, View, stateless


@register(
    "epig",
    small={"num_targets": 9},
    family="expected information",
    cost="O(S N M C^2), M targets",
)
def epig(
    *,
    num_targets: int = 100,
    targets: Array | None = None,
    target_samples: Array | None = None,
) -> Strategy:
    r"""Returns EPIG: rows whose label says most about predictions on target inputs.

    $\mathbb{E}_{x_*} I(y; y_* \mid x, x_*)$. Where predictions will be wanted is said
    by the targets: by default rows of the pool drawn afresh each round; or rows named
    by number, which may be rows of the pool that are not for sale; or sample logits
    made elsewhere, for a posterior that does not change.

    Cost: `S N M C^2` operations in blocks, and all samples `[S, N, C]` in memory.

    Args:
      num_targets: how many rows to draw, M. The default is that of the authors' code.
      targets: `[M]` row numbers of the pool, in place of drawing.
      target_samples: `[S, M, C]` logits, in place of rows; of the same S networks (and
        dropout masks) as the view's.

    Raises:
      ValueError: `num_targets` is not positive, or targets are given in two ways.

    Reference:
      Bickford Smith et al., "Prediction-Oriented Bayesian Active Learning", AISTATS
      2023. https://arxiv.org/abs/2304.08151
    """
    check_positive(num_targets=num_targets)
    if targets is not None and target_samples is not None:
        raise ValueError(
            "epig was given targets and target_samples. Pass row numbers of the pool, "
            "or sample logits of other inputs."
        )

    @any_promotion
    def utility(key: Array, view: View) -> Array:
        key_targets = jax.random.split(key)[0]
        samples = field(masked(view), "samples")
        others, is_target = target_samples, None
        if others is None:
            rows, is_target = _targets(key_targets, view, targets, num_targets)
            others = samples[:, rows]
        return scores.epig(samples, others, is_target=is_target)

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth, key_ties = utility(key, view), jax.random.split(key)[1]
        return top_k(key_ties, worth, view.is_available, batch_size=batch_size)

    return stateless({"samples"}, select, utility=utility, reads_classes=True)


def _targets(
    key: Array, view: View, targets: Array | None, num_targets: int
) -> tuple[Array, Array]:
    if targets is None:
        return random_subset(key, view.is_available | view.is_labelled, num_targets)
    return jnp.asarray(targets), jnp.ones(len(targets), bool)
