"""Combinations that have a name in the field, with settings that are usual for them."""

from jaxal.registry import register, strategy
from jaxal.strategies.catalogue import badge
from jaxal.strategies.combinators import schedule, stochastic
from jaxal.strategies.shortlists import partition, uncertain_then_diverse
from jaxal.types import Strategy


@register(
    "tcm",
    small={"transition": 10},
    family="coverage, then uncertainty",
    cost="O((K + L) N D), then O(N C)",
)
def tcm(*, transition: int = 100, first: Strategy | None = None) -> Strategy:
    """Returns TCM: diversity until there are some labels, margin from then on.

    Args:
      transition: labelled rows from which margin chooses. The paper changes over early;
        100 is ten a class of ten classes, a choice made here.
      first: who chooses before that; TypiClust, as in the paper, by default.

    Reference:
      Doucet et al., "Bridging Diversity and Uncertainty in Active Learning with
      Self-Supervised Pre-Training", 2024. https://arxiv.org/abs/2403.03728
    """
    return schedule(
        [strategy("typiclust") if first is None else first, strategy("margin")],
        [transition],
    )


@register(
    "power_bald",
    family="disagreement, drawn",
    cost="O(S N C)",
    budget="many labels",
)
def power_bald(*, coldness: float = 1.0) -> Strategy:
    """Returns PowerBALD: rows drawn in proportion to a power of their BALD score.

    Args:
      coldness: the power; the default is the paper's.

    Reference:
      Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning", TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    return stochastic(strategy("bald"), "power", coldness)


@register(
    "softmax_bald",
    family="disagreement, drawn",
    cost="O(S N C)",
    budget="many labels",
)
def softmax_bald(*, coldness: float = 1.0) -> Strategy:
    """Returns SoftmaxBALD: rows drawn in proportion to `exp(coldness * BALD)`.

    Args:
      coldness: the default is the paper's.

    Reference:
      Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning", TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    return stochastic(strategy("bald"), "softmax", coldness)


@register(
    "softrank_bald",
    family="disagreement, drawn",
    cost="O(S N C + N log N)",
    budget="many labels",
)
def softrank_bald(*, coldness: float = 1.0) -> Strategy:
    """Returns SoftrankBALD: rows drawn in proportion to a power of 1 / BALD rank.

    Args:
      coldness: the power; the default is the paper's.

    Reference:
      Kirsch et al., "Stochastic Batch Acquisition: A Simple Baseline for Deep Active
      Learning", TMLR 2023. https://arxiv.org/abs/2106.12059
    """
    return stochastic(strategy("bald"), "softrank", coldness)


@register(
    "badge_partitioned",
    small={"parts": 3},
    family="gradients, diverse",
    cost="O(K N (C + D) / parts)",
    budget="many labels",
)
def badge_partitioned(*, parts: int = 10) -> Strategy:
    """Returns BADGE in each of several random parts of the pool.

    Args:
      parts: how many; studies choose as many as memory asks for.

    Reference:
      Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
      Bounds", ICLR 2020. https://arxiv.org/abs/1906.03671; in parts: Citovsky et al.,
      "Batch Active Learning at Scale", NeurIPS 2021. https://arxiv.org/abs/2107.14263
    """
    return partition(badge(), parts)


@register(
    "uncertain_coreset",
    small={"factor": 2},
    family="uncertainty, then coverage",
    cost="O(N C + (K + L) (10 K + L) D)",
    budget="many labels",
)
def uncertain_coreset(*, factor: int = 10) -> Strategy:
    """Returns Core-set among the rows of the smallest margin.

    Args:
      factor: rows of the shortlist for each pick.

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019 (with k-means in the place of
      Core-set). https://arxiv.org/abs/1901.05954
    """
    return uncertain_then_diverse(strategy("margin"), strategy("coreset"), factor)
