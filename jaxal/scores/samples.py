"""Statistics over posterior samples held in one array `[S, ..., C]`.

Two forms of each. On a CPU a few samples of a few classes are written out term by term:
one loop over rows, every exponential taken once, sums kept in registers. Anything
larger is folded sample by sample, first the normalisers, then what needs probabilities:
passes that hold `[S, ...]` and `[..., C]` but nothing as large as the samples.
Accelerators do without either where one kernel reduces all samples at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.scores.classes import (
    Exponentials,
    blocks,
    entropy_of,
    exponentials,
    exponentials_of,
    has_columns,
    tree,
    winner,
    winner_of,
)

MAX_TERMS = 256  # samples x classes written out; beyond it compiling takes seconds
MAX_WRITTEN = 32  # samples written out where the class axis is not


class Consensus(NamedTuple):
    """The mean prediction, as blocks of `[..., C]`, and the mean entropy `[..., 1]`."""

    probabilities: list[Array]
    entropy: Array


def is_small(x: Array) -> bool:
    """Whether the samples are few enough to be written out, which suits a CPU."""
    is_few = x.shape[0] * x.shape[-1] <= MAX_TERMS and has_columns(x.shape[-1])
    return is_few and _on_cpu()


def _on_cpu() -> bool:
    # On an H100, BALD of 20 x 10^6 x 10 written out took 39 s to compile.
    return jax.default_backend() == "cpu"


def consensus(x: Array) -> Consensus:
    """Mean prediction and mean entropy of `[S, ..., C]` samples."""
    num_samples = x.shape[0]
    if is_small(x):
        terms = [exponentials(sample) for sample in x]
        means = [tree(jnp.add, column) / num_samples for column in _columns(terms)]
        entropy = tree(jnp.add, [entropy_of(term) for term in terms]) / num_samples
        return Consensus(means, entropy)
    normalisers, entropies = _normalisers(x)
    mean = _mean_probabilities(x, normalisers)
    return Consensus(blocks(mean), jnp.mean(entropies, axis=0)[..., None])


def mean_deviation(x: Array) -> Array:
    """Standard deviation over the samples, mean over the classes, `[...]`."""
    num_samples = x.shape[0]
    if is_small(x):
        columns = _columns([exponentials(sample) for sample in x])
        deviations = [_deviation(list(column)) for column in columns]
        return (tree(jnp.add, deviations) / x.shape[-1])[..., 0]
    normalisers, _ = _normalisers(x)
    mean = _mean_probabilities(x, normalisers)
    squares = _fold(
        lambda total, s: total + (_probabilities(x, normalisers, s) - mean) ** 2,
        jnp.zeros_like(mean),
        num_samples,
    )
    return jnp.mean(jnp.sqrt(squares / num_samples), axis=-1)


def log_mean(x: Array) -> Array:
    """Logarithm of the mean prediction, `[..., C]`, without leaving the log domain."""
    num_samples = x.shape[0]
    normalisers, _ = _normalisers(x)

    def log_probabilities(s: Array | int) -> Array:
        return x[s] - normalisers[s][..., None]

    low = jnp.full(x.shape[1:], jnp.finfo(x.dtype).min, x.dtype)
    if num_samples <= MAX_WRITTEN:
        logs = [log_probabilities(s) for s in range(num_samples)]
        top = tree(jnp.maximum, [*logs, low])
        total = tree(jnp.add, [jnp.exp(log - top) for log in logs])
        return top + jnp.log(total / num_samples)
    top = _fold(lambda top, s: jnp.maximum(top, log_probabilities(s)), low, num_samples)
    total = _fold(
        lambda total, s: total + jnp.exp(log_probabilities(s) - top),
        jnp.zeros_like(top),
        num_samples,
    )
    return top + jnp.log(total / num_samples)


def unless_nan(scores: Array, x: Array, axes: int | tuple[int, int]) -> Array:
    """Returns scores, NaN where `x` has one along `axes`: a vote of NaN is none."""
    return jnp.where(jnp.isnan(jnp.sum(x, axis=axes)), jnp.nan, scores)


def vote_counts(x: Array) -> list[Array]:
    """How many samples rank each class first, as blocks of `[..., C]`."""
    if is_small(x):
        winners = [winner(sample) for sample in x]
        return [
            tree(jnp.add, [(vote == c).astype(x.dtype) for vote in winners])
            for c in range(x.shape[-1])
        ]
    votes = _stack(lambda s: winner_of(_sample_blocks(x, s))[0, ..., 0], x, jnp.int32)
    classes = lax.broadcasted_iota(jnp.int32, x.shape[1:], x.ndim - 2)
    zeros = jnp.zeros(x.shape[1:], x.dtype)
    return blocks(
        _fold(lambda n, s: n + (votes[s][..., None] == classes), zeros, x.shape[0])
    )


def _columns(terms: list[Exponentials]) -> list[tuple[Array, ...]]:
    """The samples' probabilities of each class."""
    rows = [[value / term.total for value in term.values] for term in terms]
    return list(zip(*rows, strict=True))


