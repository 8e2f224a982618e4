"""Strategies that look at the last layer: disturbed features, and gradient volume."""

from jax import Array

from jaxal import selection
from jaxal.embeddings import gradient_embedding
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def alfa_mix(*, step: float = 0.2, num_steps: int = 25) -> Strategy:
    """Returns ALFA-Mix: clusters of rows that change class when mixed with anchors.

    Features are mixed with the mean features of labelled rows of each class, by the
    closed-form mixture that raises the loss most; rows whose prediction changes are
    clustered, and the row nearest to each mean is picked. The last layer is found from
    logits and features. See `jaxal.alfa_mix`.

    Args:
      step: by which `epsilon sqrt(D)` grows until enough rows change.
      num_steps: the most steps of k-means.

    Returns:
      A `Strategy` that needs labels, logits and features. Without labels it clusters
      all rows: coverage.

    Example:
      >>> from jaxal.strategies import alfa_mix
      >>> sorted(alfa_mix().needs)
      ['features', 'labels', 'logits']

    Reference:
      Parvaneh et al., "Active Learning by Feature Mixing", CVPR 2022.
      https://arxiv.org/abs/2203.07034
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.alfa_mix(
            key,
            field(view, "features"),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            logits=field(view, "logits"),
            labels=field(view, "labels"),
            step=step,
            num_steps=num_steps,
        )

    return Strategy(frozenset({"labels", "logits", "features"}), select)


def drop_query(
    *, num_dropouts: int = 3, rate: float = 0.75, num_steps: int = 25
) -> Strategy:
    """Returns DropQuery: clusters of rows whose class does not survive dropout.

    Rows whose prediction changes in more than half of the times that most of their
    features are dropped are clustered, and the row nearest to each mean is picked. The
    last layer is found from logits and features. See `jaxal.drop_query`.

    Args:
      num_dropouts: how often features are dropped.
      rate: of dropout.
      num_steps: the most steps of k-means.

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import drop_query
      >>> sorted(drop_query().needs)
      ['features', 'logits']

    Reference:
      Gupte et al., "Revisiting Active Learning in the Era of Vision Foundation Models",
      TMLR 2024. https://arxiv.org/abs/2401.14555
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.drop_query(
            key,
            field(view, "features"),
            view.is_available,
            batch_size=batch_size,
            logits=field(view, "logits"),
            num_dropouts=num_dropouts,
            rate=rate,
            num_steps=num_steps,
        )

    return Strategy(frozenset({"logits", "features"}), select)


def vessal(*, num_dims: int = 1024, regularization: float = 0.01) -> Strategy:
    """Returns VeSSAL: one pass over the pool, by the volume that gradients add.

    The embedding is BADGE's, as it is: its length is uncertainty, so it is never
    standardised. See `jaxal.vessal`.

    Args:
      num_dims: coordinates of the random projection, where there are more.
      regularization: of the matrix whose determinant is the volume.

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import vessal
      >>> sorted(vessal().needs)
      ['features', 'logits']

    Reference:
      Saran et al., "Streaming Active Learning with Deep Neural Networks", ICML 2023.
      https://arxiv.org/abs/2303.02535
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.vessal(
            key,
            gradient_embedding(field(view, "logits"), field(view, "features")),
            view.is_available,
            batch_size=batch_size,
            num_dims=num_dims,
            regularization=regularization,
        )

    return Strategy(frozenset({"logits", "features"}), select)
