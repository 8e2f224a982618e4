"""Products in full, and factorisations of one matrix at a time, under `vmap` too.

On a CPU with few cores jaxlib shares a batch of matrices out among the threads that run
the program, and waits for them in one of those threads: with two such batches under
way, as in a loop over seeds or on several devices, all of them can wait for ever. Here
`vmap` becomes a loop over single matrices, which no thread waits for.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import sequential_vmap


def product(left: Array, right: Array) -> Array:
    """Returns `left @ right` in full: TF32 and bfloat16 would reorder close rows."""
    return jnp.matmul(left, right, precision="highest")


def rounding_of(mean: Array) -> Array:
    """Returns how far equal rows may lie from their mean, `[D]`, by rounding alone."""
    return 8 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)


@sequential_vmap
def cholesky(matrix: Array) -> Array:
    """Returns the lower Cholesky factor of `[D, D]`."""
    return jnp.linalg.cholesky(matrix)


@sequential_vmap
def solve_lower(factor: Array, right: Array) -> Array:
    """Returns `factor^-1 right` for a lower triangular `[D, D]` and `[D, M]`."""
    return jax.scipy.linalg.solve_triangular(factor, right, lower=True)


@sequential_vmap
def solve_lower_transposed(factor: Array, right: Array) -> Array:
    """Returns `factor^-T right` for a lower triangular `[D, D]` and `[D, M]`."""
    return jax.scipy.linalg.solve_triangular(factor, right, lower=True, trans=1)


@sequential_vmap
def positive_inverse(matrix: Array) -> Array:
    """Returns the inverse of a positive definite `[D, D]`."""
    factor = jax.scipy.linalg.cho_factor(matrix)
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    return jax.scipy.linalg.cho_solve(factor, identity)


@sequential_vmap
def solve(matrix: Array, right: Array) -> Array:
    """Returns `matrix^-1 right` for `[D, D]` and `[D, M]`."""
    return jnp.linalg.solve(matrix, right)


@sequential_vmap
def triangle(matrix: Array) -> Array:
    """Returns the triangular factor `R` of `Q R = matrix`, of `[M, D]`."""
    return jnp.linalg.qr(matrix, mode="r")


@sequential_vmap
def shortest_fit(matrix: Array, right: Array) -> Array:
    """Returns the shortest `x` for which `|matrix x - right|` is least."""
    return jnp.linalg.lstsq(matrix, right)[0]


@sequential_vmap
def eigh(matrix: Array) -> tuple[Array, Array]:
    """Returns eigenvalues `[D]` and eigenvectors `[D, D]` of a symmetric `[D, D]`."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors
