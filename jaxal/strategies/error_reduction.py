"""Expected error reduction: every answer is learnt, to see what it does to the rest."""

import jax
from jax import Array

from jaxal import scores
from jaxal.checks import check_positive
from jaxal.embeddings.base import with_bias
from jaxal.modes import any_promotion
from jaxal.readings import field, masked
from jaxal.registry import register
from jaxal.selection import top_k
from jaxal.selection.subsets import in_pool, random_subset
from jaxal.types import Selection, Strategy, View, stateless

_CHUNK_ELEMENTS = 1 << 24


@register(
    "expected_error_reduction",
    most_classes=20,
    small={"num_candidates": 24, "num_targets": 9},
    family="expected error",
    cost="O((C D)^3 + B C^2 D (D + M)), B candidates, M targets",
    budget="few labels",
)
def expected_error_reduction(
    *,
    num_candidates: int = 512,
    num_targets: int = 512,
    loss: str = "log",
    prior_precision: float = 1.0,
    num_steps: int = 1,
    bias: bool = True,
) -> Strategy:
    """Returns the strategy that learns every answer and looks what it did to the rest.

    The last layer is retrained (`num_steps` Newton steps) on each candidate with each
    label; the candidates whose answers lower the expected loss of the other unlabelled
    rows most, weighted by how likely each answer is, are bought.
    Candidates and the rows whose loss counts are random subsets.

    Cost for B candidates, M targets and L labelled rows: `B C D (C D + C M)` and, once,
    `(C D)^2 (C D + L)` operations, and memory for a few matrices `[C D, C D]`: not for
    a thousand classes.

    Args:
      num_candidates: rows that are scored, B, drawn at random from the available ones;
        at least twice the batch is drawn, so that there is a choice.
      num_targets: available rows whose loss counts, M, drawn at random.
      loss: "log" (the entropy of the predictions) or "zero_one".
      prior_precision: how strongly the layer is held where it is, positive.
      num_steps: Newton steps of a retraining.
      bias: whether the last layer has a bias that is retrained too.

    Raises:
      ValueError: a number of rows is not positive.

    Reference:
      Roy and McCallum, "Toward Optimal Active Learning through Sampling Estimation of
      Error Reduction", ICML 2001. https://dl.acm.org/doi/10.5555/645530.655646
    """
    check_positive(num_candidates=num_candidates, num_targets=num_targets)
    settings = (num_targets, loss, prior_precision, num_steps, bias)

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        view = masked(view)
        keys = jax.random.split(key, 3)
        num = max(num_candidates, 2 * batch_size)
        rows, is_real = random_subset(keys[0], view.is_available, num)
        worth = _error_reduction(keys[1], view, rows, settings)
        picks = top_k(keys[2], worth, is_real, batch_size=batch_size)
        return in_pool(picks, rows, view.is_available)

    return stateless({"logits", "features", "labels"}, select, reads_classes=True)


def _error_reduction(key: Array, view: View, rows: Array, settings: tuple) -> Array:
    num_targets, loss, prior_precision, num_steps, bias = settings
    targets, is_target = random_subset(key, view.is_available, num_targets)
    features = field(view, "features")
    num_classes = field(view, "logits").shape[1]
    # A candidate holds a layer for each answer, [C, C, D]: fewer at once if large.
    size = num_classes**2 * (features.shape[1] + 1)
    return scores.expected_error_reduction(
        field(view, "logits"),
        with_bias(features) if bias else features,
        field(view, "labels"),
        view.is_labelled,
        candidates=rows,
        targets=targets,
        is_target=is_target,
        loss=loss,
        num_steps=num_steps,
        prior_precision=prior_precision,
        chunk_size=max(1, min(32, _CHUNK_ELEMENTS // size)),
    )
