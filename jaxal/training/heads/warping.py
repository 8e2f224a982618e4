"""Columns bent before a kernel sees them, where labels ask for it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.training.heads.rows import moments_of

_ORIGIN = 20  # one in so many rows lies below what a column is bent from
_LEAST_SPREAD = 1e-3  # a column with less is constant
_QUARTERS = (-8, 13)  # powers that are tried, from -2 to 3


class Warp(NamedTuple):
    """What becomes of columns; see `warped`."""

    sign: Array  # [D], -1 where a column is turned around first
    origin: Array  # [D]
    powers: Array  # [D], 1 where a column stays straight
    low: Array  # [D], beyond it and `high` a column goes on straight
    high: Array  # [D]
    shift: Array  # [D]
    factor: Array  # [D]


def straight(rows: Array) -> Warp:
    """Returns the warp that leaves rows `[B, D]` as they are."""
    zeros, ones = jnp.zeros_like(rows[0]), jnp.ones_like(rows[0])
    return Warp(ones, zeros, ones, zeros, zeros, zeros, ones)


def warped(warp: Warp | None, rows: Array) -> Array:
    """Returns rows `[B, D]` as a kernel is to see them."""
    if warp is None:
        return rows
    x, powers = rows * warp.sign[None] - warp.origin[None], warp.powers[None]
    within = jnp.clip(x, warp.low[None], warp.high[None])
    exponents = jnp.where(within < 0, 1 - powers, powers - 1)
    slopes = jnp.exp(exponents * jnp.log1p(jnp.abs(within)))
    bent = yeo_johnson(within, powers) + slopes * (x - within)
    return (bent - warp.shift[None]) * warp.factor[None]


def yeo_johnson(x: Array, power: Array) -> Array:
    r"""Returns $((1 + x)^p - 1) / p$, and $-((1 - x)^{2 - p} - 1) / (2 - p)$ below 0.

    An exponent of zero stands for its limit, $\pm \log(1 + |x|)$; $p = 1$ changes
    nothing.

    Args:
      x: any numbers.
      power: p, that broadcasts against them.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.heads.warping import yeo_johnson
      >>> bent = yeo_johnson(jnp.array([-3.0, 0.0, 3.0]), jnp.array(0.5))
      >>> [round(float(x), 2) for x in bent]
      [-4.67, 0.0, 2.0]

    Reference:
      Yeo and Johnson, "A New Family of Power Transformations to Improve Normality or
      Symmetry", Biometrika 2000. https://doi.org/10.1093/biomet/87.4.954
    """
    exponent = jnp.where(x < 0, 2 - power, power)
    # Not by its sign, which has no slope at zero.
    logs, is_zero = jnp.log1p(jnp.where(x < 0, -x, x)), exponent == 0
    safe = jnp.where(is_zero, 1, exponent)
    bent = jnp.where(is_zero, logs, jnp.expm1(safe * logs) / safe)
    return jnp.where(x < 0, -bent, bent)


def normal_warp(rows: Array, is_valid: Array) -> Warp:
    """Returns what makes each column look most like a normal distribution.

    Columns are bent from their 5 % quantile on, on the side of the shorter tail, go on
    straight beyond the rows that are looked at, and have a deviation of one afterwards;
    the power is that of the largest likelihood.

    Args:
      rows: `[B, D]`, of columns with a deviation of one.
      is_valid: `[B]` bool, rows to look at.
    """
    count = jnp.maximum(is_valid.sum(dtype=jnp.int32), 1)
    centre = moments_of(rows, is_valid).mean
    gaps = jnp.where(is_valid[:, None], rows - centre[None], 0)
    sign = jnp.where((gaps**3).sum(0) < 0, -1, 1).astype(rows.dtype)
    rows = rows * sign[None]
    ordered = jnp.sort(jnp.where(is_valid[:, None], rows, jnp.inf), axis=0)
    low = ordered[(count - 1) // _ORIGIN]
    origin = jnp.where(jnp.isfinite(low), low, 0)
    x = jnp.where(is_valid[:, None], rows - origin[None], 0)
    slopes = (jnp.sign(x) * jnp.log1p(jnp.abs(x))).sum(0) / count.astype(rows.dtype)

    def likelihood(power: Array) -> Array:
        deviation = moments_of(yeo_johnson(x, power), is_valid).deviation
        is_spread = deviation > _LEAST_SPREAD
        found = (power - 1) * slopes - jnp.log(jnp.where(is_spread, deviation, 1))
        return jnp.where(is_spread, found, -jnp.inf)

    powers = jnp.arange(*_QUARTERS).astype(rows.dtype) / 4
    found = jax.lax.map(likelihood, powers)
    best = jnp.where(jnp.isfinite(found.max(0)), powers[found.argmax(0)], 1)
    mean, deviation = moments_of(yeo_johnson(x, best[None]), is_valid)
    is_spread = deviation > _LEAST_SPREAD
    shift, factor = jnp.where(is_spread, mean, 0), jnp.where(is_spread, deviation, 1)
    return Warp(sign, origin, best, x.min(0), x.max(0), shift, 1 / factor)
