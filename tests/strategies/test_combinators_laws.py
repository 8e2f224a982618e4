"""What every strategy from strategies must do, whatever pool it is given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    View,
    active_learner,
    array_oracle,
    class_balanced,
    entropy,
    make_pool,
    mixture,
    partition,
    pool_mesh,
    schedule,
    stochastic,
    strategy,
    subsample,
    supervised,
    uncertain_then_diverse,
)
from tests.cases_picks import POOLS, masks
from tests.toys import DEVICE_COUNTS, blobs, linear

KEY = jax.random.key(1)
BATCH_SIZE = 9
COARSE = subsample(partition(strategy("margin"), 2), 20, max_labelled=4)
COMBINED = {
    "uncertain_then_diverse": uncertain_then_diverse(
        entropy, strategy("badge"), factor=2, max_labelled=5
    ),
    "subsample": subsample(strategy("coreset"), 14, max_labelled=6),
    "partition": partition(strategy("badge"), 4),
    "class_balanced": class_balanced(strategy("badge"), factor=2),
    "mixture": mixture([strategy("coreset"), strategy("bald")], [1, 2]),
    "schedule": schedule([strategy("coreset"), strategy("margin")], [5]),
    "stochastic": stochastic(strategy("bald"), "softmax"),
    "nested": schedule(
        [mixture([strategy("margin"), strategy("random")]), COARSE], [3]
    ),
}
by_name = pytest.mark.parametrize("name", COMBINED)
# Each way of running a part (gathered, in a loop, behind a switch) once: compiling
# takes longer than all else.
by_way = pytest.mark.parametrize("name", ["subsample", "partition", "schedule"])


def view_of(x, is_available, is_labelled):
    x = jnp.asarray(x)
    labels = jnp.where(is_labelled, jnp.arange(len(x)) % 3, -1)
    masks = jnp.asarray(is_available), jnp.asarray(is_labelled)
    samples = jnp.stack([x, -x])
    return View(*masks, labels, logits=x, samples=samples, features=x)


def compiled(name, batch_size=BATCH_SIZE):
    return lambda key, view: COMBINED[name].select(key, view, batch_size)


INPUTS, LABELS = blobs(44, 3)
MODEL = linear(3, dropout=0.3)
LEARNER = supervised(MODEL, epochs=2, batch_size=8)


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("uncertain_then_diverse", "partition")
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SLOW, "mixture"])
@pytest.mark.sharded
def test_the_loop_streams_what_the_parts_need_on_any_devices(name):
    found = []
    for devices in DEVICE_COUNTS[:1] + DEVICE_COUNTS[-1:]:
        mesh = pool_mesh(jax.devices()[:devices])
        loop = active_learner(
            MODEL, LEARNER, COMBINED[name], array_oracle(LABELS), batch_size=6
        )
        state = loop.init(KEY, make_pool(INPUTS, mesh=mesh), initial=4)
        looked = loop.phases.look(KEY, state)
        assert looked.view.samples is None  # streamed, never held
        state, _ = loop.step(KEY, state)
        found.append(np.flatnonzero(state.pool.is_labelled).tolist())
    assert len(found[0]) == 10
    assert all(rows == found[0] for rows in found)


def test_streamed_rows_give_the_picks_of_whole_fields():
    view = view_of(POOLS["normal"], *masks("some_labelled"))
    for name in ("mixture", "stochastic"):
        chosen = COMBINED[name]
        streamed = view._replace(rows=chosen.rowwise(view))
        for field in chosen.streams - chosen.needs:
            streamed = streamed._replace(**{field: None})
        expected = compiled(name)(KEY, view).indices
        np.testing.assert_array_equal(compiled(name)(KEY, streamed).indices, expected)
