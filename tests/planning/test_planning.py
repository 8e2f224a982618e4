"""A plan says what will be measured."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import Dense, gradient_embedding
from jaxal.planning import Rates, plan
from jaxal.planning.costs import work_of
from jaxal.readings import by_selector
from jaxal.registry import register
from jaxal.selection import (
    K_CENTER,
    K_MEANS_PLUS_PLUS,
    blocked_selection,
    k_center,
    top_k,
)
from jaxal.selection.engine.by_distance import default_candidates
from jaxal.selection.engine.distances import group_size
from jaxal.strategies import by_score
from jaxal.types import stateless
from tests.peak_memory import IS_KNOWN
from tests.planning_worker import CLASSES, SAMPLES

RATES = Rates(flops=1e10, bytes=1e9)
SMALL = dict(rows=600, classes=3, features=8, batch_size=20, rates=RATES)


@pytest.mark.slow
@pytest.mark.skipif(not IS_KNOWN, reason="resident memory is read from /proc")
@pytest.mark.parametrize(
    ("devices", "names"),
    [
        (1, ("coreset",)),
        (1, ("coreset", "bald")),
        (1, ("margin", "badge", "coreset", "bald")),
        (2, ("coreset", "bald")),
    ],
)
def test_measured_memory_is_within_a_quarter_of_the_plan(devices, names):
    rows, features, picks = 200_000, 256, 40
    sizes = [str(number) for number in (rows, features, picks)]
    flags = f"--xla_force_host_platform_device_count={devices}"
    found = subprocess.run(
        [sys.executable, "-m", "tests.planning_worker", *sizes, *names],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags},
    )
    assert found.returncode == 0, found.stderr
    measured = json.loads(found.stdout)
    planned = {
        name: plan(
            name,
            rows=rows,
            classes=CLASSES,
            features=features,
            batch_size=picks,
            devices=devices,
            samples=SAMPLES,
            input_bytes=4 * features,
            rates=RATES,
        ).peak_bytes
        for name in {*names, "coreset", "bald"}
    }
    # Devices of a process share its memory; each holds what the plan of one says.
    ratios = {name: measured[name] / (devices * planned[name]) for name in names}
    assert all(0.8 < ratio < 1.25 for ratio in ratios.values()), ratios
    # Features are kept for core-set and not for BALD: the plan knows the difference.
    kept = 4 * rows * features / devices
    assert planned["coreset"] - planned["bald"] == pytest.approx(kept, rel=0.1)


@functools.cache
def blocked(rule):
    def select(key, rows):
        free = jnp.ones(rows.num_rows, bool)
        return blocked_selection(rule, key, rows, free, batch_size=PICKS)[1]

    return jax.jit(select)


PASS_ROWS, PASS_DIMS, PICKS = 2000, 16, 200


@pytest.mark.parametrize("spread", [0.0, 8.0])  # one Gaussian, clusters
@pytest.mark.parametrize("name", ["coreset", "badge"])
def test_measured_passes_are_near_those_of_the_plan(name, spread):
    rng = np.random.default_rng(0)
    shape = (PASS_ROWS, PASS_DIMS)
    places = spread * rng.normal(size=(20, PASS_DIMS))
    x = rng.normal(size=shape) + places[np.arange(PASS_ROWS) % 20]
    logits = jnp.asarray(rng.normal(size=(PASS_ROWS, 3)), jnp.float32)
    x = jnp.asarray(x, jnp.float32)
    rule = {"coreset": K_CENTER, "badge": K_MEANS_PLUS_PLUS}[name]
    rows = Dense(x) if name == "coreset" else gradient_embedding(logits, x)
    sizes = dict(rows=PASS_ROWS, classes=3, features=PASS_DIMS, batch_size=PICKS)
    planned = plan(name, **sizes, rates=RATES).passes
    measured = int(blocked(rule)(jax.random.key(1), rows))
    assert planned.fewest <= measured <= planned.most
    assert planned.expected / 3 <= measured <= 3 * planned.expected
    # A pass for each pick, as the plain algorithm makes, would not be near.
    assert planned.most > 10 * planned.expected


def test_operations_are_those_of_the_program():
    a, b = jnp.ones([5, 7]), jnp.ones([7, 11])

    def product(a, b):
        return a @ b

    assert work_of(jax.make_jaxpr(product)(a, b)).flops == 2 * 5 * 7 * 11

    def looped(a, b):
        return jax.lax.scan(lambda c, _: (c + a @ b, None), a @ b, length=9)[0]

    counted = work_of(jax.make_jaxpr(looped)(a, b))
    assert counted.flops == 10 * 2 * 5 * 7 * 11 + 9 * 5 * 11
    assert counted.num_unknown_loops == 0

    def endless(x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x * 2, x)

    jaxpr = jax.make_jaxpr(endless)(a)
    assert work_of(jaxpr).num_unknown_loops == 1
    assert work_of(jaxpr, 3).flops == 3 * work_of(jaxpr).flops


@pytest.mark.parametrize("name", ["coreset", "badge"])
def test_greedy_strategies_go_through_the_pool_once_a_block(name):
    found = plan(name, **SMALL)
    rows, picks = SMALL["rows"], SMALL["batch_size"]
    width = SMALL["features"] + (SMALL["classes"] if name == "badge" else 0)
    assert found.passes.fewest == -(-picks // default_candidates(picks))
    assert found.passes.most == picks
    assert found.passes.fewest <= found.passes.expected <= found.passes.most
    # Each centre against each row, and products of whole groups of centres.
    centres = found.passes.expected * max(group_size(), picks // found.passes.expected)
    assert 2 * rows * picks * width < found.flops < 3 * 2 * rows * centres * width


def test_labelled_rows_are_centres_too():
    spread = by_selector(k_center, "logits")
    none, many = (plan(spread, **SMALL, labelled=n).flops for n in (0, 500))
    assert many - none >= 2 * SMALL["rows"] * 500 * SMALL["classes"]
    assert plan(spread, **SMALL).passes.most == SMALL["batch_size"]


def test_devices_share_rows_and_a_pool_costs_what_it_holds():
    one = plan("margin", **SMALL, input_bytes=100)
    three = plan("margin", **SMALL, input_bytes=100, devices=3)
    assert (one.rows, three.rows) == (600, 200)
    assert one.memory["inputs"] == 3 * three.memory["inputs"] == 600 * 100
    assert three.peak_bytes < one.peak_bytes
    assert three.flops < one.flops


def test_samples_are_streamed_not_held():
    few, many = (plan("bald", **SMALL, samples=s, chunk_size=60) for s in (2, 20))
    held = "what is seen of the pool"
    assert many.memory[held] == few.memory[held]
    assert 5 < many.flops / few.flops < 12
    assert many.seconds > few.seconds


def test_strategies_of_the_user_are_planned():
    register("planned_smallest", by_score(lambda logits: -jnp.min(logits, axis=-1)))
    assert plan("planned_smallest", **SMALL).strategy == "planned_smallest"

    def on_the_host(key, view, batch_size):
        scores = jnp.asarray(np.asarray(view.logits).max(-1))
        return top_k(key, scores, view.is_available, batch_size=batch_size)

    unseen = plan(stateless({"logits"}, on_the_host)._replace(name="host"), **SMALL)
    assert any("cannot be traced" in note for note in unseen.notes)
    assert unseen.memory["what is seen of the pool"] > 4 * 600 * 3


def test_a_plan_prints_what_it_holds():
    text = str(plan("margin", **SMALL))
    for words in ("margin: 20 picks", "peak memory", "passes over the pool: 1", "GB/s"):
        assert words in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 0}, "rows is 0"),
        ({"batch_size": 601}, "batch_size is 601, expected 1 to 600"),
        ({"devices": 0}, "devices"),
        ({"classes": 1}, "classes"),
        ({"strategy": "core_set"}, "Did you mean 'coreset'"),
    ],
)
def test_sizes_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plan(**{"strategy": "margin", **SMALL, **change})


def test_a_function_of_another_name_is_no_blocked_selection():
    @jax.jit
    def _select(x):
        return x[:, 0], x[:, 0], x[:, 0] > 0, jnp.int32(1)

    def greedy(key, x):
        free = jnp.ones(len(x), bool)
        return k_center(key, x, free, batch_size=3).indices

    x = jnp.ones([8, 2])
    assert work_of(jax.make_jaxpr(_select)(x)).blocked == ()
    (found,) = work_of(jax.make_jaxpr(greedy)(jax.random.key(0), x)).blocked
    assert (found.num_rows, found.num_products, found.num_picks) == (8, 2, 3)
