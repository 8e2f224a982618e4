"""A law of values that broke is named: NaN, ties, utility, number formats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxal import Selection, margin, stateless
from jaxal.testing import hostile
from jaxal.testing.chances import divergence
from tests.testing.sound import (
    LOGITS,
    Broken,
    blanked,
    buy,
    by_margin,
    changed,
    check_named,
    ranked,
    selecting,
)
from tests.thinned import thinned


def multiplies_by_the_mask(key, view):
    """Puts masked rows to zero by a product, which NaN survives."""
    is_used = view.is_available | view.is_labelled
    logits = jnp.maximum(view.logits, -100) * is_used[:, None]
    return -jnp.sum(jnp.square(logits - logits.sum(0)[None]), axis=-1)


def takes_the_lowest_rows(key, view, batch_size):
    """Ranks by margin; of rows that tie the first come first."""
    worth = margin(view.logits)
    is_sound = ~jnp.any(jnp.isnan(worth) & view.is_available)
    lowest = jnp.finfo(worth.dtype).min
    worth = jnp.where(view.is_available, jnp.maximum(worth, lowest), -jnp.inf)
    scores, rows = lax.top_k(worth, batch_size)
    is_valid = (jnp.arange(batch_size) < view.is_available.sum()) & is_sound
    return blanked(Selection(rows, scores, is_valid), worth.size)


def draws_the_first_pick_only(key, view, batch_size):
    """One row at random, then the lowest rows."""
    noise = jax.random.uniform(key, view.is_available.shape)
    first = jnp.argmax(jnp.where(view.is_available, noise, -1))
    is_first = jnp.arange(view.is_available.size) == first
    rows = jnp.lexsort((~is_first, ~view.is_available))[:batch_size]
    is_valid = jnp.arange(batch_size) < view.is_available.sum()
    return blanked(Selection(rows, jnp.zeros(batch_size), is_valid), noise.size)


def ranks_nan_last(key, view, batch_size):
    worth = margin(view.logits)
    worth = jnp.where(jnp.isnan(worth), -jnp.inf, worth)
    return buy(key, worth, view.is_available, batch_size)


def sees_nan(view):
    is_bad = jnp.isnan(view.logits).any(-1) & view.is_available
    return not isinstance(is_bad, jax.core.Tracer) and is_bad.any()


def looks_before_it_chooses(key, view, batch_size):
    """Refuses NaN in words where it can, and else guesses."""
    if sees_nan(view):
        raise ValueError("logits hold NaN")
    return ranks_nan_last(key, view, batch_size)


def stumbles_over_nan(key, view, batch_size):
    """Raises, but not for a reason that says what to do."""
    if sees_nan(view):
        raise ValueError("something is wrong")
    return by_margin(key, view, batch_size)


def mixes_dtypes(key, view):
    return margin(view.logits) * (1 + jnp.sum(view.is_available))


def carries_a_default(key, view):
    """A loop whose state is of the default dtype, whatever the rows are."""

    def body(_, worth):
        return (worth + margin(view.logits).astype(jnp.float32)).astype(jnp.float32)

    return lax.fori_loop(0, 2, body, jnp.zeros(view.is_available.shape))


def counts_in_64_bits(selection, view):
    wide = selection.indices.astype(jnp.int64) if jax.config.jax_enable_x64 else None
    return selection if wide is None else selection._replace(indices=wide)


def other_rows_in_64_bits(key, view):
    return margin(view.logits) * (-1 if view.logits.dtype == jnp.float64 else 1)


def with_utility(utility):
    return stateless(LOGITS, by_margin, utility=utility)


BROKEN = (
    Broken(
        "a product",
        ranked(multiplies_by_the_mask),
        "masked",
        "withdrawn rows, masked rows of nan",
    ),
    Broken("guesses", selecting(ranks_nan_last), "bad row", None),
    Broken("guesses under jit", selecting(looks_before_it_chooses), "bad row", None),
    Broken("mumbles", selecting(stumbles_over_nan), "bad row", None),
    Broken("lowest rows", selecting(takes_the_lowest_rows), "ties", "equal rows"),
    Broken("draws once", selecting(draws_the_first_pick_only, ()), "ties", None),
    Broken("mixed dtypes", ranked(mixes_dtypes), "strict"),
    Broken("default dtype", ranked(carries_a_default), "x64"),
    Broken("64 bits", changed(counts_in_64_bits), "x64"),
    Broken(
        "64 bits, other rows",
        ranked(other_rows_in_64_bits),
        "x64",
        "ordinary, float64",
        is_deterministic=True,
    ),
    Broken("whole utility", with_utility(lambda k, v: v.logits), "utility"),
    Broken(
        "integer utility", with_utility(lambda k, v: jnp.argmax(v.logits, 1)), "utility"
    ),
    Broken(
        "nan utility",
        with_utility(lambda k, v: jnp.sum(v.logits * 0, axis=-1)),
        "utility",
        "one-hot predictions",
    ),
    Broken(
        "utility under jit",
        with_utility(
            lambda k, v: margin(v.logits) + isinstance(v.logits, jax.core.Tracer)
        ),
        "utility",
    ),
    Broken(
        "another utility",
        with_utility(lambda k, v: -margin(v.logits)),
        "utility",
        is_deterministic=True,
    ),
)


@pytest.mark.parametrize("broken", thinned(BROKEN, 8), ids=lambda broken: broken.name)
def test_the_law_that_broke_is_named(broken):
    check_named(broken)


def test_what_a_tie_looks_like_is_said():
    lowest = Broken("lowest", selecting(takes_the_lowest_rows), "ties", "equal rows")
    seen = "of 32 equal rows, row 1 is bought with 64 of 64 keys, where a fair draw"
    assert seen in check_named(lowest).seen


def test_divergence_of_coins():
    assert divergence(np.array([0.5]), 0.5) == 0
    parts = np.array([0.0, 0.25, 1.0])
    expected = [np.log(4 / 3), 0, np.log(4)]
    np.testing.assert_allclose(divergence(parts, 0.25), expected)
    assert divergence(np.array([1.0]), 1.0) == 0


@pytest.mark.parametrize("case", hostile.CASES, ids=lambda c: c.make(0).name)
def test_pools_have_one_shape_and_masks_that_exclude_each_other(case):
    pool, plain = case.make(1), hostile.CASES[0].make(1)
    for name in pool._fields[1:]:
        one, other = getattr(pool, name), getattr(plain, name)
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
    assert not (pool.is_available & pool.is_labelled).any()
