"""ALFA-Mix: rows that a small step towards labelled ones would call otherwise."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal import linalg
from jaxal.checks import of_classes
from jaxal.embeddings import Dense, Outer, as_embedding, gradient_embedding
from jaxal.embeddings.base import Embedding, unit_rows
from jaxal.embeddings.compositions import written_out
from jaxal.pools.mesh import SPREAD, Shard, over_rows
from jaxal.readings import composed, labels, logits
from jaxal.registry import register
from jaxal.selection.engine.distances import map_chunks, squared_distances
from jaxal.selection.engine.door import selector, within
from jaxal.selection.joint.head import LinearHead, linear_head, project_out
from jaxal.selection.spread.k_means_nearest import k_means_nearest
from jaxal.types import Selection


class _Rows(NamedTuple):
    logits: Array  # [N, C]
    features: Array  # [N, D]
    labels: Array  # [N]
    is_available: Array  # [N]
    is_labelled: Array  # [N]


@of_classes
@selector
def alfa_mix(
    key: Array,
    embedding: Array | Dense,
    is_available: Array,
    is_labelled: Array,
    *,
    batch_size: int,
    logits: Array,
    labels: Array,
    step: float = 0.2,
    num_steps: int = 25,
    mesh: Mesh | None = None,
) -> Selection:
    r"""Picks from clusters of the rows whose prediction mixing with anchors changes.

    Anchors `a` are the mean features of each class, over labelled rows. (For a class
    without any, the authors' code takes the mean of them all.) Row `h` with
    predicted class `y` is mixed to `h + alpha (a - h)`, elementwise, with the `alpha`
    of `|alpha| <= epsilon` that raises the loss of `y` most, to first order:

    $$\alpha = \epsilon \frac{|a - h|}{|g|} \, g \oslash (a - h), \qquad
    g = W^\top (p - e_y).$$

    So every anchor moves the row along `g`, by `epsilon |a - h|`. Logits are linear
    along the way, hence the farthest anchor decides, and the least `epsilon` at which
    the prediction changes has a closed form; no mixture is written out. (Coordinates
    in which an anchor equals the row, which no `alpha` moves, are moved as well.)

    With `epsilon sqrt(D)` at `step`, twice that and so on up to 1, as in the authors'
    code, until more than `K` rows change, those are the candidates: `k_means_nearest`
    on their features at unit length picks, and fills up with other rows at random.
    Without labels there are no anchors, and all rows are candidates.

    Args:
      key: a typed key, consumed.
      embedding: `[N, D]`, or `Dense`: the features that the last layer sees.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows whose labels make anchors.
      batch_size: picks `K`, static.
      logits: `[N, C]`; the last layer is found from them, see `linear_head`.
      labels: `[N]` int, -1 where nobody has answered; read at labelled rows only.
      step: of `epsilon sqrt(D)`, in (0, 1], static. The authors' is 0.2.
      num_steps: the most steps of k-means, static.
      mesh: where the rows live, by default as the features are sharded.

    Returns:
      `Selection`, as of `k_means_nearest`.

    Raises:
      ValueError: a shape is wrong, or a number is out of its range.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import alfa_mix
      >>> x = jnp.array([[-9.0], [-8.0], [-0.1], [0.1], [8.0], [9.0]])
      >>> is_labelled = jnp.array([True, False, False, False, False, True])
      >>> labels = jnp.array([0, -1, -1, -1, -1, 1])
      >>> logits = jnp.concatenate([-x, x], axis=1)
      >>> picks = alfa_mix(jax.random.key(0), x, ~is_labelled, is_labelled,
      ...                  batch_size=1, logits=logits, labels=labels)
      >>> int(picks.indices[0]) in (2, 3)
      True

    Reference:
      Parvaneh et al., "Active Learning by Feature Mixing", CVPR 2022.
      https://arxiv.org/abs/2203.07034
    """
    if not 0 < step <= 1:
        raise ValueError(f"step is {step}, expected more than 0 and at most 1.")
    rows = as_embedding(embedding)
    features = written_out(rows, "it is mixed with anchors in coordinates").x
    # Not from rows that only pad the pool.
    head = linear_head(logits, features, is_available | is_labelled, mesh=mesh)
    mixed = _Rows(logits, features, labels, is_available, is_labelled)
    return within(k_means_nearest)(
        key,
        unit_rows(features),
        is_available,
        batch_size=batch_size,
        is_candidate=_candidates(head, mixed, batch_size, step, mesh),
        num_steps=num_steps,
        mesh=mesh,
    )


@partial(jax.jit, static_argnums=(2, 3, 4))
def _candidates(
    head: LinearHead, rows: _Rows, batch_size: int, step: float, mesh: Mesh | None
) -> Array:
    def find(shard: Shard, head: LinearHead, rows: _Rows) -> Array:
        reach, has_anchor = mixing_reach(shard, head, rows)
        levels = step * jnp.arange(1, math.ceil(1 / step) + 1)
        is_changed = (reach[:, None] < levels[None]) & rows.is_available[:, None]
        is_enough = shard.sum(jnp.sum(is_changed, axis=0)) > batch_size
        level = jnp.where(jnp.any(is_enough), jnp.argmax(is_enough), levels.size - 1)
        return is_changed[:, level] | ~has_anchor

    return over_rows(find, head, rows, mesh=mesh, out_specs=SPREAD)


def mixing_reach(shard: Shard, head: LinearHead, rows: _Rows) -> tuple[Array, Array]:
    """Returns the least `epsilon sqrt(D)` that changes each row; if there are anchors.

    Infinite where no mixture changes the prediction.
    """
    anchors, is_anchor = _anchors(shard, head, rows)
    num_dims = rows.features.shape[1]

    def reach(chunk: Embedding) -> Array:
        assert isinstance(chunk, Outer)
        seen = Dense(chunk.h - head.centre[None])
        apart = squared_distances(seen, seen.sqnorm(), Dense(anchors))
        farthest = jnp.sqrt(jnp.max(jnp.where(is_anchor[None], apart, 0), axis=-1))
        needed = _length_needed(head, chunk)
        needed = jnp.where(farthest > 0, needed, jnp.inf)
        return math.sqrt(num_dims) * needed / jnp.where(farthest > 0, farthest, 1)

    found = map_chunks(Outer(rows.logits, rows.features), reach)
    return found, jnp.any(is_anchor)


def _anchors(shard: Shard, head: LinearHead, rows: _Rows) -> tuple[Array, Array]:
    """Returns class means `[C, D]`, as seen from the centre, and which there are."""
    classes = jnp.where(rows.is_labelled, rows.labels, -1)
    members = jax.nn.one_hot(classes, rows.logits.shape[1], dtype=head.bias.dtype)
    features = jnp.where(
        rows.is_labelled[:, None], rows.features - head.centre[None], 0
    )
    sums = linalg.product(members.T, features)
    sums, mass = shard.sum((sums, jnp.sum(members, axis=0)))
    return sums / jnp.maximum(mass, 1)[:, None], mass > 0


def _length_needed(head: LinearHead, chunk: Outer) -> Array:
    """Returns how far along the gradient the predicted class is another one."""
    residual = gradient_embedding(chunk.a, chunk.h).a
    largest = jnp.max(jnp.abs(residual), axis=-1, keepdims=True)
    residual = residual / jnp.where(largest > 0, largest, 1)
    change, length = project_out(head, residual)
    logits = chunk.a.astype(change.dtype)
    label = jnp.argmax(logits, axis=-1, keepdims=True)
    gap = jnp.take_along_axis(logits, label, -1) - logits
    speed = change - jnp.take_along_axis(change, label, -1)
    time = jnp.where(speed > 0, gap / jnp.where(speed > 0, speed, 1), jnp.inf)
    return jnp.min(time, axis=-1) * length


register(
    "alfa_mix",
    composed(alfa_mix, logits=logits, labels=labels),
    family="disturbance, clusters",
    cost="O(N (D + C)^2), then O(K N D) a step of k-means",
)