def _deviation(values: list[Array]) -> Array:
    """Standard deviation from sums of differences to the first value.

    Unlike sums of squares of the values these do not cancel where all nearly agree, and
    unlike differences to the mean they let each value be forgotten at once.
    """
    steps = [value - values[0] for value in values[1:]]
    if not steps:
        return jnp.zeros_like(values[0])
    first, second = steps[0], steps[0] ** 2
    for step in steps[1:]:
        first, second = first + step, second + step**2
    num = len(values)
    return jnp.sqrt(jnp.maximum(second - first**2 / num, 0) / num)


def _normalisers(x: Array) -> tuple[Array, Array]:
    """Logarithms of the samples' partition functions, and entropies: `[S, ...]`."""
    if not (has_columns(x.shape[-1]) and _on_cpu()):
        terms = exponentials(x)
        normalisers = terms.largest + jnp.log(terms.total)
        return normalisers[..., 0], entropy_of(terms)[..., 0]

    def both(s: Array) -> Array:
        terms = exponentials_of(_sample_blocks(x, s))
        normaliser = terms.largest + jnp.log(terms.total)
        # One complex number, because a loop that wrote two arrays would be two loops,
        # each taking all the exponentials.
        return lax.complex(normaliser, entropy_of(terms))[0, ..., 0]

    pairs = _stack(both, x, jnp.result_type(x, jnp.complex64))
    return pairs.real, pairs.imag


def _mean_probabilities(x: Array, normalisers: Array) -> Array:
    if not _on_cpu() and x.shape[0] <= MAX_WRITTEN:
        # Kept, or every class of a row would compute its normaliser again.
        normalisers = lax.optimization_barrier(normalisers)
        samples = range(x.shape[0])
        return tree(
            jnp.add, [_probabilities(x, normalisers, s) for s in samples]
        ) / len(samples)
    zeros = jnp.zeros(x.shape[1:], x.dtype)
    total = _fold(
        lambda total, s: total + _probabilities(x, normalisers, s), zeros, x.shape[0]
    )
    return total / x.shape[0]


def _probabilities(x: Array, normalisers: Array, s: Array | int) -> Array:
    return jnp.exp(x[s] - normalisers[s][..., None])


def _sample_blocks(x: Array, s: Array) -> list[Array]:
    """Blocks of one sample, `[1, ..., C]`, each sliced from the whole array.

    Slicing the sample first and its columns then would compile to scalar code.
    """
    zeros = (0,) * (x.ndim - 2)
    if not has_columns(x.shape[-1]):
        return [lax.dynamic_slice(x, (s, *zeros, 0), (1, *x.shape[1:]))]
    shape = (1, *x.shape[1:-1], 1)
    return [lax.dynamic_slice(x, (s, *zeros, c), shape) for c in range(x.shape[-1])]


def _fold(step: Callable[[Array, Array], Array], init: Array, num: int) -> Array:
    return jax.lax.fori_loop(0, num, lambda s, carry: step(carry, s), init)


def _stack(row: Callable[[Array], Array], x: Array, dtype: jnp.dtype) -> Array:
    """Stacks `row(s)` over the samples to `[S, ...]`."""
    zeros = jnp.zeros(x.shape[:-1], dtype)

    def step(stack: Array, s: Array) -> Array:
        return lax.dynamic_update_index_in_dim(stack, row(s), s, axis=0)

    return _fold(step, zeros, x.shape[0])
