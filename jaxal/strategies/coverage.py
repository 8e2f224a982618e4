"""Strategies that want what they label to stand for the whole pool."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import scores, selection
from jaxal.selection.engine.unit import unit_rows
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def typiclust(
    *,
    max_clusters: int = 500,
    min_cluster_size: int = 5,
    num_neighbours: int = 20,
    unit_norm: bool = True,
) -> Strategy:
    """Returns TypiClust: the most typical row of each cluster without labels.

    Args:
      max_clusters: most clusters; the authors'.
      min_cluster_size: rows of the smallest cluster to pick from; the authors'.
      num_neighbours: what typicality looks at; the authors'.
      unit_norm: whether features are scaled to unit norm first, as the authors do.

    Returns:
      A `Strategy` that needs features.

    Example:
      >>> from jaxal.strategies import typiclust
      >>> sorted(typiclust().needs)
      ['features']

    Reference:
      Hacohen et al., "Active Learning on a Budget: Opposite Strategies Suit High and
      Low Budgets", ICML 2022. https://arxiv.org/abs/2202.02794
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.typiclust(
            key,
            _features(view, unit_norm),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            max_clusters=max_clusters,
            min_cluster_size=min_cluster_size,
            num_neighbours=num_neighbours,
        )

    return Strategy(frozenset({"features"}), select)


def prob_cover(
    *,
    radius: float | None = None,
    num_classes: int | None = None,
    purity: float = 0.95,
    unit_norm: bool = True,
) -> Strategy:
    """Returns ProbCover: rows whose balls hold as much of the pool as they can.

    Args:
      radius: of the balls; None for `purity_radius`, found anew each round.
      num_classes: what `purity_radius` is told; None for as many as there are logits.
      purity: part of the balls that must be pure; the paper's.
      unit_norm: whether features are scaled to unit norm first, as the authors do.

    Returns:
      A `Strategy` that needs features, and logits where they are counted.

    Example:
      >>> from jaxal.strategies import prob_cover
      >>> sorted(prob_cover(radius=0.75).needs), sorted(prob_cover().needs)
      (['features'], ['features', 'logits'])

    Reference:
      Yehuda et al., "Active Learning Through a Covering Lens", NeurIPS 2022.
      https://arxiv.org/abs/2205.11320
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        features = _features(view, unit_norm)
        found = _radius(radius, key, view, features, num_classes, purity)
        return selection.prob_cover(
            key,
            features,
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            radius=found,
        )

    is_counted = radius is None and num_classes is None
    return Strategy(
        frozenset({"features", "logits"} if is_counted else {"features"}), select
    )


def dcom(
    *,
    initial_radius: float | None = None,
    max_radius: float = 1.1,
    centre: float = 0.8,
    steepness: float = 50.0,
    purity: float = 0.95,
    unit_norm: bool = True,
) -> Strategy:
    """Returns DCoM: coverage at first, the margin once labelled rows cover the pool.

    Args:
      initial_radius: of the balls while nothing is labelled; None for `purity_radius`.
      max_radius: no ball is larger; the authors'.
      centre: the coverage at which the margin takes over; the authors'.
      steepness: how suddenly it does; the authors'.
      purity: what `purity_radius` is told; the paper's.
      unit_norm: whether features are scaled to unit norm first, as the authors do.

    Returns:
      A `Strategy` that needs features, logits and labels.

    Example:
      >>> from jaxal.strategies import dcom
      >>> sorted(dcom().needs)
      ['features', 'labels', 'logits']

    Reference:
      Mishal and Weinshall, "DCoM: Active Learning for All Learners", 2024.
      https://arxiv.org/abs/2407.01804
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        features, logits = _features(view, unit_norm), field(view, "logits")
        found = _radius(initial_radius, key, view, features, None, purity)
        return selection.dcom(
            key,
            features,
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            uncertainty=scores.margin(logits),
            labels=field(view, "labels"),
            predictions=jnp.argmax(logits, axis=-1),
            initial_radius=found,
            max_radius=max_radius,
            centre=centre,
            steepness=steepness,
        )

    return Strategy(frozenset({"features", "logits", "labels"}), select)


def active_ft(
    *,
    temperature: float = 0.07,
    balance: float = 1.0,
    learning_rate: float = 1e-3,
    num_steps: int = 300,
    assign_every: int = 10,
) -> Strategy:
    """Returns ActiveFT: rows nearest to points that match the pool, spread out.

    Args:
      temperature: of similarities; the authors', on CIFAR as the next three.
      balance: how much points repel each other.
      learning_rate: of Adam.
      num_steps: of Adam; the authors take 100 on ImageNet.
      assign_every: steps between two passes over the pool; 1 is the authors'.

    Returns:
      A `Strategy` that needs features.

    Example:
      >>> from jaxal.strategies import active_ft
      >>> sorted(active_ft().needs)
      ['features']

    Reference:
      Xie et al., "Active Finetuning: Exploiting Annotation Budget in the
      Pretraining-Finetuning Paradigm", CVPR 2023. https://arxiv.org/abs/2303.14382
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.active_ft(
            key,
            field(view, "features"),
            view.is_available,
            batch_size=batch_size,
            temperature=temperature,
            balance=balance,
            learning_rate=learning_rate,
            num_steps=num_steps,
            assign_every=assign_every,
        )

    return Strategy(frozenset({"features"}), select)


def k_means(*, num_steps: int = 20) -> Strategy:
    """Returns k-means: the row nearest to each of `K` centroids of what is available.

    Labelled rows are not looked at: what they cover is clustered and bought again.

    Args:
      num_steps: the most steps of k-means.

    Returns:
      A `Strategy` that needs features.

    Example:
      >>> from jaxal.strategies import k_means
      >>> sorted(k_means().needs)
      ['features']

    Reference:
      Zhdanov, "Diverse mini-batch Active Learning", 2019.
      https://arxiv.org/abs/1901.05954
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.k_means_nearest(
            key,
            field(view, "features"),
            view.is_available,
            batch_size=batch_size,
            num_steps=num_steps,
        )

    return Strategy(frozenset({"features"}), select)


def _features(view: View, unit_norm: bool) -> Array:
    features = field(view, "features")
    return unit_rows(features) if unit_norm else features


def _radius(
    radius: float | None,
    key: Array,
    view: View,
    features: Array,
    num_classes: int | None,
    purity: float,
) -> float | Array:
    """Returns the radius given, or else the one at which balls are pure."""
    if radius is not None:
        return radius
    if num_classes is None:
        num_classes = field(view, "logits").shape[-1]
    return selection.purity_radius(
        jax.random.fold_in(key, 0),
        features,
        view.is_available | view.is_labelled,
        num_classes=num_classes,
        purity=purity,
    )
