"""Expected predictive information gain: what a label says about the predictions."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.modes import any_promotion

# Numbers of one block of joint probabilities: 4 MiB stays in cache.
_BLOCK_ELEMENTS = 1 << 20


@checks.of_classes
@any_promotion
def epig(
    sample_logits: Array,
    target_sample_logits: Array,
    *,
    is_target: Array | None = None,
) -> Array:
    """Returns how much each row's label would say about predictions on targets.

    The mutual information between the label of row n and that of a target t drawn at
    random, given both inputs,

        EPIG(n) = E_t [ H(y_n) + H(y_t) - H(y_n, y_t) ],

    with `p(y_n, y_t) = mean_s p_s(y_n) p_s(y_t)`. BALD asks what a label says about
    the network; what no target depends on counts there and does not here.

    Cost: `2 S N C M C` operations in blocks, so that the `[N, C, M, C]` joint
    probabilities never exist together. Some hundreds of targets serve.

    Args:
      sample_logits: `[S, N, C]` logits of the pool.
      target_sample_logits: `[S, M, C]` logits of inputs drawn from where predictions
        will be wanted, of the same S networks (and the same dropout masks).
      is_target: `[M]` bool, rows that count; all of them by default.

    Returns:
      `[N]` nats, 0 to log C; 0 everywhere if no row counts.

    Raises:
      ValueError: the shapes do not fit together.
      TypeError: an argument has the wrong type.

    Example:
      Both rows split the networks; only row 0 splits them as the target does.

      >>> import jax.numpy as jnp
      >>> yes = jnp.array([[9.0, 9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, -9.0]])
      >>> pool, target = jnp.stack([yes, -yes], -1), jnp.stack([yes, -yes], -1)[:, :1]
      >>> [round(float(nats), 2) for nats in epig(pool, target)]
      [0.69, 0.0]

    Reference:
      Bickford Smith et al., Prediction-Oriented Bayesian Active Learning, AISTATS
      2023. https://arxiv.org/abs/2304.08151
    """
    cure = "Stack one [N, C] array for each posterior sample."
    for name, array in (
        ("sample_logits", sample_logits),
        ("target_sample_logits", target_sample_logits),
    ):
        checks.check_rank(name, array, 3, "[S, N, C]", cure)
        checks.check_floating(name, array, "Pass logits.")
        checks.check_has_classes(name, array)
    num_samples, num_targets, _ = target_sample_logits.shape
    if sample_logits.shape[0] != num_samples:
        raise ValueError(
            f"target_sample_logits has {num_samples} samples, sample_logits "
            f"{sample_logits.shape[0]}. Ask the same networks about both."
        )
    if is_target is None:
        is_target = jnp.ones(num_targets, bool)
    checks.check_mask("is_target", is_target, num_targets)
    return _epig(sample_logits, target_sample_logits, is_target)


@jax.jit
def _epig(sample_logits: Array, targets: Array, is_target: Array) -> Array:
    num_samples, num_rows, num_classes = sample_logits.shape
    num_targets = targets.shape[1]
    weights = is_target / jnp.maximum(is_target.sum(), 1).astype(jnp.float32)
    # A block of rows and one of targets, near square: least reading for a product.
    side = max(1, int((_BLOCK_ELEMENTS / num_classes**2) ** 0.5))
    width = min(side, num_targets)
    height = max(1, min(num_rows, _BLOCK_ELEMENTS // (num_classes**2 * width)))
    targets, weights = _in_blocks(targets, weights, width)

    def score(start: Array) -> Array:
        rows = jax.lax.dynamic_slice_in_dim(sample_logits, start, height, 1)
        own = _probs(rows).reshape(num_samples, -1)
        add = functools.partial(_add_targets, own, num_classes)
        return jax.lax.scan(add, jnp.zeros(height), (targets, weights))[0]

    # The last block starts early enough to be whole: some rows are done twice.
    starts = jnp.minimum(jnp.arange(0, num_rows, height), num_rows - height)
    scores = jax.lax.map(score, starts)
    rows = starts[:, None] + jnp.arange(height)[None]
    return jnp.zeros(num_rows).at[rows.reshape(-1)].set(scores.reshape(-1))


def _in_blocks(targets: Array, weights: Array, width: int) -> tuple[Array, Array]:
    """Splits the targets, filled up with some of weight zero: `[B, S, M / B, C]`."""
    num_samples, num_targets, num_classes = targets.shape
    missing = -num_targets % width
    targets = jnp.pad(targets, ((0, 0), (0, missing), (0, 0)))
    blocks = targets.reshape(num_samples, -1, width, num_classes)
    return blocks.swapaxes(0, 1), jnp.pad(weights, (0, missing)).reshape(-1, width)


def _add_targets(
    own: Array, num_classes: int, scores: Array, block: tuple[Array, Array]
) -> tuple[Array, None]:
    """Adds the weighted information about one block of targets."""
    targets, weights = block
    num_samples, width, _ = targets.shape
    others = _probs(targets).reshape(num_samples, -1)
    joint = linalg.product(own.T, others) / num_samples
    terms = _plogp(joint).reshape(-1, width, num_classes).sum(-1) @ weights
    own_terms = _plogp(own.mean(0)).reshape(-1, num_classes).sum(-1)
    other_terms = _plogp(others.mean(0)).reshape(-1, num_classes).sum(-1)
    information = terms.reshape(-1, num_classes).sum(-1)
    information -= own_terms * weights.sum() + other_terms @ weights
    # Rounding of entropies that cancel can leave a little less than nothing.
    return scores + jnp.maximum(information, 0), None


def _probs(logits: Array) -> Array:
    return jax.nn.softmax(logits.astype(jnp.float32))


def _plogp(probs: Array) -> Array:
    return probs * jnp.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny))
