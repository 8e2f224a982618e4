r"""Multinomial logistic regression, solved, for many penalties at once.

In the basis in which $Z^\top S Z / 2 C + \Lambda$ is the identity, all directions are
about as curved, and conjugate gradients need some twenty steps of two matrix products.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg

_CHUNK = 256  # rows of a matrix product; those not labelled yet cost nothing
_TOLERANCE = 1e-4  # of the gradient, nats a square root of a row
_FURTHEST = 2.0  # of a Newton step


class SoftmaxProblem(NamedTuple):
    """Rows with targets, and G penalties: as many models of `C` classes."""

    design: Array  # [L, D], a column of ones for the bias
    targets: Array  # [L, C], distributions over classes
    weights: Array  # [L], 0 for rows that do not count
    penalty: Array  # [G, D], positive
    num_rows: Array  # [] int32, rows beyond it have no weight


class SoftmaxFit(NamedTuple):
    """What a solver found."""

    coefficients: Array  # [G, D, C]
    num_steps: Array  # [] int32
    gap: Array  # [G] size of the gradient, nats, in the metric of the basis


class _Rows(NamedTuple):
    """Rows in the basis, in K chunks of B; products read both orders without a copy."""

    design: Array  # [K, G, B, D]
    columns: Array  # [K, G, D, B]
    targets: Array  # [K, 1, C, B]
    weights: Array  # [K, 1, 1, B]


class _Solver(NamedTuple):
    """What steps read."""

    rows: _Rows
    num_chunks: Array | None  # [] that hold rows; None: there is one chunk
    curvature: float  # of a row, in the basis


class _Path(NamedTuple):
    """Steps under way; classes come before rows, whose many vectorise."""

    at: Array  # [G, C, D]
    logits: Array  # [K, G, C, B]
    probs: Array  # [K, G, C, B]
    direction: Array  # [G, C, D]
    gradient: Array  # [G, C, D]
    last: Array  # [G, C, D] the gradient before
    num_steps: Array  # []


def solve_softmax(
    problem: SoftmaxProblem, start: Array | None = None, *, max_steps: int = 200
) -> SoftmaxFit:
    r"""Returns $\arg\min_W \sum_n w_n H(t_n, \mathrm{softmax}(z_n W)) + \frac12 W^\top
    \Lambda W$, for every penalty.

    By nonlinear conjugate gradients (Polak and Ribiere). A step is as long as a secant
    through a Newton step has it, and never shorter than Boehning's bound on the
    curvature, half the rows' Gram matrix, is sure of.

    Args:
      problem: what is solved.
      start: `[G, D, C]` coefficients, by default zeros.
      max_steps: steps after which to stop, converged or not.

    Returns:
      A `SoftmaxFit`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.heads.softmax import SoftmaxProblem, solve_softmax
      >>> design = jnp.array([[1.0, 1.0], [-1.0, 1.0]])
      >>> problem = SoftmaxProblem(
      ...     design, jnp.eye(2), jnp.ones(2), jnp.ones([1, 2]), jnp.int32(2))
      >>> print(f"{solve_softmax(problem).coefficients[0, 0, 0]:.2f}")
      0.52

    Reference:
      Boehning, "Multinomial Logistic Regression Algorithm", Annals of the Institute of
      Statistical Mathematics 1992. https://doi.org/10.1007/BF00048682
    """
    curvature = 0.5 / problem.targets.shape[1]
    factor = _factor(problem, curvature)
    solver = _Solver(*_in_chunks(problem, factor), curvature)
    limit = _TOLERANCE * jnp.sqrt(problem.num_rows.astype(factor.dtype) + 1)

    def is_going(path: _Path) -> Array:
        return (path.num_steps < max_steps) & (_norm(path.gradient) > limit).any()

    groups, width = problem.penalty.shape
    at = jnp.zeros((groups, problem.targets.shape[1], width), factor.dtype)
    if start is not None:
        at = linalg.product(_turned(start), factor)
    logits = _moved(solver, at)
    probs, gradient = _gradient(solver, at, logits)
    first = jnp.zeros([], jnp.int32)
    path = _Path(at, logits, probs, jnp.zeros_like(at), gradient, gradient, first)
    path = jax.lax.while_loop(is_going, lambda path: _step(solver, path), path)
    found = jax.vmap(linalg.solve_lower_transposed)(factor, _turned(path.at))
    return SoftmaxFit(found, path.num_steps, _norm(path.gradient))


def mean_loss(problem: SoftmaxProblem, coefficients: Array) -> Array:
    """Returns the mean cross-entropy of the first model, NaN without rows."""
    logits = linalg.product(problem.design, coefficients[0])
    losses = -(problem.targets * jax.nn.log_softmax(logits)).sum(-1)
    return (problem.weights * losses).sum() / problem.weights.sum()


def _turned(a: Array) -> Array:
    return jnp.swapaxes(a, -2, -1)


def _dot(a: Array, b: Array) -> Array:
    return (a * b).sum((-2, -1), keepdims=True)


def _norm(a: Array) -> Array:
    return jnp.sqrt((a**2).sum((-2, -1)))


def _factor(problem: SoftmaxProblem, curvature: float) -> Array:
    """`[G, D, D]` lower, of what the Hessian is about."""
    design = problem.design * jnp.sqrt(problem.weights)[:, None]
    gram = curvature * linalg.product(design.T, design)
    return jax.vmap(lambda p: linalg.cholesky(gram + jnp.diag(p)))(problem.penalty)


def _in_chunks(problem: SoftmaxProblem, factor: Array) -> tuple[_Rows, Array | None]:
    size = problem.design.shape[0]
    columns = jax.vmap(linalg.solve_lower, in_axes=(0, None))(factor, problem.design.T)
    length = size if size <= _CHUNK else _CHUNK

    def chunked(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0), (0, 0), (0, -size % length)])
        return jnp.moveaxis(x.reshape(*x.shape[:2], -1, length), 2, 0)

    columns = chunked(columns)
    targets, weights = problem.targets.T[None], problem.weights[None, None]
    count = None if size <= _CHUNK else -(-problem.num_rows // _CHUNK)
    rows = _Rows(_turned(columns), columns, chunked(targets), chunked(weights))
    return rows, count


def _summed(solver: _Solver, fn: Callable[..., Any], *parts: Array) -> Any:
    """The sum of what `fn` says of each chunk of rows, and of parts `[K, ...]`."""

    def of(index: Array | int) -> Any:
        return fn(*jax.tree.map(lambda x: x[index], (solver.rows, *parts)))

    if solver.num_chunks is None:
        return of(0)
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(of, 0))
    return jax.lax.fori_loop(
        0, solver.num_chunks, lambda i, total: jax.tree.map(jnp.add, total, of(i)), none
    )


def _moved(solver: _Solver, at: Array) -> Array:
    """Logits `[K, G, C, B]`, zeros for chunks without rows."""
    columns = solver.rows.columns
    if solver.num_chunks is None:
        return linalg.product(at[None], columns)
    none = jnp.zeros((*columns.shape[:2], at.shape[1], columns.shape[3]), at.dtype)

    def move(i: Array, logits: Array) -> Array:
        return logits.at[i].set(linalg.product(at, columns[i]))

    return jax.lax.fori_loop(0, solver.num_chunks, move, none)


def _gradient(solver: _Solver, at: Array, logits: Array) -> tuple[Array, Array]:
    def part(rows: _Rows, logits: Array, probs: Array) -> Array:
        errors = probs - rows.targets - solver.curvature * logits
        return linalg.product(rows.weights * errors, rows.design)

    probs = jax.nn.softmax(logits, axis=-2)
    return probs, at + _summed(solver, part, logits, probs)


def _step(solver: _Solver, path: _Path) -> _Path:
    gradient, last = path.gradient, path.last
    least = jnp.finfo(gradient.dtype).tiny
    rise = _dot(gradient, gradient - last) / jnp.maximum(_dot(last, last), least)
    direction = jnp.maximum(rise, 0) * path.direction - gradient
    is_down = _dot(direction, gradient) < 0
    direction = jnp.where(is_down, direction, -gradient)
    moves = _moved(solver, direction)
    length = _length(solver, path, direction, moves)
    at, logits = path.at + length * direction, path.logits + length[None] * moves
    probs, after = _gradient(solver, at, logits)
    return _Path(at, logits, probs, direction, after, gradient, path.num_steps + 1)


def _length(solver: _Solver, path: _Path, direction: Array, moves: Array) -> Array:
    """How far to go, `[G, 1, 1]`, where logits move by `[K, G, C, B]`."""

    def bends(rows: _Rows, probs: Array, moves: Array) -> tuple[Array, Array]:
        weighted = rows.weights * moves
        mean = (probs * moves).sum(-2, keepdims=True)
        return _dot(weighted * probs, moves - mean), _dot(weighted, moves)

    def bent(rows: _Rows, logits: Array, probs: Array, moves: Array) -> Array:
        change = jax.nn.softmax(logits + newton * moves, axis=-2) - probs
        return _dot(rows.weights * change, moves)

    least = jnp.finfo(direction.dtype).tiny
    slope = -_dot(path.gradient, direction)
    bend, most = _summed(solver, bends, path.probs, moves)
    flat = _dot(direction, direction) - solver.curvature * most
    newton = slope / jnp.maximum(flat + bend, least)
    bent_by = _summed(solver, bent, path.logits, path.probs, moves)
    change = jnp.maximum(newton * flat + bent_by, least)
    secant = newton * jnp.clip(slope / change, 0, _FURTHEST)
    return jnp.maximum(secant, slope / jnp.maximum(flat + most / 2, least))
