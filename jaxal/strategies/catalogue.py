"""Strategies that are compositions: a reading, a selector, and what papers set."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, scores
from jaxal.embeddings import kl_embedding
from jaxal.modes import any_promotion
from jaxal.readings import by_selector, features, field, gradients, logits, masked, read
from jaxal.registry import register
from jaxal.selection import k_center, k_means_nearest, k_means_plus_plus, top_k
from jaxal.selection.engine.by_distance import First
from jaxal.types import Selection, Strategy, View, stateless


@register(
    "badge",
    family="gradients, diverse",
    cost="O(K N (C + D))",
    budget="many labels",
)
def badge(*, first: First = "largest_norm") -> Strategy:
    r"""Returns BADGE: k-means++ on the gradients of the last layer.

    The embedding of row n is $(p_n - e_{\hat y_n}) \otimes h_n$, the gradient of the
    loss with the predicted class as label. Its length is uncertainty, its direction
    kind, and squared-distance sampling wants both. The `N x (C D)` matrix is never
    written out.

    Args:
      first: the first centre: "largest_norm", as in the authors' code, or "drawn", as
        in k-means++.

    Reference:
      Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
      Bounds", ICLR 2020. https://arxiv.org/abs/1906.03671
    """
    # Labelled rows are no centres: the method looks at the unlabelled only.
    return by_selector(k_means_plus_plus, gradients, is_labelled=None, first=first)


@register(
    "cdal",
    family="divergence, coverage",
    cost="O((K + L) N C)",
    budget="many labels",
)
def cdal() -> Strategy:
    """Returns CDAL: farthest-first traversal by the divergence of predictions.

    The core-set form of contextual diversity (CDAL-CS), for whole images: the distance
    of rows is `(KL(p|q) + KL(q|p)) / 2` of their softmax vectors, and the row farthest
    from all labelled and picked ones is picked, exactly as one by one.

    Reference:
      Agarwal et al., "Contextual Diversity for Active Learning", ECCV 2020.
      https://arxiv.org/abs/2008.05723
    """
    return by_selector(k_center, read(kl_embedding, logits))


@register(
    "k_means",
    family="coverage",
    cost="O(20 K N D)",
    budget="few labels",
)
def k_means(*, num_steps: int = 25) -> Strategy:
    """Returns k-means: the row nearest to each of `K` centroids of what is available.

    Labelled rows are not looked at: what they cover is clustered and bought again.

    Args:
      num_steps: the most steps of k-means.

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019.
      https://arxiv.org/abs/1901.05954
    """
    settings = {"is_labelled": None, "num_steps": num_steps}
    return by_selector(k_means_nearest, features, **settings)


@register(
    "clue",
    family="uncertainty, clusters",
    cost="O(K N D) a step of k-means",
    budget="many labels",
)
def clue(*, temperature: float = 1.0, num_steps: int = 25) -> Strategy:
    """Returns CLUE: the rows nearest to the means of uncertainty-weighted clusters.

    k-means on features minimises `sum_n H(p_n) |h_n - c(n)|^2` into `K` clusters, with
    `p_n = softmax(z_n / temperature)`: means are drawn to uncertain rows, and certain
    rows hardly count. The row of each cluster that is nearest to its mean is picked.
    (The authors' code takes the nearest of all rows, and the next where two means have
    the same; a row of another cluster is hardly ever nearer.)

    Args:
      temperature: of the softmax; 1 is the authors' for digits, 0.1 for DomainNet.
      num_steps: the most steps of k-means.

    Reference:
      Prabhu et al., "Active Domain Adaptation via Clustering Uncertainty-weighted
      Embeddings", ICCV 2021. https://arxiv.org/abs/2010.08666
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0.")
    doubt = read(partial(_cooled_entropy, temperature), logits)
    settings = {"is_labelled": None, "num_steps": num_steps}
    return by_selector(k_means_nearest, features, weights=doubt, **settings)


@checks.of_classes
@jax.jit
def _cooled_entropy(temperature: float, logits: Array) -> Array:
    # Wide before it is divided: half precision ends at 65504.
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return scores.entropy(wide / temperature)


@register(
    "information_density",
    is_deterministic=True,
    family="uncertainty, density",
    cost="O(N (C + D))",
)
def information_density(
    *,
    score: Callable[[Array], Array] = scores.entropy,
    exponent: float = 1.0,
) -> Strategy:
    r"""Returns density-weighted uncertainty: unsure rows that many others resemble.

    $\phi(n) \left(\frac1U \sum_u \mathrm{sim}(h_n, h_u)\right)^\beta$ over the U rows
    that may still be bought. An outlier is unsure too, and teaches nothing about
    others.

    Args:
      score: from `[B, C]` logits to `[B]`, not negative; the entropy by default.
      exponent: $\beta$, how much density counts; 1 is a choice made here.

    Reference:
      Settles and Craven, "An Analysis of Active Learning Strategies for Sequence
      Labeling Tasks", EMNLP 2008. https://aclanthology.org/D08-1112
    """

    @any_promotion
    def rowwise(view: View) -> Array:
        return score(field(view, "logits"))

    @any_promotion
    def utility(key: Array, view: View) -> Array:
        del key
        view = masked(view)
        return scores.information_density(
            rowwise(view) if view.rows is None else view.rows,
            field(view, "features"),
            is_valid=view.is_available,
            exponent=exponent,
        )

    def select(key: Array, view: View, batch_size: int) -> Selection:
        worth = utility(key, view)
        return top_k(key, worth, view.is_available, batch_size=batch_size)

    of_classes = checks.reads_classes(score)
    return stateless({"features"}, select, {"logits"}, rowwise, utility, of_classes)
