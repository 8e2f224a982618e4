"""BAIT: the batch that leaves the least expected error of the last layer."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.checks import check_positive
from jaxal.pools.mesh import Shard
from jaxal.readings import by_selector, composed, features, logits, read
from jaxal.registry import register
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.door import selector
from jaxal.selection.engine.picks import best_of, rankable
from jaxal.selection.joint.fisher import (
    FisherEmbedding,
    fisher_embedding,
    fisher_sum,
    labelled_sum,
)
from jaxal.selection.joint.trace import Trace, start, trace_solve, update
from jaxal.types import Selection, Strategy


@selector
def bait(
    key: Array,
    fisher: FisherEmbedding,
    is_available: Array,
    is_labelled: Array,
    *,
    batch_size: int,
    regularization: float | Array = 1.0,
    oversample: float = 2.0,
) -> Selection:
    """Picks rows minimising `trace(M^-1 F)`, a bound on the error after labelling.

    F is the mean Fisher information of the pool and M that of the labels bought,

        M = c I + 1 / (L + K) sum_labelled V_n V_n^T + K / (L + K) sum_batch V_n V_n^T.

    A forward pass adds `oversample * K` rows, each time the one that lowers the trace
    most; a backward pass removes, one by one, those that raise it least. M, the
    weights in it and the defaults are those of the authors' code (which has
    c = 0.01 on CIFAR).

    A row is judged by R x R matrices, and a pick changes M by rank R, so these are
    kept up to date (Woodbury) in place of being computed from M again for all rows:
    `2 N D E R` operations a pick, where the formula as printed costs `2 N R (E D)^2`.
    Before the first pick stand products of `(L + 3 N) (E D)^2` and one inverse.
    Memory: two matrices `[E D, E D]` and two arrays `[N, R, R]`.

    Args:
      key: typed key, consumed; used for ties.
      fisher: `fisher_embedding(logits, features)`, exact or approximated.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows whose labels are known.
      batch_size: K, static.
      regularization: c, positive.
      oversample: how many times K rows the forward pass adds, static, at least 1.

    Returns:
      Selection in order of adding. `scores` holds by how much each lowered the trace.

    Raises:
      ValueError: a shape, `batch_size` or `oversample` is out of range.
      TypeError: an argument has the wrong type.

    Example:
      The second row asks what the first does; the third asks something else.

      >>> import jax, jax.numpy as jnp
      >>> from jaxal.selection.joint.fisher import fisher_embedding
      >>> features = jnp.array([[3.0, 0.0], [2.9, 0.0], [0.0, 2.0], [0.1, 0.1]])
      >>> fisher = fisher_embedding(jnp.zeros((4, 2)), features)
      >>> free, none = jnp.ones(4, bool), jnp.zeros(4, bool)
      >>> bait(jax.random.key(0), fisher, free, none, batch_size=2).indices.tolist()
      [0, 2]

    Reference:
      Ash et al., Gone Fishing: Neural Active Learning with Fisher Embeddings, NeurIPS
      2021. https://arxiv.org/abs/2106.09675. Approximations: Huseljic et al., Fast
      Fishing, ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    cure = "Make one with fisher_embedding(logits, features)."
    if not isinstance(fisher, FisherEmbedding):
        raise TypeError(
            f"fisher is {type(fisher).__name__}, expected FisherEmbedding. {cure}"
        )
    checks.check_rank("fisher.outputs", fisher.outputs, 3, "[N, E, R]", cure)
    checks.check_rank("fisher.features", fisher.features, 2, "[N, D]", cure)
    check_positive(oversample=oversample)
    num_forward = min(is_available.size, math.ceil(oversample * batch_size))
    args = (key, fisher, is_available, is_labelled, regularization)
    return _select(*args, batch_size, num_forward)


@partial(jax.jit, static_argnums=(5, 6))
def _select(
    key: Array,
    fisher: FisherEmbedding,
    is_available: Array,
    is_labelled: Array,
    regularization: Array,
    batch_size: int,
    num_forward: int,
) -> Selection:
    fisher = jax.tree.map(lambda x: x.astype(jnp.float32), fisher)
    in_pool = (is_available | is_labelled).astype(jnp.float32)
    target = fisher_sum(fisher, in_pool / jnp.maximum(in_pool.sum(), 1))
    total = (is_labelled.sum() + batch_size).astype(jnp.float32)
    known = labelled_sum(fisher, is_labelled / total)
    rows = fisher._replace(outputs=fisher.outputs * jnp.sqrt(batch_size / total))
    state = start(rows, target, known, regularization)
    lots = row_lots(key, Shard(None, 1, is_available.size))
    state, picks = _add_rows(state, rows, target, is_available, lots, num_forward)
    own, num_removed = lots[picks.indices], num_forward - batch_size
    kept = _remove_rows(state, rows, target, picks, own, num_removed)
    # Survivors in the order they were added, and rows nobody could have last.
    order = jnp.argsort(2 * ~kept + ~picks.is_valid, stable=True)[:batch_size]
    return jax.tree.map(lambda column: column[order], picks)


