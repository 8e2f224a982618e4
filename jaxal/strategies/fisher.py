"""BAIT: batches that leave the least expected error of the last layer."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxal import selection
from jaxal.selection.joint.fisher import FisherEmbedding, fisher_embedding
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def bait(*, regularization: float = 1.0, oversample: float = 2.0) -> Strategy:
    r"""Returns BAIT with the exact Fisher information of the last layer.

    Greedy forward, then backward, in $\mathrm{tr}(M^{-1} F)$, F being the information
    of the pool and M that of the labels.

    Cost: three times `N (C D)^2 / 2` products before the first pick, `N D C^2` for
    each of some `3 K` changes of the batch, memory for a few matrices `[C D, C D]` and
    `N C^2` numbers. N = 50,000, D = 512 and C = 10 take minutes on a CPU, a thousand
    classes more memory than there is: the method's own complexity, of which `bait_top`
    saves a factor `C / 2` a pick, and `bait_binary` a factor `C^2` throughout.

    Args:
      regularization: what M has before any label, positive.
      oversample: how many times K rows the forward pass adds, at least 1. The defaults
        are those of the authors' code.

    Returns:
      A `Strategy` that needs logits and features.

    Example:
      >>> from jaxal.strategies import bait
      >>> sorted(bait().needs)
      ['features', 'logits']

    Reference:
      Ash et al., "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS
      2021. https://arxiv.org/abs/2106.09675
    """
    return _bait(_softmax_fisher("full"), regularization, oversample)


def bait_top(
    *, num_classes: int = 2, regularization: float = 1.0, oversample: float = 2.0
) -> Strategy:
    """Returns BAIT that expects labels among the most probable classes only.

    Args:
      num_classes: classes a label is expected among; 2 in the authors' experiments.
      regularization: as for `bait`.
      oversample: as for `bait`.

    Returns:
      A `Strategy` that needs logits and features. Cost: as `bait` before the first
      pick, `N D C num_classes` operations a change.

    Raises:
      ValueError: `num_classes` is not in `1 .. C`, once C is known.

    Example:
      >>> from jaxal.strategies import bait_top
      >>> sorted(bait_top().needs)
      ['features', 'logits']

    Reference:
      Huseljic et al., "Fast Fishing: Approximating BAIT for Efficient and Scalable Deep
      Active Image Classification", ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    fisher = _softmax_fisher("top", num_classes)
    return _bait(fisher, regularization, oversample)


def bait_binary(*, regularization: float = 1.0, oversample: float = 2.0) -> Strategy:
    """Returns BAIT for the question whether the predicted class is right.

    One weight vector in place of C: matrices are `[D, D]`.

    Args:
      regularization: as for `bait`.
      oversample: as for `bait`.

    Returns:
      A `Strategy` that needs logits and features. Cost: `N D^2`, and `N D` operations
      a change.

    Example:
      >>> from jaxal.strategies import bait_binary
      >>> sorted(bait_binary().needs)
      ['features', 'logits']

    Reference:
      Huseljic et al., "Fast Fishing: Approximating BAIT for Efficient and Scalable Deep
      Active Image Classification", ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    return _bait(_softmax_fisher("binary"), regularization, oversample)


def bait_regression(
    *, regularization: float = 1.0, oversample: float = 2.0
) -> Strategy:
    r"""Returns BAIT for least squares: a design that predicts the pool best.

    The Fisher information of a row is $h h^\top$ whatever its label, so the batch
    depends on features only: V-optimal design, greedy forward and backward.

    Args:
      regularization: as for `bait`.
      oversample: as for `bait`.

    Returns:
      A `Strategy` that needs features. Cost: `N D^2`, and `N D` operations a change.

    Example:
      >>> from jaxal.strategies import bait_regression
      >>> sorted(bait_regression().needs)
      ['features']

    Reference:
      Ash et al., "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS
      2021, section 4. https://arxiv.org/abs/2106.09675
    """

    def fisher(view: View) -> FisherEmbedding:
        features = field(view, "features")
        outputs = jnp.ones((features.shape[0], 1, 1))
        return FisherEmbedding(outputs, features.astype(jnp.float32))

    return _bait(fisher, regularization, oversample, frozenset({"features"}))


def _softmax_fisher(
    approximation: str, num_classes: int = 2
) -> Callable[[View], FisherEmbedding]:
    def fisher(view: View) -> FisherEmbedding:
        return fisher_embedding(
            field(view, "logits"),
            field(view, "features"),
            approximation=approximation,
            num_classes=num_classes,
        )

    return fisher


def _bait(
    fisher: Callable[[View], FisherEmbedding],
    regularization: float,
    oversample: float,
    needs: frozenset[str] = frozenset({"logits", "features"}),
) -> Strategy:
    def select(key: Array, view: View, batch_size: int) -> Selection:
        return selection.bait(
            key,
            fisher(view),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            regularization=regularization,
            oversample=oversample,
        )

    return Strategy(needs, select)
