"""Reductions over the class axis, in the form that compiles to vector code.

The class axis is short and innermost, the worst layout for a compiler that vectorises
the innermost loop. Where there are few classes each of them is therefore a column
`[..., 1]` of its own, and reductions are trees of elementwise operations over rows;
where there are many, the axis is reduced as a whole. Callers write one formula over a
list of blocks and get both.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.checks import (
    check_floating,
    check_has_classes,
    check_min_rank,
    of_classes,
)
from jaxal.modes import held

Formula = TypeVar("Formula", bound=Callable[..., Array])

# On the CPU, a hundred columns compile in half a second and run several times faster
# than the axis as a whole. A GPU reads columns of long rows badly.
_MAX_COLUMNS = {"cpu": 128}
_MAX_COLUMNS_ELSEWHERE = 16

# Above it, XLA's CPU backend fuses a chain that ends in one reduction into one pass;
# below, two reductions side by side are faster.
_MIN_CHAIN = 512

# exp(FLOOR) is zero in every dtype, and 0 * FLOOR is zero where 0 * -inf is not.
FLOOR = -1e4


class Exponentials(NamedTuple):
    """Shifted exponentials of `[..., C]` logits, as blocks, and their sum."""

    largest: Array  # [..., 1]
    shifted: list[Array]  # logits - largest, floored; blocks of [..., C]
    values: list[Array]  # exp(shifted); blocks of [..., C]
    total: Array  # [..., 1], at least 1


def check_logits(logits: Array) -> None:
    """Raises unless `logits` is floating point `[..., C]` with `C` at least 2."""
    check_floating("logits", logits, "Pass unnormalised scores or log-probabilities.")
    check_min_rank("logits", logits, 1, "[..., C]", "The last axis holds the classes.")
    check_has_classes("logits", logits)


def check_sample_logits(sample_logits: Array) -> None:
    """Raises unless `sample_logits` is floating point `[S, ..., C]`, rows included."""
    name = "sample_logits"
    check_floating(name, sample_logits, "Pass the logits of each posterior sample.")
    check_min_rank(
        name,
        sample_logits,
        3,
        "[S, N, C]",
        "The first axis holds the posterior samples. Stack the samples of several "
        "networks or masks, add sample_logits[None] for a single sample [N, C], or "
        "sample_logits[:, None] for a single row [S, C].",
    )
    check_has_classes(name, sample_logits)
    if jnp.shape(sample_logits)[0] == 0:
        raise ValueError(
            f"{name} has shape {list(jnp.shape(sample_logits))}, expected at least "
            "one posterior sample. Ask the posterior for num_samples of 1 or more."
        )


def _score(check: Callable[..., None]) -> Callable[[Formula], Formula]:
    def made(formula: Formula) -> Formula:
        # Compiled even when called eagerly: op by op, columns are hundreds of calls.
        compiled = jax.jit(formula)

        @of_classes
        @functools.wraps(formula)
        def score(*args: Array, **kwargs: Array) -> Array:
            args = tuple(_held(formula.__name__, arg) for arg in args)
            check(*args, **kwargs)
            return compiled(*args, **kwargs)

        return cast(Formula, score)

    return made


def _held(who: str, array: Array) -> Array:
    is_ours = not isinstance(array, np.ndarray) or array.ndim < 2
    if is_ours:
        return array
    return held(f"what {who} is given", array, axis=-2, may_overflow=True)


of_logits = _score(check_logits)
"""Makes a score of a formula over `logits`: checked, and compiled."""
of_samples = _score(check_sample_logits)
"""Makes a score of a formula over `sample_logits`: checked, and compiled."""


def accumulated(logits: Array) -> Array:
    """Returns the logits in the dtype sums are kept in: float32 or wider."""
    return jnp.asarray(logits, jnp.promote_types(jnp.result_type(logits), jnp.float32))


def has_columns(num_classes: int) -> bool:
    """Whether each class is a column of its own."""
    limit = _MAX_COLUMNS.get(jax.default_backend(), _MAX_COLUMNS_ELSEWHERE)
    return num_classes <= limit


def blocks(x: Array) -> list[Array]:
    """Splits `[..., C]` into columns `[..., 1]`, or keeps it whole if `C` is large."""
    num_classes = x.shape[-1]
    if not has_columns(num_classes):
        return [x]
    return [lax.slice_in_dim(x, c, c + 1, axis=-1) for c in range(num_classes)]


def tree(op: Callable, terms: Sequence) -> Array:
    """Folds `op` over the terms pairwise, which rounds less than one by one."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        odd = terms[-1:] if len(terms) % 2 else []
        terms = [op(a, b) for a, b in pairs] + odd
    return terms[0]