def _add_rows(
    state: Trace,
    rows: FisherEmbedding,
    target: Array,
    is_available: Array,
    lots: Array,
    num_forward: int,
) -> tuple[Trace, Selection]:
    num_rows, _, rank = rows.outputs.shape
    shard = Shard(None, 1, num_rows)

    def add(carry: tuple, _: None) -> tuple[tuple, Selection]:
        state, free = carry
        gains = trace_solve(
            jnp.eye(rank, dtype=state.leverage.dtype)[None] + state.leverage,
            state.influence,
        )
        gain, best = best_of(shard, rankable(gains, free), lots)
        outputs = rows.outputs[best] * free[best]
        state = update(state, rows, target, outputs, rows.features[best], -1)
        return (state, free.at[best].set(False)), Selection(best, gain, free[best])

    (state, _), picks = jax.lax.scan(add, (state, is_available), length=num_forward)
    return state, picks


def _remove_rows(
    state: Trace,
    rows: FisherEmbedding,
    target: Array,
    picks: Selection,
    lots: Array,
    count: int,
) -> Array:
    """Returns which of the picks to keep, removing `count`, the useless ones first."""
    chosen = jax.tree.map(lambda x: x[picks.indices], rows)
    state = state._replace(
        leverage=state.leverage[picks.indices],
        influence=state.influence[picks.indices],
    )
    identity = jnp.eye(rows.outputs.shape[2], dtype=rows.outputs.dtype)[None]

    def remove(_: Array, carry: tuple) -> tuple:
        state, kept = carry
        losses = trace_solve(identity - state.leverage, state.influence)
        losses = jnp.where(picks.is_valid, losses, -jnp.inf)
        useless = rankable(-losses, kept)
        _, worst = best_of(Shard(None, 1, kept.size), useless, lots)
        outputs = chosen.outputs[worst] * picks.is_valid[worst]
        features = chosen.features[worst]
        state = update(state, chosen, target, outputs, features, 1)
        return state, kept.at[worst].set(False)

    kept = jnp.ones_like(picks.is_valid)
    return jax.lax.fori_loop(0, count, remove, (state, kept))[1]


register(
    "bait",
    composed(bait, None, read(fisher_embedding, logits, features)),
    is_deterministic=True,
    most_classes=20,
    family="expected error, diverse",
    cost="O(N (C D)^2 + K N D C^2)",
    budget="many labels",
)


@register(
    "bait_top",
    is_deterministic=True,
    most_classes=20,
    family="expected error, diverse",
    cost="O(N (C D)^2 + K N D C)",
    budget="many labels",
)
def bait_top(*, num_classes: int = 2, **settings: float) -> Strategy:
    """Returns BAIT that expects labels among the most probable classes only.

    Cost: as `bait` before the first pick, `N D C num_classes` operations a change.

    Args:
      num_classes: classes a label is expected among; 2 in the authors' experiments.
      **settings: as for `bait`.

    Reference:
      Huseljic et al., "Fast Fishing: Approximating BAIT for Efficient and Scalable Deep
      Active Image Classification", ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    top = partial(fisher_embedding, approximation="top", num_classes=num_classes)
    return by_selector(bait, read(top, logits, features), **settings)


@register(
    "bait_binary",
    is_deterministic=True,
    family="expected error, diverse",
    cost="O(N D^2 + K N D)",
    budget="many labels",
)
def bait_binary(**settings: float) -> Strategy:
    """Returns BAIT for the question whether the predicted class is right.

    One weight vector in place of C: matrices are `[D, D]`. Cost: `N D^2`, and `N D`
    operations a change.

    Args:
      **settings: as for `bait`.

    Reference:
      Huseljic et al., "Fast Fishing: Approximating BAIT for Efficient and Scalable Deep
      Active Image Classification", ECML PKDD 2024. https://arxiv.org/abs/2404.08981
    """
    binary = partial(fisher_embedding, approximation="binary")
    return by_selector(bait, read(binary, logits, features), **settings)


@register(
    "bait_regression",
    is_deterministic=True,
    family="expected error, diverse",
    cost="O(N D^2 + K N D)",
    budget="many labels",
)
def bait_regression(**settings: float) -> Strategy:
    r"""Returns BAIT for least squares: a design that predicts the pool best.

    The Fisher information of a row is $h h^\top$ whatever its label, so the batch
    depends on features only: V-optimal design, greedy forward and backward. Cost:
    `N D^2`, and `N D` operations a change.

    Args:
      **settings: as for `bait`.

    Reference:
      Ash et al., "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS
      2021, section 4. https://arxiv.org/abs/2106.09675
    """
    return by_selector(bait, read(_design, features), **settings)


def _design(features: Array) -> FisherEmbedding:
    ones = jnp.ones((features.shape[0], 1, 1), jnp.float32)
    return FisherEmbedding(ones, features.astype(jnp.float32))
