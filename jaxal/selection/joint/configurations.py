"""Answers that picks may get: all of them, or draws, with the posteriors they leave."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Configurations(NamedTuple):
    """Possible answers to the rows picked so far, `M` of them.

    Keeping the posterior each answer leaves, not its joint probability, is what
    makes single precision enough: K labels have a joint probability near C^-K.
    """

    weights: Array  # [M], sum to one
    posterior: Array  # [M, S], each row the weight of every sample after the answer


def enumerated(configurations: Configurations, probs: Array) -> Configurations:
    """Every answer followed by every label of one row, `[C, S]`."""
    joint = configurations.posterior[:, None, :] * probs[None, :, :]
    joint = joint.reshape(-1, probs.shape[1])
    weights = jnp.repeat(configurations.weights, probs.shape[0])
    return Configurations(weights * joint.sum(-1), _normalise(joint))


def _normalise(posterior: Array) -> Array:
    """Rows that sum to one; those of an answer that cannot come stay zero."""
    total = posterior.sum(-1, keepdims=True)
    return posterior / jnp.where(total > 0, total, 1)


def drawn(
    key: Array, configurations: Configurations, per_sample: int
) -> Configurations:
    """Replaces enumerated answers by draws from `p(answer | sample)`, sample-major."""
    likelihood = (configurations.weights[:, None] * configurations.posterior).T
    points = _stratified(key, likelihood.shape[0], per_sample)
    posterior = configurations.posterior[_quantile(likelihood, points)]
    posterior = posterior.reshape(-1, likelihood.shape[0])
    size = posterior.shape[0]
    return Configurations(jnp.full((size,), 1 / size), posterior)


def extended(
    key: Array, configurations: Configurations, probs: Array
) -> Configurations:
    """Each drawn answer goes on with a label from the sample it was drawn from."""
    size, num_samples = configurations.posterior.shape
    points = _stratified(key, num_samples, size // num_samples)
    labels = _quantile(probs.T, points).reshape(-1)
    posterior = _normalise(configurations.posterior * probs[labels])
    return configurations._replace(posterior=posterior)


def _stratified(key: Array, num_rows: int, size: int) -> Array:
    """Uniform points, one in each of `size` strata, their order shuffled by row.

    Without the shuffle an answer would keep its stratum from one label to the next.
    """
    shift_key, order_key = jax.random.split(key)
    order = jnp.argsort(jax.random.uniform(order_key, (num_rows, size)), axis=-1)
    return (order + jax.random.uniform(shift_key, (num_rows, 1))) / size


def _quantile(weights: Array, points: Array) -> Array:
    """Inverse of each row's distribution function, `[R, M]` at `[R, P]` points."""
    cumulative = jnp.cumsum(weights, axis=-1)
    total = cumulative[:, -1:]
    # A point rounded up to the total would fall on an entry of weight zero.
    points = jnp.minimum(points * total, jnp.nextafter(total, jnp.zeros_like(total)))
    search = functools.partial(jnp.searchsorted, side="right")
    return jax.vmap(search)(cumulative, points)
