"""Hyperparameters of a process, and whether its columns are bent, by likelihood."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.training.heads.kernels import (
    Hyperparameters,
    Kernel,
    fit_hyperparameters,
    log_evidence,
    usual,
)
from jaxal.training.heads.rows import some_rows
from jaxal.training.heads.warping import Warp, normal_warp, straight, warped

NUM_STEPS = 150
_MOST_WARPING = 128  # labelled rows that decide whether columns are bent
_LEAST_GAIN = 1.0  # nats


class Labelled(NamedTuple):
    """Rows by which hyperparameters are chosen."""

    rows: Array  # [L, D]
    targets: Array  # [L, C]
    noise: Array  # [L, C]
    is_used: Array  # [L]


def chosen(
    kernel: Kernel,
    spread: float,
    start: tuple[Hyperparameters, Warp | None],
    known: Labelled,
    sample: Array,
    is_valid: Array,
) -> tuple[Hyperparameters, Warp | None]:
    """Returns hyperparameters, and the warp that labels ask for by more than a nat.

    Args:
      kernel: which.
      spread: see `fit_hyperparameters`.
      start: hyperparameters to start from; None in the place of a warp if there is to
        be none.
      known: labelled rows.
      sample: `[B, D]` rows of the pool, scaled as those are.
      is_valid: `[B]` bool, which of them to look at.
    """

    def fit(warp: Warp | None, hyper: Hyperparameters, some: Labelled) -> tuple:
        rows, targets, noise, is_used = some
        seen = warped(warp, rows), targets.T, noise.T, is_used
        hyper = fit_hyperparameters(kernel, NUM_STEPS, spread, hyper, *seen)
        return hyper, log_evidence(kernel, hyper, *seen)

    hyper, warp = start
    width, dtype = sample.shape[1], hyper.log_noise.dtype
    is_sound = jnp.isfinite(jnp.concatenate([jnp.ravel(x) for x in hyper])).all()
    hyper = jax.tree.map(partial(jnp.where, is_sound), hyper, usual(width, dtype))
    if warp is None:
        return fit(None, hyper, known)[0], None
    pair = straight(sample), normal_warp(sample, is_valid)
    warps = jax.tree.map(lambda *parts: jnp.stack(parts), *pair)
    some, are_used = some_rows(known[:3], known.is_used, _MOST_WARPING)
    few = Labelled(*some, are_used)
    tried, evidence = jax.lax.map(lambda warp: fit(warp, hyper, few), warps)
    is_likelier = evidence[1] > evidence[0] + _LEAST_GAIN
    place = (is_likelier | jnp.isnan(evidence[0])).astype(jnp.int32)
    hyper, warp = jax.tree.map(lambda x: x[place], (tried, warps))
    if few.is_used.size < known.is_used.size:
        hyper = fit(warp, hyper, known)[0]
    return hyper, warp
