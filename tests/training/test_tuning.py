"""Settings that are searched for: the best by rows held out, when it is due."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import make_pool, pool_mesh, supervised
from jaxal.app import cli
from jaxal.models import mlp
from jaxal.training.optimizers import adamw, sgd
from jaxal.training.tuning import TUNING, tuned
from tests.toys import blobs

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(60)
HELD_OUT = (jnp.asarray(INPUTS[40:]), jnp.asarray(LABELS[40:]))
MODEL = mlp(3, (8,))
RATES = [1e-6, 1e-3, 0.05]


def make(rate, decay=0.0):
    return supervised(MODEL, adamw(rate, weight_decay=decay), epochs=3)


def pool_with(count):
    labels = np.where(np.arange(40) < count, LABELS[:40], -1)
    return make_pool(INPUTS[:40], labels, mesh=pool_mesh(jax.devices()[:1]))


def test_the_best_trains_as_it_does_alone():
    learner = tuned(make, {"rate": RATES, "decay": [0.0]}, HELD_OUT)
    assert not learner.keeps  # as what it searches through
    pool = pool_with(20)
    state = learner.init(KEY, pool.inputs)
    assert learner.evaluate(state, *HELD_OUT) is not None
    state, info = jax.jit(learner.fit)(KEY, state, pool)
    losses = []
    for rate in RATES:
        alone = make(rate)
        found, _ = alone.fit(KEY, alone.init(KEY, pool.inputs), pool)
        losses.append(float(alone.evaluate(found, *HELD_OUT).nll))
    best = int(np.nanargmin(losses))
    assert best == 2 and int(state[TUNING]["choice"]) == best
    np.testing.assert_allclose(info.tuned["rate"], RATES[best], rtol=1e-6)
    nll = float(learner.evaluate(state, *HELD_OUT).nll)
    np.testing.assert_allclose(nll, losses[best], rtol=1e-3)


@pytest.mark.parametrize(
    ("at", "since"),
    [(None, [4, 4, 8, 8, 4]), ([6, 30], [4, 4, 8, 8, 4]), ([], [4] * 5)],
)
def test_a_search_is_made_when_it_is_due(at, since):
    learner = tuned(make, {"rate": [0.01, 0.1]}, HELD_OUT, by="accuracy", at=at)
    fit, state = jax.jit(learner.fit), learner.init(KEY, HELD_OUT[0])
    found = []
    for count in (4, 5, 8, 9, 4):
        state, info = fit(KEY, state, pool_with(count))
        found.append(int(state[TUNING]["num_labelled"]))
        assert float(info.tuned["rate"]) in (np.float32(0.01), np.float32(0.1))
    assert found == since


def test_what_never_ends_well_is_not_chosen():
    def diverges(rate):
        return supervised(MODEL, sgd(rate, weight_decay=0.0), epochs=3)

    learner = tuned(diverges, {"rate": [1e30, 0.05]}, HELD_OUT)
    state, info = learner.fit(KEY, learner.init(KEY, HELD_OUT[0]), pool_with(20))
    np.testing.assert_allclose(info.tuned["rate"], 0.05)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ValueError, match="grid is {}"):
        tuned(make, {}, HELD_OUT)
    with pytest.raises(ValueError, match="grid is"):
        tuned(make, {"rate": []}, HELD_OUT)
    learner = tuned(make, {"rate": [0.1]}, HELD_OUT, by="accuracyy")
    with pytest.raises(ValueError, match="accuracyy.*Did you mean 'accuracy'"):
        learner.fit(KEY, learner.init(KEY, HELD_OUT[0]), pool_with(4))


WORDS = [
    "run",
    "--dataset=iris",
    "--preset=smoke",
    "--strategy=margin",
    "--min-steps=9",
]


def test_the_command_line_needs_rows_to_search_by(tmp_path, capsys):
    assert cli.main([*WORDS, "--tune", "20", f"--output={tmp_path}"]) != 0
    assert "--num-validation" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_says_what_was_chosen(tmp_path):
    more = ["--tune", "40", "--num-validation=20", f"--output={tmp_path}"]
    assert cli.main([*WORDS, *more]) == 0
    (file,) = tmp_path.glob("*-seed0/rounds.jsonl")
    rounds = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(set(r["tuned"]) == {"learning_rate", "weight_decay"} for r in rounds)
    assert all(r["compiles"] == 0 for r in rounds[1:])
