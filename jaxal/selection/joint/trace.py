"""The trace that BAIT lowers, kept up to date as rows are added and removed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.selection.joint.fisher import (
    FisherEmbedding,
    project,
    quadratic,
    written_out,
)


class Trace(NamedTuple):
    """The inverse `M^-1`, and for every row what judging it takes."""

    inverse: Array  # M^-1 [E D, E D]
    leverage: Array  # V_n^T M^-1 V_n [N, R, R]
    influence: Array  # V_n^T M^-1 F M^-1 V_n [N, R, R]


def start(
    rows: FisherEmbedding, target: Array, known: Array, regularization: Array
) -> Trace:
    """Returns what is known before the first pick."""
    identity = jnp.eye(known.shape[0], dtype=known.dtype)
    inverse = linalg.positive_inverse(known + regularization * identity)
    between = linalg.product(target, inverse)
    between = linalg.product(inverse, between)
    return Trace(inverse, quadratic(rows, inverse), quadratic(rows, between))


def update(
    state: Trace,
    rows: FisherEmbedding,
    target: Array,
    outputs: Array,
    features: Array,
    sign: int,
) -> Trace:
    """Adds (-1) or removes (1) a row: `M^-1` changes by `sign U U^T` of rank R."""
    own = written_out(outputs, features)
    moved = linalg.product(state.inverse, own)
    inner = linalg.product(own.T, moved)
    factor = linalg.cholesky(jnp.eye(inner.shape[0], dtype=inner.dtype) - sign * inner)
    change = linalg.solve_lower(factor, moved.T).T
    seen = linalg.product(target, change)
    back = linalg.product(state.inverse, seen)
    middle = linalg.product(change.T, seen)
    both = project(rows, jnp.concatenate([change, back], axis=1))
    left, right = jnp.split(both, 2, axis=2)
    transposed = left.swapaxes(1, 2)
    # (right + W middle / 2) W^T and its transpose together are all of the change.
    right = sign * right + 0.5 * linalg.product(left, middle)
    cross = linalg.product(right, transposed)
    square = linalg.product(left, transposed)
    rank_update = linalg.product(change, change.T)
    return Trace(
        state.inverse + sign * rank_update,
        state.leverage + sign * square,
        state.influence + cross + cross.swapaxes(1, 2),
    )


def trace_solve(matrix: Array, right: Array) -> Array:
    """Returns `trace(matrix^-1 right)` for symmetric `[N, R, R]`, infinite if singular.

    Elimination over all rows at once: R is small and N is not, which is the wrong
    way round for a library call a row.
    """
    rank = matrix.shape[-1]

    def eliminate(k: Array, carry: tuple) -> tuple:
        matrix, right, total = carry
        pivot = matrix[:, k, k]
        is_safe = pivot > 1e-6
        factors = matrix[:, :, k] / jnp.where(is_safe, pivot, 1)[:, None]
        factors = jnp.where((jnp.arange(rank) > k)[None], factors, 0)
        matrix = matrix - factors[:, :, None] * matrix[:, None, k, :]
        right = right - factors[:, :, None] * right[:, None, k, :]
        right = right - factors[:, None, :] * right[:, :, None, k]
        share = jnp.where(is_safe, right[:, k, k] / jnp.where(is_safe, pivot, 1), inf)
        return matrix, right, total + share

    inf = jnp.inf
    zeros = jnp.zeros(matrix.shape[0], matrix.dtype)
    return jax.lax.fori_loop(0, rank, eliminate, (matrix, right, zeros))[2]
