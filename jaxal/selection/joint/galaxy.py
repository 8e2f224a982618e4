"""GALAXY: bisect, class by class, where the answers change along the ranking."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.checks import of_classes
from jaxal.pools.mesh import Shard
from jaxal.readings import composed, labels, logits
from jaxal.registry import register
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.door import selector
from jaxal.types import Selection


@of_classes
@selector
def galaxy(
    key: Array,
    logits: Array,
    is_available: Array,
    labels: Array,
    *,
    batch_size: int,
    assumed: Array | None = None,
) -> Selection:
    """Picks rows that bisect the ranking of a class between unlike answers.

    For every class c the pool is a line, ordered by `p_c - max_k p_k` and then by
    `max_k p_k`: rows surely c at one end, rows surely not at the other. Each pick draws
    a class and looks at its line. Between neighbouring labelled rows of which one is c
    and the other is not, the shortest stretch of unlabelled rows is halved (the
    shortest shortest path of the line). Where no such stretch is left, rows further
    apart count as linked, until the first unlabelled row is linked to both sides: it
    is the one for which the farther of the nearest row that is c and the nearest row
    that is not is nearest. Where the answers are all alike, a row is drawn at random.
    So classes get their share of labels however rare they are. Ties, of stretches and
    of rows on a line, are drawn with the key.

    The paper labels each row before it picks the next. Here the answers of a batch come
    together, at its end; until then a pick counts as labelled with `assumed`, by
    default the predicted class. With `batch_size` 1, or with the truth as `assumed`,
    rows are picked as in the paper. Classes are drawn at random, as in the authors'
    later code; in that of the paper they take turns.

    Args:
      key: a typed key, consumed.
      logits: `[N, C]`.
      is_available: `[N]` bool, rows that may be picked.
      labels: `[N]` integers, -1 where nobody has answered.
      batch_size: picks `K`, static.
      assumed: `[N]` integers, what rows picked earlier in the batch are taken for.

    Returns:
      `Selection` in the order picked. A score is minus the length of the halved
      stretch, at most -1; minus `N` and minus the order of the link for a linked row;
      `-2 N - 1` for a random one; -inf where no row is left. Indices are `N` where
      fewer than `K` rows were available.

    Raises:
      ValueError: a shape is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      Five rows from surely 0 to surely 1; the ends are labelled, the middle is asked.

      >>> import jax, jax.numpy as jnp
      >>> from jaxal import galaxy
      >>> logits = jnp.array([[4.0, 0], [3, 0], [2, 0], [1, 0], [0, 4]])
      >>> labels = jnp.array([0, -1, -1, -1, 1])
      >>> galaxy(jax.random.key(0), logits, labels < 0, labels, batch_size=1).indices
      Array([2], dtype=int32)

    Reference:
      Zhang, Katz-Samuels and Nowak, GALAXY: Graph-based Active Learning at the Extreme,
      ICML 2022. https://arxiv.org/abs/2202.01402
    """
    if assumed is None:
        assumed = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return _select(key, logits, is_available, labels, assumed, batch_size)


@partial(jax.jit, static_argnums=5)
def _select(
    key: Array,
    logits: Array,
    is_available: Array,
    labels: Array,
    assumed: Array,
    batch_size: int,
) -> Selection:
    num_rows, num_classes = logits.shape
    key_class, key_noise = jax.random.split(key)
    probs = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    lines = jax.random.randint(key_class, (batch_size,), 0, num_classes)
    noise = jax.random.uniform(key_noise, (num_rows,))
    lots = row_lots(key, Shard(None, 1, num_rows))
    known = jnp.where(is_available, -1, labels)
    is_node = is_available | (known >= 0)
    # Sorted once a class, or once a pick where there are fewer picks.
    is_table = num_classes <= batch_size
    classes = jnp.arange(num_classes)
    line_of = partial(_line, probs, is_node, lots)
    table = lax.map(line_of, classes) if is_table else None

    def pick(carry: tuple[Array, Array], line: Array) -> tuple[tuple, Selection]:
        known, free = carry
        order = line_of(line) if table is None else table[line]
        row, score = _bisect(order, known, is_node, lots, line)
        is_found = jnp.isfinite(score)
        lucky = jnp.argmax(jnp.where(free, noise, -1)).astype(jnp.int32)
        row = jnp.where(is_found, row, lucky)
        is_valid = free[row]
        score = jnp.where(is_found, score, -2.0 * num_rows - 1)
        known = known.at[row].set(jnp.where(is_valid, assumed[row], known[row]))
        return (known, free.at[row].set(False)), Selection(row, score, is_valid)

    known = known.astype(jnp.int32)
    return lax.scan(pick, (known, is_available), lines)[1]


def _line(probs: Array, is_node: Array, lots: Array, line: Array) -> Array:
    """Returns `[N]` rows from surely of the class to surely not, padding last."""
    best = jnp.max(probs, axis=-1)
    behind = best - jnp.take(probs, line, axis=-1)
    # Among rows predicted to be of the class, the surest lie farthest from the others.
    rows = jnp.arange(best.size, dtype=jnp.int32)
    columns = jnp.where(is_node, behind, jnp.inf), -best, lots, rows
    return lax.sort(columns, num_keys=3)[3]


def _bisect(
    order: Array, known: Array, is_node: Array, lots: Array, line: Array
) -> tuple[Array, Array]:
    """Returns the row to ask on one line, and its score: -inf where there is none."""
    size = order.size
    known, is_node = known[order], is_node[order]
    places = jnp.arange(size, dtype=jnp.int32)
    far = 4 * size  # farther than any place, and than any sum of two
    sides = []
    for is_side in (known == line, (known >= 0) & (known != line)):
        before = lax.cummax(jnp.where(is_side, places, -far))
        after = lax.cummin(jnp.where(is_side, places, far), reverse=True)
        sides.append((before, after))
    (before_in, after_in), (before_out, after_out) = sides
    left, right = jnp.maximum(before_in, before_out), jnp.minimum(after_in, after_out)
    is_cut = (before_in > before_out) != (after_in < after_out)
    is_cut &= (left >= 0) & (right < size)
    nearest_in = jnp.minimum(places - before_in, after_in - places)
    nearest_out = jnp.minimum(places - before_out, after_out - places)
    link = jnp.maximum(nearest_in, nearest_out)
    cost = jnp.where(is_cut, right - left - 1, size + link)
    cost = jnp.where(is_node & (known < 0) & (link < size), cost, far)
    # Of a stretch the row in the middle is asked, and its lot is that of the stretch.
    asked = jnp.where(is_cut, jnp.clip((left + right) // 2, 0, size - 1), places)
    is_least = cost == jnp.min(cost)
    best = jnp.argmax(jnp.where(is_least, lots[order[asked]], -1))
    place = asked[best]
    score = jnp.where(cost[best] < far, -cost[best].astype(jnp.float32), -jnp.inf)
    return order[place], score


register(
    "galaxy",
    composed(galaxy, None, logits, labels=labels),
    family="bisection of rankings, rare classes",
    cost="O(C N log N + K N)",
    budget="many labels",
)
