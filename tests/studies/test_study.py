"""Studies: the files of runs, whoever runs them, killed or not, together or apart."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    active_learner,
    array_oracle,
    class_balanced_rows,
    logistic_head,
    make_pool,
    mc_dropout,
    noisy_oracle,
    strategy,
    supervised,
)
from jaxal.pools.mesh import pool_mesh
from jaxal.runs import RunError, Silent, run, store
from jaxal.runs.errors import StoppedError
from jaxal.runs.store import RunFiles
from jaxal.stopping import any_of, max_labels, plateau, target_accuracy
from jaxal.studies import cells, part_of, saving, study
from jaxal.studies.grid import called
from jaxal.studies.programs import in_turns, side_by_side
from jaxal.studies.shown import StudyLine
from tests.thinned import thinned
from tests.toys import blobs, linear

INPUTS, LABELS = blobs(60, 3)
TEST = jnp.asarray(INPUTS), jnp.asarray(LABELS)
HEAD = logistic_head(3, capacity=30)
DROPPING = linear(3, dropout=0.3)
NOISY = noisy_oracle(array_oracle(jnp.asarray(LABELS)), 0.3, 3)


def make_loop(strategy_name, query_size=4):
    made = strategy(strategy_name)
    return active_learner(
        HEAD.model, HEAD.learner, made, batch_size=query_size, test=TEST
    )


LEARNER = supervised(DROPPING, epochs=1, min_steps=8, capacity=60)


def make_dropout(strategy_name):
    made = strategy(strategy_name)
    posterior = mc_dropout(DROPPING, 16)
    return active_learner(
        DROPPING, LEARNER, made, batch_size=4, posterior=posterior, test=TEST
    )


def a_pool():
    return make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))


def play(folder, make=make_loop, names=("random", "badge"), oracle=LABELS, **changes):
    grid = {"strategy_name": names} | changes.pop("grid", {})
    settings = {"seeds": range(3), "rounds": 4, "initial": 6, "is_shown": False}
    return study(make, a_pool(), oracle, folder, grid=grid, **(settings | changes))


def results(folder):
    """What a run left, but for seconds and programs."""
    rounds = store.read_lines(RunFiles(folder).rounds)
    for record in rounds:
        del record["seconds"], record["compiles"]
    return rounds, RunFiles(folder).queries.read_text()


def results_of(folders):
    return {folder.name: results(folder) for folder in folders}


@pytest.mark.parametrize(
    ("make", "names", "oracle"),
    [
        (make_loop, ("random", "badge"), LABELS),
        pytest.param(*(make_dropout, ("bald", "albl"), LABELS), marks=pytest.mark.slow),
        pytest.param(*(make_loop, ("margin",), NOISY), marks=pytest.mark.slow),
    ],
    ids=["solved", "dropout", "noisy"],
)
def test_a_study_leaves_what_runs_one_by_one_would(tmp_path, make, names, oracle):
    folders = play(tmp_path / "study", make, names, oracle, seeds=[2, 5])
    assert len(folders) == 2 * len(names)
    for name in names:
        for seed in (2, 5):
            cell = {"strategy_name": name}
            alone = tmp_path / called(cell) / str(seed)
            run(
                make(name),
                a_pool(),
                oracle,
                alone,
                rounds=4,
                initial=6,
                seed=seed,
                settings=cell,
                refusals=None,
                display=Silent(),
            )
            mine = tmp_path / "study" / f"{called(cell)}-seed{seed}"
            ours, theirs = results(mine), results(alone)
            picks = [
                [json.loads(line) for line in text.splitlines()]
                for _, text in (ours, theirs)
            ]
            scores = [[q.pop("score") or 0 for q in some] for some in picks]
            np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)
            assert picks[0] == picks[1]
            for a, b in zip(ours[0], theirs[0], strict=True):
                assert a.keys() == b.keys()
                per_class = a.pop("per_class_accuracy"), b.pop("per_class_accuracy")
                np.testing.assert_allclose(*per_class, atol=1e-5)
                for field in a:  # one program, or another: rounding
                    if isinstance(a[field], float):
                        b[field] = pytest.approx(b[field], rel=1e-4, abs=1e-5)
                    assert a[field] == b[field]
            settings = [
                store.read_json(RunFiles(f).config)["settings"] for f in (mine, alone)
            ]
            assert settings[0] == settings[1]


def test_trials_side_by_side_give_what_they_give_in_turn():
    fn = lambda inputs, x: (inputs * x).sum()  # noqa: E731
    parts = jnp.ones(4), jnp.arange(3.0), jnp.zeros(3, bool)
    np.testing.assert_allclose(in_turns(fn)(*parts), side_by_side(fn)(*parts))


def test_trials_that_are_over_are_not_computed():
    ran = []

    def fn(inputs, x):
        jax.debug.callback(lambda x: ran.append(float(x)), x)
        return {"sum": (inputs * x).sum(), "key": jax.random.key(x.astype(int))}

    is_over = jnp.array([False, True, False])
    found = jax.jit(in_turns(fn))(jnp.ones(4), jnp.arange(1.0, 4.0), is_over)
    np.testing.assert_array_equal(found["sum"], [4, 0, 12])
    jax.effects_barrier()
    assert sorted(ran) == [1, 3]


RULES = {
    "labels": (max_labels(14), None),
    "either": (any_of(target_accuracy(0.6), max_labels(14)), TEST),
    "never": (plateau(9), TEST),
}


@pytest.mark.parametrize("name", thinned(RULES, 1))
def test_a_rule_stops_trials_as_it_stops_runs(tmp_path, name):
    stop, validation = RULES[name]
    changes = {"rounds": 6, "stop": stop, "validation": validation}
    folders = play(tmp_path / "study", names=["random"], **changes)
    rules, compiled = [], 0
    for seed, folder in enumerate(folders):
        lines = run(
            make_loop("random"),
            a_pool(),
            LABELS,
            tmp_path / str(seed),
            initial=6,
            seed=seed,
            settings={"strategy_name": "random"},
            refusals=None,
            display=Silent(),
            **changes,
        )
        mine = store.read_lines(RunFiles(folder).rounds)
        fields = "labels", "is_last", "bought", "stopped_by", "accuracy"
        told = [[[r.get(f) for f in fields] for r in some] for some in (mine, lines)]
        assert told[0] == told[1]
        assert ("validation" in mine[0]) == (validation is not None)
        rules.append(mine[-1].get("stopped_by"))
        compiled += sum(record["compiles"] for record in mine[1:])
    assert compiled == 0
    assert set(rules) <= {None, "max_labels(14)", "target_accuracy(0.6)"}
    assert (None in rules) == (name == "never")
    with pytest.raises(RunError, match="stop: "):
        play(tmp_path / "study", names=["random"], **(changes | {"stop": plateau(8)}))


@pytest.mark.slow
def test_trials_that_stop_apart_leave_the_others_alone(tmp_path, monkeypatch):
    """Seeds reach the target after different rounds, killed in between or not."""
    changes = {"stop": target_accuracy(0.95), "validation": TEST, "oracle": NOISY}
    whole = results_of(play(tmp_path / "whole", names=["random"], **changes))
    lengths = {len(rounds) for rounds, _ in whole.values()}
    assert len(lengths) > 1
    stops = iter([False, False, True])
    monkeypatch.setattr(
        "jaxal.studies.crew.threading.Event.is_set", lambda self: next(stops, True)
    )
    with pytest.raises(StoppedError):
        play(tmp_path / "torn", names=["random"], workers=1, **changes)
    monkeypatch.undo()
    assert results_of(play(tmp_path / "torn", names=["random"], **changes)) == whole


def test_a_rule_that_sees_nothing_is_refused(tmp_path):
    with pytest.raises(RunError, match="validation rows"):
        play(tmp_path, names=["random"], stop=target_accuracy(0.8))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return results_of(play(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("together", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_blocks_of_any_size_leave_the_same(tmp_path, undisturbed, together):
    found = results_of(play(tmp_path, together=together, workers=2))
    assert found == undisturbed


@pytest.mark.parametrize(
    ("after", "is_torn"),
    [(1, False), (3, True)]
    + [
        pytest.param(*c, marks=pytest.mark.slow)
        for c in [(1, 1), (3, 0), (6, 0), (6, 1)]
    ],
)
def test_killed_and_started_again_it_ends_the_same(
    tmp_path, monkeypatch, undisturbed, after, is_torn
):
    calls, whole = [], saving.save

    def save(trials, done, lines, *, is_over):
        calls.append(done.rounds)
        if len(calls) == after:
            if is_torn:  # lines, but not the state they lead to
                store.append_lines(trials[0].files.rounds, lines[0].rounds)
            raise KeyboardInterrupt
        whole(trials, done, lines, is_over=is_over)

    monkeypatch.setattr(saving, "save", save)
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, save_every=0, workers=1)
    monkeypatch.setattr(saving, "save", whole)
    assert results_of(play(tmp_path, save_every=0, workers=1)) == undisturbed
    assert not list((tmp_path / saving.FOLDER).glob("*"))


def test_what_is_finished_is_not_run_again(tmp_path, undisturbed):
    folders = play(tmp_path)
    before = [RunFiles(folder).rounds.stat().st_mtime_ns for folder in folders]
    play(tmp_path)
    assert before == [RunFiles(f).rounds.stat().st_mtime_ns for f in folders]


def test_a_damaged_block_begins_again(tmp_path, monkeypatch, undisturbed):
    stops = iter([False, False, True])
    monkeypatch.setattr(
        "jaxal.studies.crew.threading.Event.is_set", lambda self: next(stops, True)
    )
    with pytest.raises(StoppedError):
        play(tmp_path, workers=1)
    monkeypatch.undo()
    (state,) = (tmp_path / saving.FOLDER).glob("*/*/state.npz")
    state.write_bytes(state.read_bytes()[:-9])
    assert results_of(play(tmp_path)) == undisturbed


def test_other_settings_are_refused_and_named(tmp_path):
    play(tmp_path, names=["random"])
    with pytest.raises(RunError, match="rounds: 4, now 3"):
        play(tmp_path, names=["random"], rounds=3)


@pytest.mark.slow
def test_parts_are_the_whole_and_disjoint(tmp_path, undisturbed):
    found = [play(tmp_path, part=(k, 4)) for k in (1, 2, 3, 4)]
    names = [folder.name for folders in found for folder in folders]
    assert sorted(names) == sorted(undisturbed)
    assert results_of([f for folders in found for f in folders]) == undisturbed
    with pytest.raises(ValueError, match="part is 5 of 4"):
        part_of([1], (5, 4))


def test_strategies_share_the_programs_that_fit(tmp_path):
    traced = []

    def fit(*args):
        traced.append(1)
        return HEAD.learner.fit(*args)

    learner = HEAD.learner._replace(fit=fit)

    def make(strategy_name):
        made = strategy(strategy_name)
        return active_learner(HEAD.model, learner, made, batch_size=4, test=TEST)

    play(tmp_path / "one", make, ["random"], workers=1)
    alone = len(traced)
    play(tmp_path / "three", make, ["random", "margin", "badge"], workers=1)
    assert len(traced) == alone
    first = {}
    for name in ("random", "margin", "badge"):
        folder = tmp_path / "three" / f"strategy_name={name}-seed0"
        records = store.read_lines(RunFiles(folder).rounds)
        first[name] = records[0]["compiles"]
        assert not any(record["compiles"] for record in records[1:])
    assert first == {"random": 3, "margin": 1, "badge": 1}


def test_first_rows_may_be_drawn_by_each_seed(tmp_path):
    def balanced(key):
        free = jnp.ones(len(LABELS), bool)
        return class_balanced_rows(key, TEST[1], free, num_rows=6, num_classes=3)

    folders = play(tmp_path, names=["random"], seeds=[0, 1], rounds=1, initial=balanced)
    first = [store.read_lines(RunFiles(folder).queries) for folder in folders]
    assert all(sorted(q["label"] for q in qs) == [0, 0, 1, 1, 2, 2] for qs in first)
    assert {q["row"] for q in first[0]} != {q["row"] for q in first[1]}


def test_any_setting_makes_a_grid(tmp_path):
    sizes = {"query_size": [2, 4]}
    folders = play(tmp_path, names=["margin"], grid=sizes, seeds=[0])
    assert [folder.name for folder in folders] == [
        "strategy_name=margin,query_size=2-seed0",
        "strategy_name=margin,query_size=4-seed0",
    ]
    labels = [[r["labels"] for r in results(folder)[0]] for folder in folders]
    assert labels == [[6, 8, 10, 12], [6, 10, 14, 18]]


def test_a_pool_that_runs_dry_ends_a_trial_and_no_other(tmp_path):
    (folder,) = play(tmp_path, make_dropout, ["random"], rounds=40, seeds=[0])
    records = results(folder)[0]
    assert records[-1]["labels"] == 60 and records[-1]["is_last"]
    assert len(records) == 15


def test_a_trial_that_fails_is_named_and_ends_no_other(tmp_path):
    broken = LEARNER._replace(
        fit=lambda *args: jax.tree.map(
            lambda x: x * jnp.nan if jnp.issubdtype(x.dtype, jnp.floating) else x,
            LEARNER.fit(*args),
        )
    )

    def make(strategy_name):
        learner = broken if strategy_name == "margin" else LEARNER
        made = strategy(strategy_name)
        return active_learner(DROPPING, learner, made, batch_size=4, test=TEST)

    with pytest.raises(RunError, match="margin-seed0, round 0: Outputs on the test"):
        play(tmp_path, make, ["margin", "random"], seeds=[0])
    assert len(results(tmp_path / "strategy_name=random-seed0")[0]) == 4


def test_answers_that_are_no_labels_are_refused(tmp_path):
    with pytest.raises(RunError, match="answers are not taken"):
        play(tmp_path, oracle=LABELS + 7)


SHARING = """
import sys
sys.path.insert(0, {tests!r})
from tests.studies.test_study import play
play({folder!r}, seeds=range(6), together=1, save_every=0, workers=1)
"""


def start(folder):
    root = str(pathlib.Path(__file__).parents[2])
    code = SHARING.format(tests=root, folder=str(folder))
    env = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen([sys.executable, "-c", code], env=env)


@pytest.mark.slow
def test_four_processes_fill_one_folder_one_of_them_killed(tmp_path):
    expected = results_of(play(tmp_path / "alone", seeds=range(6)))
    folder = tmp_path / "shared"
    crew = [start(folder) for _ in range(4)]
    deadline = time.monotonic() + 300
    while not list(folder.glob("*/rounds.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    crew[0].send_signal(signal.SIGKILL)
    assert [process.wait(300) for process in crew] == [-signal.SIGKILL, 0, 0, 0]
    found = {p.name: results(p) for p in folder.iterdir() if p.name[0] != "."}
    assert found == expected
    takers = [store.read_json(RunFiles(folder / n).config)["resumed"] for n in found]
    assert not any(takers)


@pytest.mark.parametrize("values", [[], ["a", "a"], [1, "1"]])
def test_a_grid_has_values_and_none_twice(values):
    with pytest.raises(ValueError, match="expected some, none twice"):
        cells({"strategy": values})


def test_names_of_cells_are_files_and_all_different():
    names = ["badge", "../x", ".", "a/b", "a-b", "é", "x" * 300, "x" * 301]
    found = [called({"strategy": name}) for name in names]
    assert len(set(found)) == len(names)
    assert all(len(name) < 90 and "/" not in name for name in found)
    assert not any(name.startswith(".") for name in found)


def test_the_line_says_what_is_left():
    line = StudyLine({("a", 0): 10, ("b", 0): 6, ("b", 5): 4}, workers=2)
    line.over(("b", 5))
    line.told(("a", 0), 4, {"train": 0.5, "select": 1.5}, compiling=3.0)
    assert line.text() == "4 of 16 rounds, compiling 3 s, about 12 s left"
    line.over(("a", 0))
    assert line.text() == "4 of 10 rounds, compiling 3 s, about 6 s left"
