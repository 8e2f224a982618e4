"""Strategies that weigh or filter rows by uncertainty, and spread picks over them."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import scores, selection
from jaxal.embeddings import kl_embedding
from jaxal.selection import k_center, k_means_nearest
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


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

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import clue
      >>> sorted(clue().needs)
      ['features', 'logits']

    Reference:
      Prabhu et al., "Active Domain Adaptation via Clustering Uncertainty-weighted
      Embeddings", ICCV 2021. https://arxiv.org/abs/2010.08666
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0.")

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return k_means_nearest(
            key,
            field(view, "features"),
            view.is_available,
            batch_size=batch_size,
            weights=_cooled_entropy(field(view, "logits"), temperature),
            num_steps=num_steps,
        )

    return Strategy(frozenset({"logits", "features"}), select)


@jax.jit
def _cooled_entropy(logits: Array, temperature: float) -> Array:
    # Wide before it is divided: half precision ends at 65504.
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return scores.entropy(wide / temperature)


def cluster_margin(
    *,
    oversample: float = 10.0,
    rows_per_cluster: float = 10.0,
    num_clustered: int = 4096,
) -> Strategy:
    """Returns Cluster-Margin: rows of small margin, from clusters that take turns.

    The `oversample K` rows whose two best classes are closest are the candidates;
    clusters of average linkage on features take turns, the smallest first, each giving
    a candidate at random. The paper clusters the whole pool once; here the
    `num_clustered` rows of smallest margin are clustered each time, which is the whole
    pool where it is no larger. See `jaxal.cluster_margin`.

    Args:
      oversample: candidates for each pick; 1.25 to 10 in reproductions.
      rows_per_cluster: rows of a cluster, on average; 10 is a choice made here.
      num_clustered: the most rows to cluster.

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import cluster_margin
      >>> sorted(cluster_margin().needs)
      ['features', 'logits']

    Reference:
      Citovsky et al., "Batch Active Learning at Scale", NeurIPS 2021.
      https://arxiv.org/abs/2107.14263
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.cluster_margin(
            key,
            field(view, "features"),
            view.is_available,
            batch_size=batch_size,
            scores=scores.margin(field(view, "logits")),
            oversample=oversample,
            rows_per_cluster=rows_per_cluster,
            num_clustered=num_clustered,
        )

    return Strategy(frozenset({"logits", "features"}), select)


def cdal() -> Strategy:
    """Returns CDAL: farthest-first traversal by the divergence of predictions.

    The core-set form of contextual diversity (CDAL-CS), for whole images: the distance
    of rows is `(KL(p|q) + KL(q|p)) / 2` of their softmax vectors, and the row farthest
    from all labelled and picked ones is picked, exactly as one by one.

    Returns:
      A `Strategy` that needs logits.

    Example:
      >>> from jaxal.strategies import cdal
      >>> sorted(cdal().needs)
      ['logits']

    Reference:
      Agarwal et al., "Contextual Diversity for Active Learning", ECCV 2020.
      https://arxiv.org/abs/2008.05723
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return k_center(
            key,
            kl_embedding(field(view, "logits")),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
        )

    return Strategy(frozenset({"logits"}), select)
