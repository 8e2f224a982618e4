"""A law of single picks that broke is named: what is bought, and how it is run."""

import jax
import jax.numpy as jnp
import pytest
from jax.custom_batching import custom_vmap

from jaxal import Selection, by_score, margin, stateless, strategy
from jaxal.pools.mesh import find_mesh, over_rows
from tests.testing.sound import (
    LOGITS,
    Broken,
    buy,
    by_margin,
    changed,
    check_named,
    ranked,
    selecting,
)


def takes_labelled_rows(key, view, batch_size):
    everything = view.is_available | view.is_labelled
    return buy(key, margin(view.logits), everything, batch_size)


def takes_padding(key, view, batch_size):
    found = buy(key, margin(view.logits), ~view.is_labelled, batch_size)
    is_valid = jnp.arange(batch_size) < view.is_available.sum()
    rows = jnp.where(is_valid, found.indices, view.is_labelled.size)
    return Selection(rows, jnp.where(is_valid, found.scores, -jnp.inf), is_valid)


def takes_row_0_again_and_again(key, view, memory, batch_size):
    is_valid = jnp.arange(batch_size) < view.is_available.sum()
    rows = jnp.where(is_valid, jnp.argmax(view.is_available), view.is_available.size)
    scores = jnp.where(is_valid, 0.0, -jnp.inf)
    return Selection(rows.astype(jnp.int32), scores, is_valid), memory


def takes_one_twice(selection, view):
    rows = selection.indices.at[1].set(selection.indices[0])
    return selection._replace(indices=rows) if rows.size > 1 else selection


def takes_too_few(selection, view):
    num_rows, last = view.is_available.size, selection.is_valid.sum() - 1
    is_kept = selection.is_valid & (jnp.arange(selection.indices.size) < last)
    return Selection(
        jnp.where(is_kept, selection.indices, num_rows),
        jnp.where(is_kept, selection.scores, -jnp.inf),
        is_kept,
    )


def leaves_rows_in_blanks(selection, view):
    rows = jnp.where(selection.is_valid, selection.indices, 0)
    return selection._replace(indices=rows)


def has_nan_where_a_class_is_impossible(key, view, batch_size):
    found = by_margin(key, view, batch_size)
    is_possible = jnp.all(jnp.isfinite(view.logits))
    return found._replace(scores=jnp.where(is_possible, found.scores, jnp.nan))


def depends_on_position(key, view):
    return -jnp.arange(view.is_available.size, dtype=jnp.float32)


def depends_on_device(key, view):
    def fn(shard, shared, logits):
        return margin(logits) * (1 - 2 * (shard.device % 2))

    mesh = find_mesh(None, view.logits)
    rows = jax.sharding.PartitionSpec("pool")
    return over_rows(fn, None, view.logits, mesh=mesh, out_specs=rows)


@custom_vmap
def noise(key):
    return jax.random.uniform(key, (40,))


@noise.def_vmap
def _(axis_size, in_batched, key):
    return jax.vmap(lambda k: -jax.random.uniform(k, (40,)))(key), True


def depends_on_jit(key, view):
    sign = -1 if isinstance(key, jax.core.Tracer) else 1
    return sign * margin(view.logits)


def counts_padding(key, view):
    probs = jax.nn.softmax(view.logits)
    return -jnp.square(probs - jnp.mean(probs, axis=0, keepdims=True)).sum(-1)


def draws_where_it_should_not(key, view):
    return margin(view.logits) + jax.random.uniform(key, view.is_available.shape)


def cannot_be_traced(key, view):
    return margin(view.logits) * (2 if float(view.logits.sum()) else 1)


def crashes_on_impossible_classes(key, view):
    if not isinstance(view.logits, jax.core.Tracer):
        assert jnp.isfinite(view.logits).all(), "logits are infinite"
    return margin(view.logits)


class Calls:
    """A generator nobody seeds: each call is another."""

    def __init__(self):
        self.count = 0

    def __call__(self, key, view):
        self.count += 1
        return jax.random.uniform(jax.random.key(self.count), view.is_available.shape)


def above_average(logits):
    return margin(logits) - margin(logits).mean()


def needs_rows(key, view, batch_size):
    worth = jnp.zeros(40) if view.rows is None else view.rows
    return buy(key, worth, view.is_available, batch_size)


BROKEN = (
    Broken("labelled rows", selecting(takes_labelled_rows), "available", None),
    Broken("padding rows", selecting(takes_padding), "available", "padding"),
    Broken(
        "row 0",
        strategy("random")._replace(step=takes_row_0_again_and_again),
        "distinct",
    ),
    Broken("a row twice", changed(takes_one_twice), "distinct"),
    Broken("too few", changed(takes_too_few), "count"),
    Broken("blanks", changed(leaves_rows_in_blanks), "blanks", "three rows left"),
    Broken(
        "wide indices",
        changed(lambda s, view: s._replace(indices=s.indices.astype(jnp.uint32))),
        "types",
    ),
    Broken(
        "column of scores",
        changed(lambda s, view: s._replace(scores=s.scores[:, None])),
        "types",
    ),
    Broken(
        "nan",
        selecting(has_nan_where_a_class_is_impossible),
        "no nan",
        "one-hot predictions",
    ),
    Broken(
        "position", ranked(depends_on_position), "permutation", is_deterministic=True
    ),
    Broken("device", ranked(depends_on_device), "devices"),
    Broken("vmap", ranked(lambda key, view: noise(key)), "vmap"),
    Broken("jit", ranked(depends_on_jit), "jit"),
    Broken("no trace", ranked(cannot_be_traced), "jit"),
    Broken("counts padding", ranked(counts_padding), "padding", "padding, refilled"),
    Broken("across rows", by_score(above_average), "chunks"),
    Broken(
        "needs rows",
        stateless((), needs_rows, LOGITS, lambda view: margin(view.logits)),
        "whole",
    ),
    Broken("chance", ranked(draws_where_it_should_not), "key", is_deterministic=True),
    Broken("unseeded", ranked(Calls()), "repeats"),
    Broken(
        "crash", ranked(crashes_on_impossible_classes), "runs", "one-hot predictions"
    ),
    Broken(
        "unknown field",
        strategy("random")._replace(needs=frozenset({"truth"})),
        "fields",
        "any",
    ),
    Broken("no rowwise", strategy("margin")._replace(rowwise=None), "fields", "any"),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_law_that_broke_is_named(broken):
    if broken.law == "devices" and jax.device_count() == 1:
        pytest.skip("set JAXAL_TEST_DEVICES")
    check_named(broken)


def test_what_was_seen_is_said():
    labelled = selecting(takes_labelled_rows)
    labelled = Broken("labelled", labelled, "available", None)
    assert "(labelled)" in check_named(labelled).seen
    crash = ranked(crashes_on_impossible_classes)
    error = check_named(Broken("crash", crash, "runs", "one-hot predictions"))
    assert "raised AssertionError: logits are inf" in error.seen
    unknown = strategy("random")._replace(needs=frozenset({"truth"}))
    assert "truth" in check_named(Broken("unknown", unknown, "fields", "any")).seen