def total(terms: Sequence[Array]) -> Array:
    """Sums blocks of `[..., C]` over the classes to `[..., 1]`."""
    return jnp.sum(tree(jnp.add, terms), axis=-1, keepdims=True)


def largest(terms: Sequence[Array]) -> Array:
    """Largest value over the classes of blocks of `[..., C]`, as `[..., 1]`."""
    return jnp.max(tree(jnp.maximum, terms), axis=-1, keepdims=True)


def exponentials(x: Array) -> Exponentials:
    """Returns the shifted exponentials of `[..., C]` logits: all a softmax needs."""
    return exponentials_of(blocks(x))


def exponentials_of(columns: Sequence[Array]) -> Exponentials:
    """The same of logits that are blocks already."""
    top = largest(columns)
    shifted = [jnp.maximum(column - top, FLOOR) for column in columns]
    values = [jnp.exp(z) for z in shifted]
    return Exponentials(top, shifted, values, total(values))


def entropy_of(terms: Exponentials) -> Array:
    """Entropy `[..., 1]` in nats: log Z - sum_c e_c z_c / Z, never negative."""
    if terms.values[0].shape[-1] >= _MIN_CHAIN:
        (e,), (z,) = terms.values, terms.shifted
        return total([e / terms.total * (jnp.log(terms.total) - z)])
    weighted = total([e * z for e, z in zip(terms.values, terms.shifted, strict=True)])
    return jnp.log(terms.total) - weighted / terms.total


def entropy_of_probabilities(terms: Sequence[Array]) -> Array:
    """Entropy `[..., 1]` in nats of blocks of probabilities, with 0 log 0 = 0."""
    tiny = jnp.finfo(terms[0].dtype).tiny
    entropy = -total([p * jnp.log(jnp.maximum(p, tiny)) for p in terms])
    return jnp.maximum(entropy, 0)  # a rounded mean can exceed 1 by an ulp


def two_largest(x: Array) -> tuple[Array, Array]:
    """Returns the two largest values over the classes, each `[..., 1]`; ties count.

    One reduction that carries both values: sorting or `lax.top_k` costs far more.
    """
    low = jnp.full_like(x, -jnp.inf)
    pairs = list(zip(blocks(x), blocks(low), strict=True))
    first, second = tree(_merge_two, pairs)
    if first.shape[-1] > 1:
        init = jnp.asarray(-jnp.inf, x.dtype)
        merged = lax.reduce((first, second), (init, init), _merge_two, (x.ndim - 1,))
        first, second = merged[0][..., None], merged[1][..., None]
    return first, second


def _merge_two(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
    loser = jnp.minimum(a[0], b[0])
    return jnp.maximum(a[0], b[0]), jnp.maximum(loser, jnp.maximum(a[1], b[1]))


def winner(x: Array) -> Array:
    """Index `[..., 1]` int32 of the largest of `[..., C]`; the lowest one on a tie."""
    return winner_of(blocks(x))


def winner_of(columns: Sequence[Array]) -> Array:
    """The same of logits that are blocks already."""
    top = largest(columns)
    if len(columns) == 1:
        (x,) = columns
        index = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
        hits = jnp.where(x == top, index, x.shape[-1])
        return jnp.min(hits, axis=-1, keepdims=True)
    best = jnp.full(top.shape, len(columns) - 1, jnp.int32)
    for c in reversed(range(len(columns) - 1)):
        best = jnp.where(columns[c] == top, c, best)
    return best
