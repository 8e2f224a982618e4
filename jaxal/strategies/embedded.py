"""Strategies that spread their picks over an embedding of the pool."""

from collections.abc import Callable

from jax import Array

from jaxal.embeddings import gradient_embedding
from jaxal.selection.engine.by_distance import First
from jaxal.selection.spread.k_center import k_center
from jaxal.selection.spread.k_means_plus_plus import k_means_plus_plus
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def badge(*, first: First = "largest_norm") -> Strategy:
    r"""Returns BADGE: k-means++ on the gradients of the last layer.

    The embedding of row n is $(p_n - e_{\hat y_n}) \otimes h_n$, the gradient of the
    loss with the predicted class as label. Its length is uncertainty, its direction
    kind, and squared-distance sampling wants both. The `N x (C D)` matrix is never
    written out.

    Args:
      first: the first centre: "largest_norm", as in the authors' code, or "drawn", as
        in k-means++.

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import badge
      >>> sorted(badge().needs)
      ['features', 'logits']

    Reference:
      Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
      Bounds", ICLR 2020. https://arxiv.org/abs/1906.03671
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        embedding = gradient_embedding(field(view, "logits"), field(view, "features"))
        # Labelled rows are no centres: the method looks at the unlabelled only.
        return k_means_plus_plus(
            key, embedding, view.is_available, None, batch_size=batch_size, first=first
        )

    return Strategy(frozenset({"logits", "features"}), select)


def coreset() -> Strategy:
    """Returns Core-set: farthest-first traversal from the labelled rows, on features.

    Returns:
      A `Strategy` that needs features.

    Example:
      >>> from jaxal.strategies import coreset
      >>> sorted(coreset().needs)
      ['features']

    Reference:
      Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set
      Approach", ICLR 2018. https://arxiv.org/abs/1708.00489
    """
    return by_selector(k_center)


def by_selector(selector: Callable[..., Selection], of: str = "features") -> Strategy:
    """Returns the strategy that hands an embedding to a selector.

    Args:
      selector: as `k_center`, `(key, embedding, is_available, is_labelled, *,
        batch_size)`.
      of: which field of the view is the embedding: "features", "logits" or "inputs".

    Returns:
      A `Strategy` that needs that field.

    Example:
      >>> from jaxal import by_selector, k_means_plus_plus
      >>> sorted(by_selector(k_means_plus_plus).needs)
      ['features']
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selector(
            key,
            field(view, of),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
        )

    return Strategy(frozenset({of}), select)
