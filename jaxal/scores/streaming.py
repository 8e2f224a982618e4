"""Scores over posterior samples that arrive one at a time.

`S` samples of `N` rows and `C` classes need not exist at once: a stream folds one
sample after the other into a carry as large as a single sample.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.modes import any_promotion
from jaxal.scores.classes import (
    accumulated,
    blocks,
    check_logits,
    entropy_of,
    entropy_of_probabilities,
    exponentials,
    winner,
)
from jaxal.scores.samples import unless_nan


class Stream(NamedTuple):
    """A score over posterior samples as a fold, usable in any loop or scan.

    Functions:
      init: `(shape, dtype) -> carry` for samples of `shape` `[..., C]` and `dtype`.
      update: `(carry, logits) -> carry` takes in one sample `[..., C]`.
      finish: `carry -> scores`, what the score of the same name gives for all samples.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.scores import bald_stream
      >>> carry = bald_stream.init((1, 2), jnp.float32)
      >>> for logits in jnp.array([[[9.0, -9.0]], [[-9.0, 9.0]]]):
      ...   carry = bald_stream.update(carry, logits)
      >>> bald_stream.finish(carry).round(4)
      Array([0.6931], dtype=float32)
    """

    init: Callable[[Sequence[int], Any], Any]
    update: Callable[[Any, Array], Any]
    finish: Callable[[Any], Array]


class Seen(NamedTuple):
    """How many samples went in, and the dtype in which to answer."""

    num_samples: Array  # [] in the dtype of the sums
    like: Array  # [] in the dtype of the logits


class Consensus(NamedTuple):
    """Sums of probabilities and of entropies; None where the score needs neither."""

    seen: Seen
    probabilities: Array | None  # [..., C]
    entropies: Array | None  # [...]


class Spread(NamedTuple):
    """Running mean and sum of squared deviations of probabilities."""

    seen: Seen
    mean: Array  # [..., C]
    squares: Array  # [..., C]


class LogSum(NamedTuple):
    """Logarithm of the sum of probabilities."""

    seen: Seen
    value: Array  # [..., C]


class Votes(NamedTuple):
    """How many samples rank each class first."""

    seen: Seen
    counts: Array  # [..., C]


def _start(dtype: Any) -> tuple[Seen, Any]:
    wide = jnp.promote_types(dtype, jnp.float32)
    return Seen(jnp.zeros((), wide), jnp.zeros((), dtype)), wide


def _next(seen: Seen) -> Seen:
    return seen._replace(num_samples=seen.num_samples + 1)


def _consensus(mean: bool, entropies: bool) -> Callable[[Sequence[int], Any], Any]:
    def init(shape: Sequence[int], dtype: Any) -> Consensus:
        seen, wide = _start(dtype)
        return Consensus(
            seen,
            jnp.zeros(tuple(shape), wide) if mean else None,
            jnp.zeros(tuple(shape)[:-1], wide) if entropies else None,
        )

    return init


@jax.jit
def _add_consensus(carry: Consensus, logits: Array) -> Consensus:
    x = accumulated(logits)
    terms = exponentials(x)
    probabilities, entropies = carry.probabilities, carry.entropies
    if probabilities is not None:
        probabilities += _softmax(x, terms.largest, terms.total)
    if entropies is not None:
        entropies += entropy_of(terms)[..., 0]
    return Consensus(_next(carry.seen), probabilities, entropies)


def _softmax(x: Array, largest: Array, total: Array) -> Array:
    return jnp.exp(x - largest) / total


@jax.jit
def _finish_consensus(carry: Consensus) -> Array:
    seen, probabilities, entropies = carry
    score = jnp.zeros((), seen.num_samples.dtype)
    if probabilities is not None:
        mean = blocks(probabilities / seen.num_samples)
        score = entropy_of_probabilities(mean)[..., 0]
    if entropies is not None:
        expected = entropies / seen.num_samples
        # Mutual information is never negative; rounding is.
        score = expected if probabilities is None else jnp.maximum(score - expected, 0)
    return score.astype(seen.like.dtype)


def _init_spread(shape: Sequence[int], dtype: Any) -> Spread:
    seen, wide = _start(dtype)
    zeros = jnp.zeros(tuple(shape), wide)
    return Spread(seen, zeros, zeros)


@jax.jit
def _add_spread(carry: Spread, logits: Array) -> Spread:
    # Welford's update: E[p^2] - E[p]^2 would cancel where the samples nearly agree.
    x = accumulated(logits)
    terms = exponentials(x)
    seen = _next(carry.seen)
    p = _softmax(x, terms.largest, terms.total)
    step = p - carry.mean
    mean = carry.mean + step / seen.num_samples
    squares = carry.squares + step**2 * (carry.seen.num_samples / seen.num_samples)
    return Spread(seen, mean, squares)


@jax.jit
def _finish_spread(carry: Spread) -> Array:
    seen, _, squares = carry
    deviations = jnp.sqrt(jnp.maximum(squares / seen.num_samples, 0))
    return jnp.mean(deviations, axis=-1).astype(seen.like.dtype)


def _init_log_sum(shape: Sequence[int], dtype: Any) -> LogSum:
    seen, wide = _start(dtype)
    return LogSum(seen, jnp.full(tuple(shape), -jnp.inf, wide))


@jax.jit
def _add_log_sum(carry: LogSum, logits: Array) -> LogSum:
    x = accumulated(logits)
    terms = exponentials(x)
    log_probabilities = x - terms.largest - jnp.log(terms.total)
    return LogSum(_next(carry.seen), jnp.logaddexp(carry.value, log_probabilities))


@jax.jit
def _finish_log_sum(carry: LogSum) -> Array:
    seen, value = carry
    return (value - jnp.log(seen.num_samples)).astype(seen.like.dtype)


def _init_votes(shape: Sequence[int], dtype: Any) -> Votes:
    seen, wide = _start(dtype)
    return Votes(seen, jnp.zeros(tuple(shape), wide))


@jax.jit
def _add_votes(carry: Votes, logits: Array) -> Votes:
    x = accumulated(logits)
    classes = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    votes = jnp.where(jnp.isnan(x), x, winner(x) == classes)
    return Votes(_next(carry.seen), carry.counts + votes)


@jax.jit
def _finish_vote_entropy(carry: Votes) -> Array:
    seen, counts = carry
    shares = blocks(counts / seen.num_samples)
    found = entropy_of_probabilities(shares)[..., 0].astype(seen.like.dtype)
    return unless_nan(found, counts, -1)


@jax.jit
def _finish_variation_ratio(carry: Votes) -> Array:
    seen, counts = carry
    minority = seen.num_samples - jnp.max(counts, axis=-1)
    return (minority / seen.num_samples).astype(seen.like.dtype)


def _checked(update: Callable[[Any, Array], Any]) -> Callable[[Any, Array], Any]:
    @any_promotion
    def checked(carry: Any, logits: Array) -> Any:
        check_logits(logits)
        return update(carry, logits)

    return checked


bald_stream = Stream(
    _consensus(mean=True, entropies=True), _checked(_add_consensus), _finish_consensus
)
consensus_entropy_stream = Stream(
    _consensus(mean=True, entropies=False), _checked(_add_consensus), _finish_consensus
)
expected_entropy_stream = Stream(
    _consensus(mean=False, entropies=True), _checked(_add_consensus), _finish_consensus
)
mean_std_stream = Stream(_init_spread, _checked(_add_spread), _finish_spread)
log_mean_prob_stream = Stream(_init_log_sum, _checked(_add_log_sum), _finish_log_sum)
vote_entropy_stream = Stream(_init_votes, _checked(_add_votes), _finish_vote_entropy)
variation_ratio_stream = Stream(
    _init_votes, _checked(_add_votes), _finish_variation_ratio
)
