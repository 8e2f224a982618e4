"""k-means++ seeding: rows drawn in proportion to their squared distance."""

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.block_rules import Candidates, Decision, Rule
from jaxal.selection.engine.by_distance import First, blocked_selection
from jaxal.selection.engine.chance import draw_rows
from jaxal.selection.engine.door import selector, within
from jaxal.selection.engine.picks import Bound
from jaxal.types import Selection


@selector
def k_means_plus_plus(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    weights: Array | None = None,
    first: First = "drawn",
    num_candidates: int | None = None,
    mesh: Mesh | None = None,
) -> Selection:
    """Draws rows far from all centres, again and again.

    `P(i_k = n) ~ w_n min_c |x_n - x_c|^2` over the available rows `n`, with `c` over
    labelled rows and earlier picks. The ordered picks have exactly this sequential
    distribution: a block of candidates is drawn from the distances as of the last pass,
    and candidate `j` is kept with probability `d_now(j) / d_stale(j)`, where `d_now`
    knows those kept before it. On `gradient_embedding` this is BADGE.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows that are centres already; None for no such rows.
      batch_size: picks `K`, static.
      weights: `[N]`, not negative, what squared distances are multiplied by.
      first: the first centre where none is labelled, "drawn" in proportion to the
        weights, or "largest_norm", of which ties are drawn.
      num_candidates: rows drawn for one block. It changes the time, and which picks
        belong to a key, not their distribution.
      mesh: where the rows live, by default as the embedding is sharded; if it does not
        divide them they are copied, so pad them first, as `make_pool` does.

    Returns:
      `Selection` in the order picked. A score is the (weighted) squared distance to the
      nearest centre at the time of picking; that of a first centre, which has none, its
      squared norm. When only rows equal to centres are left, they are taken at random,
      with score 0. Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import k_means_plus_plus
      >>> x = jnp.array([[0.0], [0.0], [5.0], [5.0]])
      >>> free = jnp.ones(4, bool)
      >>> picks = k_means_plus_plus(jax.random.key(0), x, free, batch_size=2)
      >>> sorted(x[picks.indices, 0].tolist())
      [0.0, 5.0]

    Reference:
      k-means++: the advantages of careful seeding,
      https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf;
      sampling by rejection: Fast and accurate k-means++ via rejection sampling,
      https://arxiv.org/abs/2012.11891
    """
    selection, _ = within(blocked_selection)(
        K_MEANS_PLUS_PLUS,
        key,
        embedding,
        is_available,
        is_labelled,
        batch_size=batch_size,
        weights=weights,
        first=first,
        num_candidates=num_candidates,
        mesh=mesh,
    )
    return selection


def _propose(
    uniform: Array, lots: Array, shard: Shard, values: Array
) -> tuple[Array, Bound]:
    rows = draw_rows(uniform, shard, values)
    return rows, Bound(values[0], lots[0], rows[0])  # a draw needs no bound


def _decide(uniform: Array, candidates: Candidates, budget: Array) -> Decision:
    """Keeps each candidate in turn with probability `d_now / d_stale`."""
    stale, size = candidates.values, candidates.rows.size
    thresholds = uniform * stale

    def walk(index: Array, carry: tuple[Array, Array, Array]) -> tuple:
        now, is_kept, scores = carry
        keep = (thresholds[index] < now[index]) & (jnp.sum(is_kept) < budget)
        scores = scores.at[index].set(now[index])
        closer = jnp.minimum(now, candidates.weights * candidates.distances[index])
        return jnp.where(keep, closer, now), is_kept.at[index].set(keep), scores

    start = (stale, jnp.zeros(size, bool), jnp.zeros_like(stale))
    _, is_kept, scores = lax.fori_loop(0, size, walk, start)
    order = jnp.argsort(~is_kept, stable=True).astype(jnp.int32)
    return Decision(order, scores[order], jnp.sum(is_kept, dtype=jnp.int32))


K_MEANS_PLUS_PLUS = Rule(_propose, _decide, is_drawn=True)
