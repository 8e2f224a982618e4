"""A law of several rounds that broke is named: memory, the last batch, classes."""

import jax
import jax.numpy as jnp
import pytest

from jaxal import Strategy
from tests.testing.sound import (
    Broken,
    blanked,
    by_margin,
    check_named,
    remembering,
    selecting,
)


def nothing_yet(num_rows):
    return jnp.int32(0)


class Notebook:
    """Remembers on the host, where neither keys nor programs know of it."""

    def __init__(self):
        self.rounds = 0

    def __call__(self, memory, picks):
        self.rounds += 1
        return memory + self.rounds


def keeps_only_what_is_known(memory, picks):
    """Learns when values are concrete, and forgets in a compiled round."""
    return memory if isinstance(memory, jax.core.Tracer) else memory + 1


class Overridden(Strategy):
    """A `select` of its own, which `step` knows nothing of."""

    def select(self, key, view, batch_size):
        found = by_margin(key, view, batch_size)
        return found._replace(indices=jnp.flip(found.indices))


def counts_on_whole_batches(key, view, memory, batch_size):
    """Buys nothing in the third round unless there is a whole batch."""
    picks = by_margin(key, view, batch_size)
    is_whole = (memory < 2) | (view.is_available.sum() >= batch_size)
    picks = picks._replace(is_valid=picks.is_valid & is_whole)
    return blanked(picks, view.is_available.size), memory + 1


def divides_by_the_spread_of_labels(key, view, batch_size):
    """Where all labels are of one class that is 0 / 0."""
    classes = view.labels.astype(jnp.float32)
    spread = jnp.std(classes, where=view.is_labelled)
    worth = jnp.where(view.is_labelled.any(), spread / spread, 1)
    picks = by_margin(key, view, batch_size)
    return picks._replace(scores=picks.scores * worth)


LABELS = frozenset({"labels", "logits"})
BROKEN = (
    Broken(
        "memory grows",
        remembering(jnp.zeros, lambda memory, picks: jnp.append(memory, 0.0)),
        "memory",
    ),
    Broken(
        "memory of another dtype",
        remembering(nothing_yet, lambda memory, picks: memory + 0.5),
        "memory",
    ),
    Broken(
        "memory is lost", remembering(nothing_yet, lambda memory, picks: ()), "memory"
    ),
    Broken(
        "memory is a word",
        remembering(lambda n: "a word", lambda memory, picks: memory),
        "memory",
    ),
    Broken("memory on the host", remembering(nothing_yet, Notebook()), "memory"),
    Broken(
        "memory forgets",
        remembering(nothing_yet, keeps_only_what_is_known),
        "memory",
    ),
    Broken("select", Overridden(*selecting(by_margin)), "select"),
    Broken(
        "whole batches",
        Strategy(
            frozenset({"logits"}),
            counts_on_whole_batches,
            init=nothing_yet,
        ),
        "short batch",
        "twelve rows left",
        round=2,
    ),
    Broken(
        "spread of labels",
        selecting(divides_by_the_spread_of_labels, LABELS),
        "empty classes",
        "one class",
    ),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_law_that_broke_is_named(broken):
    check_named(broken)
