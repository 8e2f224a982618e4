"""Fisher information of a last layer, row by row, in factors that fit in memory."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.curvature import kronecker_sum

APPROXIMATIONS = ("full", "top", "binary")


class FisherEmbedding(NamedTuple):
    """Row n has Fisher information `V_n V_n^T` with `V_n = a_n (x) h_n`, `[E * D, R]`.

    `E` outputs, `R` columns; the Kronecker products are never written out. A
    least-squares regression head is `FisherEmbedding(ones([N, 1, 1]), features)`.
    """

    outputs: Array  # a [N, E, R]
    features: Array  # h [N, D]


@checks.of_classes
def fisher_embedding(
    logits: Array,
    features: Array,
    *,
    approximation: str = "full",
    num_classes: int = 2,
) -> FisherEmbedding:
    """Returns the Fisher information of a softmax layer, exact or approximated.

    "full": column y is `sqrt(p_y) (onehot(y) - p)`, so that `a a^T = diag(p) - p p^T`.
    "top": only the columns of the `num_classes` most probable classes, their
    probabilities rescaled to sum to one. "binary": the most probable class against
    the rest with one weight vector, `p (1 - p) h h^T`, D x D in place of C D x C D.

    Args:
      logits: `[N, C]`.
      features: `[N, D]`, what the last layer sees; append a column of ones for a bias.
      approximation: "full", "top" or "binary", static.
      num_classes: columns kept by "top", static. The default is that of the
        authors' experiments.

    Returns:
      FisherEmbedding with (E, R) = (C, C), (C, num_classes) or (1, 1).

    Raises:
      ValueError: a shape, `approximation` or `num_classes` is not as above.
      TypeError: an argument is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> fisher = fisher_embedding(jnp.zeros((5, 3)), jnp.ones((5, 4)))
      >>> fisher.outputs.shape, fisher.features.shape
      ((5, 3, 3), (5, 4))

    Reference:
      Ash et al., Gone Fishing: Neural Active Learning with Fisher Embeddings, NeurIPS
      2021. https://arxiv.org/abs/2106.09675. Huseljic et al., Fast Fishing:
      Approximating BAIT for Efficient and Scalable Deep Active Image Classification,
      ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    logits, features = jnp.asarray(logits), jnp.asarray(features)
    checks.check_last_layer(logits, features)
    if approximation not in APPROXIMATIONS:
        raise ValueError(
            f"approximation is {approximation!r}, expected one of {APPROXIMATIONS}."
        )
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    features = features.astype(jnp.float32)
    if approximation == "binary":
        highest = probs.max(-1)
        return FisherEmbedding(
            jnp.sqrt(highest * (1 - highest))[:, None, None], features
        )
    size = logits.shape[1]
    kept = size if approximation == "full" else num_classes
    if not 1 <= kept <= size:
        raise ValueError(
            f"num_classes is {kept}, expected 1 to {size}, the classes in logits."
        )
    if kept == size:
        outputs = jnp.eye(size, dtype=probs.dtype)[None] - probs[:, :, None]
        return FisherEmbedding(outputs * jnp.sqrt(probs)[:, None, :], features)
    top, classes = jax.lax.top_k(probs, kept)
    one_hot = jax.nn.one_hot(classes, size, axis=1)
    weights = jnp.sqrt(top / top.sum(-1, keepdims=True))
    return FisherEmbedding(
        (one_hot - probs[:, :, None]) * weights[:, None, :], features
    )


def fisher_sum(fisher: FisherEmbedding, weights: Array) -> Array:
    """Returns `sum_n weights_n V_n V_n^T`, `[E * D, E * D]`."""
    num_rows, size, _ = fisher.outputs.shape
    first, second = jnp.triu_indices(size)
    scaled = fisher.outputs * weights[:, None, None]

    def block(pair: tuple[Array, Array]) -> Array:
        products = (scaled[:, pair[0]] * fisher.outputs[:, pair[1]]).sum(-1)
        weighted = fisher.features * products[:, None]
        return linalg.product(weighted.T, fisher.features)

    # One product of [D, N] by [N, D] a pair of outputs: symmetry saves half of them.
    blocks = jax.lax.map(block, (first, second))
    width = fisher.features.shape[1]
    whole = jnp.zeros((size, size, width, width), jnp.float32)
    whole = whole.at[first, second].set(blocks).at[second, first].set(blocks)
    return whole.transpose(0, 2, 1, 3).reshape(size * width, size * width)


def labelled_sum(fisher: FisherEmbedding, weights: Array) -> Array:
    """Returns what `fisher_sum` does, at the cost of the rows of weight not zero."""

    def information(outputs: Array) -> Array:
        return linalg.product(outputs, outputs.swapaxes(1, 2))

    return kronecker_sum(information, fisher.outputs, fisher.features, weights)


def quadratic(fisher: FisherEmbedding, matrix: Array) -> Array:
    """Returns `V_n^T matrix V_n` for every row, `[N, R, R]`, for symmetric `matrix`."""
    num_rows, size, _ = fisher.outputs.shape
    width = fisher.features.shape[1]
    blocks = matrix.reshape(size, width, size, width)
    first, second = jnp.triu_indices(size)

    def product(pair: tuple[Array, Array]) -> Array:
        block = blocks[pair[0], :, pair[1], :]
        left = linalg.product(fisher.features, block)
        return (left * fisher.features).sum(-1)

    pairs = jax.lax.map(product, (first, second)).T
    middle = jnp.zeros((num_rows, size, size), jnp.float32)
    middle = middle.at[:, first, second].set(pairs).at[:, second, first].set(pairs)
    return _sandwich(fisher.outputs, middle)


def project(fisher: FisherEmbedding, columns: Array) -> Array:
    """Returns `V_n^T columns` for every row: `[E * D, Q]` to `[N, R, Q]`."""
    _, size, _ = fisher.outputs.shape
    width = fisher.features.shape[1]
    by_feature = columns.reshape(size, width, -1).transpose(1, 0, 2)
    seen = linalg.product(fisher.features, by_feature.reshape(width, -1))
    seen = seen.reshape(-1, size, columns.shape[1])
    return jnp.einsum("ner,neq->nrq", fisher.outputs, seen, precision="highest")


def written_out(outputs: Array, features: Array) -> Array:
    """Returns `V` of one row, `[E * D, R]`, from `[E, R]` and `[D]`."""
    return (outputs[:, None, :] * features[None, :, None]).reshape(-1, outputs.shape[1])


def _sandwich(outputs: Array, middle: Array) -> Array:
    left = jnp.einsum("ner,nef->nrf", outputs, middle, precision="highest")
    return jnp.einsum("nrf,nfs->nrs", left, outputs, precision="highest")
