"""Diverse mini-batches: clusters of uncertain rows, weighted by their doubt."""

from jaxal.readings import by_selector, features, logits, read
from jaxal.registry import register
from jaxal.scores import margin
from jaxal.selection import k_means_nearest
from jaxal.strategies.shortlists import uncertain_then_diverse
from jaxal.types import Strategy


@register(
    "dbal",
    small={"factor": 2},
    family="uncertainty, clusters",
    cost="O(N C), then O(K M D) a step of k-means, M = 10 K",
    budget="many labels",
)
def dbal(*, factor: int = 10, num_steps: int = 25) -> Strategy:
    r"""Returns diverse mini-batch active learning: weighted k-means on a shortlist.

    The `factor K` rows whose two best classes are closest are clustered into K clusters
    by $\sum_n u_n |h_n - c(n)|^2$ with the margin score $u_n = 1 - (p_1 - p_2)$ as
    weight, and the row nearest to each mean is picked.

    Args:
      factor: rows of the shortlist for each pick; 10 to 50 in the paper.
      num_steps: the most steps of k-means.

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019.
      https://arxiv.org/abs/1901.05954
    """
    diverse = by_selector(
        k_means_nearest,
        features,
        weights=read(margin, logits),
        is_labelled=None,
        num_steps=num_steps,
    )
    # Labelled rows are neither clustered nor avoided, so none are gathered.
    return uncertain_then_diverse(margin, diverse, factor, max_labelled=0)
