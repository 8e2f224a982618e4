"""Log-determinants, and how much of them a query or a private set leaves."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.embeddings import Dense, Embedding
from jaxal.embeddings.compositions import written_out
from jaxal.pools.mesh import Shard, over_rows
from jaxal.readings import by_selector, projected
from jaxal.registry import register
from jaxal.selection.cover.sets import Sets, Some, check_sets, refuse_both, seen_sets
from jaxal.selection.engine.by_determinants import (
    Given,
    greedy_determinant,
    left_over,
    moved,
)
from jaxal.selection.engine.door import Rows, pool_rows, selector
from jaxal.selection.engine.kernels import Kernel, KernelName, check_kernel, kernel_rows
from jaxal.types import Selection, Strategy

_WHY = "labelled rows are known by coordinates"


class _Options(NamedTuple):
    batch_size: int
    kernel: KernelName


class _Numbers(NamedTuple):
    eta: Array
    nu: Array
    ridge: Array
    bandwidth: Array


@selector
def log_determinant(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    query: Array | Embedding | None = None,
    is_query: Array | None = None,
    private: Array | Embedding | None = None,
    is_private: Array | None = None,
    eta: float | Array = 1.0,
    nu: float | Array = 1.0,
    ridge: float | Array = 1.0,
    kernel: KernelName = "cosine",
    bandwidth: float | Array = 1.0,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks rows by the greedy maximum of a log-determinant, or what sets leave of it.

    With `S` the similarities plus `ridge` on their diagonal, `A` the picks, `Q` the
    query and `P` the private set:

    * neither set: `f(A) = log det S_A`;
    * a private set (LogDetCG): `log det(S_A - nu^2 S_AP S_P^-1 S_PA)`;
    * a query (LogDetMI): `log det S_A - log det(S_A - eta^2 S_AQ S_Q^-1 S_QA)`.

    Labelled rows condition `S` first, as a private set with `nu = 1`. The `[K, N]`
    Cholesky factor is kept (two of `[K + M, N]` at most). Ties are drawn with the key.

    Args:
      key: a typed key, consumed; used for ties and for filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows that are known already; None for no such rows.
        Labelled rows need `Dense` rows and a kernel that is not "rbf".
      batch_size: picks `K`, static.
      query: `[M, D]` or `M` rows of the same embedding that picks should be like.
      is_query: `[M]` bool, which of them are there; all by default.
      private: as `query`, rows that picks should be unlike.
      is_private: as `is_query`.
      eta: how much the query counts for, 0 to 1; the default is the authors' code's.
      nu: how hard private rows are avoided, 0 to 1.
      ridge: what the diagonal is raised by; the default is the authors' code's.
      kernel: "cosine", one plus the cosine, halved, as in the authors' code where there
        is a query or a private set, and a choice made here where there is none, for
        which it has the cosine; "rbf" on rows of unit length; or "linear".
      bandwidth: of "rbf".
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is the gain in nats. Where without a
      ridge all rows left depend on picks, they are taken at random, with score 0.
      Indices are `N` where fewer than `K` rows were available.

    Raises:
      ValueError: a shape or a name is wrong, both sets are passed, or `batch_size` is
        not in `1 .. N`.
      TypeError: a dtype is wrong, a set is of another kind than the embedding, or
        labelled rows have no coordinates written out.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import log_determinant
      >>> x = jnp.array([[1.1, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.2]])
      >>> key, free = jax.random.key(0), jnp.ones(4, bool)
      >>> picks = log_determinant(key, x, free, batch_size=2, kernel="linear")
      >>> picks.indices.tolist()
      [0, 2]
      >>> wanted = jnp.array([[0.0, 2.0]])
      >>> log_determinant(key, x, free, batch_size=1, query=wanted).indices.tolist()
      [2]

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    rows = pool_rows(embedding, is_available, is_labelled)
    sets = check_sets(rows.embedding, query, is_query, private, is_private)
    refuse_both(sets)
    check_kernel(kernel, bandwidth)
    if is_labelled is not None:
        written_out(rows.embedding, _WHY)
        if kernel == "rbf":
            raise ValueError(
                "kernel is 'rbf' and is_labelled was passed, expected a kernel with "
                "coordinates. Pass 'cosine', or the labelled rows as private ones."
            )
    numbers = _Numbers(*map(jnp.float32, (eta, nu, ridge, bandwidth)))
    return _select(key, rows, sets, numbers, _Options(batch_size, kernel), mesh)


@partial(jax.jit, static_argnums=(4, 5))
def _select(
    key: Array,
    rows: Rows,
    sets: Sets,
    numbers: _Numbers,
    options: _Options,
    mesh: Mesh | None,
) -> Selection:
    def select(shard: Shard, shared: tuple, rows: Rows) -> Selection:
        key, sets, numbers = shared
        kernel = Kernel(numbers.bandwidth, options.kernel)
        seen, given_rows = rows.embedding, rows.is_labelled
        if given_rows is None:
            seen = kernel_rows(seen, options.kernel, True)
            sets = seen_sets(sets, options.kernel, True)
        else:
            ridge, name = numbers.ridge, options.kernel
            seen, sets = _conditioned(shard, seen, given_rows, sets, ridge, name)
            kernel = Kernel(numbers.bandwidth, "linear")
        given: tuple[Given | None, ...] = (None,)
        if sets.private is not None:
            given = (Given(*sets.private, numbers.nu),)
        if sets.query is not None:
            given = (None, Given(*sets.query, numbers.eta))
        free, num = rows.is_available, options.batch_size
        return greedy_determinant(
            key, shard, kernel, seen, free, num, numbers.ridge, given, True
        )

    return over_rows(select, (key, sets, numbers), rows, mesh=mesh)


def _conditioned(
    shard: Shard,
    rows: Embedding,
    is_given: Array,
    sets: Sets,
    ridge: Array,
    name: KernelName,
) -> tuple[Embedding, Sets]:
    """Returns rows and sets whose inner products are what labelled rows leave."""
    pool = _written(rows, name)
    matrix = left_over(shard, pool, is_given, ridge)

    def seen(some: Some | None) -> Some | None:
        if some is None:
            return None
        return Some(moved(_written(some.rows, name), matrix), some.is_there)

    return moved(pool, matrix), Sets(seen(sets.query), seen(sets.private))


def _written(rows: Embedding, name: KernelName) -> Dense:
    """Returns coordinates of which the kernel is the inner product."""
    dense = written_out(rows, _WHY)
    if name == "linear":
        return dense
    lengths = jnp.sqrt(dense.sqnorm())[:, None]
    unit = jnp.where(lengths > 0, dense.x / jnp.where(lengths > 0, lengths, 1), 0)
    ones = jnp.ones_like(lengths)
    return Dense(jnp.concatenate([unit, ones], axis=-1) / math.sqrt(2))


@register(
    "log_determinant",
    family="diverse, submodular",
    cost="O(K N (D + K))",
    budget="many labels",
)
def log_determinant_strategy(
    *, of: str = "gradients_with_bias", ridge: float = 1.0, num_dims: int = 512
) -> Strategy:
    """Returns the log-determinant: rows unlike what is labelled, and each other.

    Args:
      of: what rows are; the paper's are gradients of the last layer and its bias.
      ridge: what the diagonal of similarities is raised by.
      num_dims: random coordinates kept of gradients; features are taken as they are.

    Reference:
      Kothawade et al., "SIMILAR: Submodular Information Measures Based Active Learning
      In Realistic Scenarios", NeurIPS 2021. https://arxiv.org/abs/2107.00717
    """
    return by_selector(log_determinant, projected(of, num_dims), ridge=ridge)
