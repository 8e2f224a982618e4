"""Greedy maximisation of determinants by pivoted Cholesky, a few columns at a time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal import linalg
from jaxal.embeddings import Dense, Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.by_columns import (
    Pick,
    Rule,
    greedy_by_columns,
    pick_columns,
)
from jaxal.selection.engine.distances import map_chunks
from jaxal.selection.engine.kernel_sums import kernel_columns, row_gram
from jaxal.selection.engine.kernels import Kernel
from jaxal.types import Selection


class Factor(NamedTuple):
    """Columns of a Cholesky factor of the kernel, and what they leave of its diagonal.

    Row `n` has the variance `variance[n] = k(n, n) + ridge - sum_j columns[j, n]^2`
    given what the columns stand for: rows it is conditioned on, then the picks.
    """

    variance: Array  # [L]
    columns: Array  # [R + K, L]


class Given(NamedTuple):
    """Rows that a determinant is conditioned on, none of the pool."""

    rows: Embedding  # [R]
    is_there: Array  # [R]
    strength: float | Array  # 1 conditions in full, 0 not at all


def greedy_determinant(
    key: Array,
    shard: Shard,
    kernel: Kernel,
    rows: Embedding,
    is_available: Array,
    batch_size: int,
    ridge: float | Array,
    given: tuple[Given | None, ...],
    is_log: bool,
) -> Selection:
    """Picks rows of the largest variance given those before: the determinant's factor.

    With one entry of `given`, values are variances (their logarithms with `is_log`);
    with two, differences of log-variances, given the first less given the second.
    """
    full = map_chunks(rows, kernel.diagonal) + ridge
    factors = tuple(
        _start(shard, kernel, rows, full, batch_size, ridge, some) for some in given
    )
    sizes = tuple(factor.columns.shape[0] - batch_size for factor in factors)
    tolerance = 32 * float(jnp.finfo(full.dtype).eps) * full

    def update(shard: Shard, now: tuple, pick: Pick) -> tuple:
        triples = zip(now, pick.columns, sizes, strict=True)
        return tuple(_add(shard, pick, *triple) for triple in triples)

    def refine(shard: Shard, now: tuple, chosen: Array, columns: Array) -> tuple:
        return tuple(_residual(shard, factor, chosen, columns) for factor in now)

    rule = Rule(
        values=_values(tolerance, is_log),
        update=update,
        refine=refine,
        floor=-jnp.inf if is_log else 0.0,
        num_kept=_num_kept(),
    )
    return greedy_by_columns(
        key, shard, rule, kernel, rows, is_available, factors, batch_size
    )


def _values(tolerance: Array, is_log: bool) -> Callable[[tuple], Array]:
    def logs(factor: Factor) -> Array:
        # What rounding leaves of a row that depends on others is no variance.
        is_left = factor.variance > tolerance
        return jnp.where(
            is_left, jnp.log(jnp.where(is_left, factor.variance, 1)), -jnp.inf
        )

    def values(factors: tuple[Factor, ...]) -> Array:
        if not is_log:
            variance = factors[0].variance
            return jnp.where(variance > tolerance, variance, 0)
        if len(factors) == 1:
            return logs(factors[0])
        free, bound = map(logs, factors)
        # A row that depends on the picks has nothing to tell; one that the query
        # determines has all there is, up to rounding.
        bound = jnp.maximum(bound, jnp.log(jnp.maximum(tolerance, 1e-30)))
        return jnp.where(free > -jnp.inf, free - bound, -jnp.inf)

    return values


def _residual(shard: Shard, factor: Factor, chosen: Array, columns: Array) -> Array:
    """Returns kernel columns [M, L] less what is explained already."""
    known = pick_columns(shard, factor.columns, chosen)
    return columns - linalg.product(known.T, factor.columns)


def _add(
    shard: Shard, pick: Pick, factor: Factor, column: Array, before: int
) -> Factor:
    """Returns the factor with a pick's column, which is as of an earlier pick."""
    size = min(_num_kept(), factor.columns.shape[0] - before)
    last = factor.columns.shape[0] - size
    first = jnp.minimum(before + pick.since, last)
    late = lax.dynamic_slice_in_dim(factor.columns, first, size)
    # Columns not yet written are zero; those before `since` are in already.
    is_late = first + jnp.arange(size) >= before + pick.since
    known = pick_columns(shard, late, pick.row[None])[:, 0]
    explained = linalg.product(jnp.where(is_late, known, 0), late)
    variance = shard.fetch(factor.variance, pick.row[None])[0]
    # A pick without variance explains nothing.
    scale = jnp.where(variance > 0, 1 / jnp.sqrt(jnp.maximum(variance, 1e-30)), 0)
    new = (column - explained) * scale
    return Factor(
        variance=factor.variance - jnp.square(new),
        columns=lax.dynamic_update_slice_in_dim(
            factor.columns, new[None], before + pick.slot, 0
        ),
    )


def _start(
    shard: Shard,
    kernel: Kernel,
    rows: Embedding,
    full: Array,
    batch_size: int,
    ridge: float | Array,
    given: Given | None,
) -> Factor:
    empty = jnp.zeros((batch_size, shard.num_rows), full.dtype)
    if given is None:
        return Factor(full, empty)
    is_there, size = given.is_there, given.is_there.size
    among = kernel(given.rows, given.rows)
    is_pair = is_there[:, None] & is_there[None]
    # Rows that stand in for missing ones become independent of all others.
    among = jnp.where(is_pair, among, 0) + jnp.diag(jnp.where(is_there, ridge, 1))
    # A little more where the ridge is nothing, so that duplicates do no harm.
    nudge = 8 * jnp.finfo(full.dtype).eps * jnp.trace(among)
    factor = linalg.cholesky(among + nudge * jnp.eye(size, dtype=full.dtype))
    across = kernel_columns(kernel, given.rows, rows)
    across = given.strength * jnp.where(is_there[:, None], across, 0)
    known = linalg.solve_lower(factor, across)
    left = full - jnp.sum(jnp.square(known), axis=0)
    return Factor(left, jnp.concatenate([known, empty]))


def left_over(
    shard: Shard, rows: Dense, is_given: Array, ridge: float | Array
) -> Array:
    """Returns the matrix rows are multiplied by to know those of `is_given`, `[D, D]`.

    `<x, y> - k_x (K + ridge I)^-1 k_y = x (I + G / ridge)^-1 y` with `G` the sum of
    `z z^T` over the given rows `z`: the matrix is a root of that inverse.
    """
    gram = shard.sum(row_gram(rows, is_given))
    # Beyond that the inverse has no digits left.
    ridge = jnp.maximum(ridge, 1e-6 * jnp.maximum(jnp.trace(gram), 1e-30))
    eye = jnp.eye(gram.shape[0], dtype=gram.dtype)
    root = linalg.cholesky(eye + gram / ridge)
    return linalg.solve_lower(root, eye).T


def moved(rows: Dense, matrix: Array) -> Dense:
    """Returns rows times a matrix."""
    x = rows.x.astype(matrix.dtype)
    return Dense(linalg.product(x, matrix))


def _num_kept() -> int:
    """Returns how many columns one product is asked for."""
    return 16 if jax.default_backend() == "cpu" else 64
