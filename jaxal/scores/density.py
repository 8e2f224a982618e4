"""Information density: uncertain rows that others resemble."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.modes import any_promotion


@any_promotion
def information_density(
    scores: Array,
    features: Array,
    *,
    is_valid: Array | None = None,
    exponent: float | Array = 1.0,
) -> Array:
    """Returns scores weighted by how much each row resembles the pool.

    `score_n * (mean_m sim(h_n, h_m))^b` with sim the cosine brought to 0 .. 1 as
    `(1 + cos) / 2`: an outlier counts for less than a row many resemble. The mean of
    cosines is one cosine with the mean direction, so the cost is `N D`, not `N^2 D`.

    Args:
      scores: `[N]`, not negative, higher is more worth labelling.
      features: `[N, D]`; a row of zeros resembles all others by one half.
      is_valid: `[N]` bool, rows that make up the pool; all of them by default.
      exponent: b, how much density counts; 0 leaves the scores alone.

    Returns:
      `[N]` weighted scores.

    Raises:
      ValueError: the shapes do not fit together.
      TypeError: an argument is not floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> features = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
      >>> information_density(jnp.ones(4), features).tolist()
      [0.75, 0.75, 0.75, 0.25]

    Reference:
      Settles and Craven, An Analysis of Active Learning Strategies for Sequence
      Labeling Tasks, EMNLP 2008. https://aclanthology.org/D08-1112
    """
    checks.check_rank("scores", scores, 1, "[N]", "Pass one score for each row.")
    checks.check_rank("features", features, 2, "[N, D]", "Flatten each row.")
    checks.check_floating("scores", scores, "Cast them to float32.")
    checks.check_floating("features", features, "Cast them to float32.")
    num_rows = scores.shape[0]
    if features.shape[0] != num_rows:
        raise ValueError(
            f"features has {features.shape[0]} rows, scores {num_rows}. "
            "Pass both for the same rows."
        )
    if is_valid is None:
        is_valid = jnp.ones(num_rows, bool)
    checks.check_mask("is_valid", is_valid, num_rows)
    return _information_density(scores, features, is_valid, exponent)


@jax.jit
def _information_density(
    scores: Array, features: Array, is_valid: Array, exponent: float | Array
) -> Array:
    # Scaled by the largest entry first: squares of float16 features overflow.
    features = features.astype(jnp.float32)
    largest = jnp.abs(features).max(-1, keepdims=True)
    features = features / jnp.where(largest > 0, largest, 1)
    norms = jnp.linalg.norm(features, axis=-1, keepdims=True)
    directions = features / jnp.where(norms > 0, norms, 1)
    weights = is_valid / jnp.maximum(is_valid.sum(), 1).astype(jnp.float32)
    mean = linalg.product(weights, directions)
    cosines = linalg.product(directions, mean)
    return scores * jnp.clip((1 + cosines) / 2, 0, 1) ** exponent
