"""A run that is killed, damaged or interrupted, and started again."""

import contextlib
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.app import experiment
from jaxal.app.progress import Terminal
from jaxal.app.recipe import Recipe
from jaxal.app.settling import settle
from jaxal.data import Dataset, Split
from jaxal.loop import active_learner
from jaxal.models import logistic_regression
from jaxal.pools.mesh import pool_mesh
from jaxal.runs import checkpoint, runner, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from jaxal.selection import top_k
from jaxal.training.learner import supervised
from jaxal.types import stateless
from tests.dying import Death, Killed

NUM_ROUNDS = 4


def doubt(key, view, batch_size):
    # The least certain row by logits, and a little chance, so that keys matter.
    spread = jnp.sort(view.logits, axis=-1)
    noise = 0.1 * jax.random.uniform(key, spread.shape[:1])
    scores = spread[:, -2] - spread[:, -1] + noise
    return top_k(key, scores, view.is_available, batch_size=batch_size)


DOUBT = stateless({"logits"}, doubt)._replace(name="doubt")


def make_experiment(seed=0, strategy=DOUBT, num_rows=80, num_devices=1, **changes):
    fields = {
        "model": "logistic_regression",
        "min_steps": 12,
        "epochs": 1,
        "initial": 6,
        "query_size": (5,),
        "rounds": NUM_ROUNDS - 1,
        "refit": "warm_start",  # so that a wrong state shows
        "label_noise": 0.1,
        "averaging": "ema",
        "learning_rate": 0.1,
        "weight_decay": 0.01,
    } | changes
    rows = jax.ShapeDtypeStruct((num_rows, 3), "float32")
    recipe = settle(Recipe(preset="smoke", **fields), rows, 3)
    random = np.random.default_rng(5)
    labels = random.integers(0, 3, num_rows + 40).astype(np.int32)
    inputs = np.float32(np.eye(3)[labels] + random.normal(0, 0.4, (len(labels), 3)))
    ids = np.array([f"row-{i}" for i in range(len(labels))])
    settings = {
        "dataset": "blobs",
        "source": "drawn here",
        "preset": "smoke",
        "strategy": strategy.name,
        "pool": f"pool-{num_rows}",
        "seed": seed,
        "epochs": recipe.epochs,
    }
    splits = [Split(inputs[s], labels[s], ids[s]) for s in np.s_[:num_rows, num_rows:]]
    blobs = Dataset("blobs", *splits, None, ("a", "b", "c"), "", "drawn here")
    return experiment.build(
        settings,
        recipe,
        experiment.build_loop(recipe, strategy, blobs),
        blobs,
        np.arange(num_rows),
        mesh=pool_mesh(jax.devices()[:num_devices]),
    )


@pytest.fixture(scope="module")
def made():
    return make_experiment()


class Listener(Terminal):
    """A display that remembers what it was told."""

    def __init__(self, plan):
        super().__init__(plan, is_terminal=False)
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def run(made, folder, death=None, **kwargs):
    display = Listener(made.plan)
    with (death or Death(None)).installed():
        runner.run(made, RunFiles(folder), display, **kwargs)
    return display.messages


def run_until_killed(made, folder, at):
    """Runs up to an event and leaves what is on disk then."""
    with contextlib.suppress(Killed):
        run(made, folder, Death(at))


def results(folder):
    """What must be equal bit for bit: all but times and compilations."""
    files = RunFiles(folder)
    rounds = store.read_lines(files.rounds)
    for record in rounds:
        del record["seconds"], record["compiles"]
    return rounds, files.queries.read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    death = Death(None)
    run(make_experiment(), folder, death)  # of its own, which nothing has compiled
    return folder, results(folder), death.names


def test_an_undisturbed_run_leaves_what_it_should(made, undisturbed):
    folder, (rounds, _), _ = undisturbed
    assert [record["labels"] for record in rounds] == [6, 11, 16, 21]
    assert [record["is_last"] for record in rounds] == [False] * 3 + [True]
    assert rounds[0].keys() >= {
        "accuracy",
        "nll",
        "macro_f1",
        "ece",
        "dataset",
        "preset",
    }
    queries = store.read_lines(RunFiles(folder).queries)
    assert [query["round"] for query in queries] == [0] * 6 + [1] * 5 + [2] * 5 + [
        3
    ] * 5
    assert len({query["row"] for query in queries}) == 21
    assert all(query["id"] == f"row-{query['row']}" for query in queries)
    assert queries[0]["score"] is None
    assert isinstance(queries[6]["score"], float)
    assert checkpoint.rounds(RunFiles(folder).checkpoint) == [2, 3]


def test_rounds_after_the_first_two_compile_nothing(undisturbed):
    rounds = store.read_lines(RunFiles(undisturbed[0]).rounds)
    compiles = [record["compiles"] for record in rounds]
    assert compiles[0] > 0
    assert compiles[2:] == [0, 0]


def test_it_learns(undisturbed):
    accuracies = [record["accuracy"] for record in undisturbed[1][0]]
    assert accuracies[-1] > 0.6  # chance is a third


def _kill_points(names):
    """A middle event of every kind, and the first time anything is written."""
    places = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return sorted({0, *(p[len(p) // 2] for p in places.values())})


def _check_kills(made, undisturbed, tmp_path, points):
    _, expected, names = undisturbed
    torn = 0
    for at in points:
        folder = tmp_path / f"killed-{at}"
        run_until_killed(made, folder, at)
        is_whole = RunFiles(folder).rounds.exists() and results(folder) == expected
        torn += not is_whole
        run(made, folder)
        assert results(folder) == expected, f"killed at event {at}, a {names[at]}"
    assert torn > 0.8 * len(points)  # else nothing was killed, and nothing tested


def test_killed_anywhere_it_ends_with_the_same_bits(made, undisturbed, tmp_path):
    names = undisturbed[2]
    assert {"write", "fsync", "save", "rename", "train", "score", "select"} <= {*names}
    _check_kills(made, undisturbed, tmp_path, _kill_points(names))


@pytest.mark.slow
def test_killed_at_every_single_event(made, undisturbed, tmp_path):
    _check_kills(made, undisturbed, tmp_path, range(len(undisturbed[2])))


def test_killed_again_and_again(made, undisturbed, tmp_path):
    _, expected, _ = undisturbed
    folder, random = tmp_path / "run", np.random.default_rng(0)
    for _ in range(60):
        death = Death(int(random.integers(3, 60)))
        try:
            run(made, folder, death)
            break
        except Killed:
            continue
    else:
        pytest.fail("60 lives were not enough")
    assert results(folder) == expected


def test_labels_are_on_disk_before_training_and_bought_once(made, tmp_path):
    asked, folder = [], tmp_path / "run"
    files = RunFiles(folder)

    def answer(index, rows):
        asked.append((index, rows.tolist()))
        return made.answer(index, rows)

    class Watcher(Listener):
        def phase(self, name, index):
            if name == "train":
                queries = store.read_lines(files.queries)
                assert len(queries) == made.plan[index]
            return super().phase(name, index)

    runner.run(made._replace(answer=answer), files, Watcher(made.plan))
    assert [index for index, _ in asked] == [0, 1, 2, 3]


def test_after_a_kill_only_missing_labels_are_asked_for(made, undisturbed, tmp_path):
    _, expected, _ = undisturbed
    folder, asked = tmp_path / "run", []
    files = RunFiles(folder)
    run(made, folder)
    lines = files.queries.read_text().splitlines(keepends=True)
    # As if killed while the second line of the last purchase was being written.
    files.queries.write_text("".join(lines[:17]) + lines[17][:20])
    store.rewrite_lines(files.rounds, store.read_lines(files.rounds)[:2])

    def answer(index, rows):
        asked.append(index)
        return made.answer(index, rows)

    run(made._replace(answer=answer), folder)
    assert asked == [3]
    assert results(folder) == expected


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 24 KiB, and a function that makes room on it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    grow = ["mount", "-o", "remount,size=20m", str(place)]
    try:
        yield place, lambda: subprocess.run(grow, check=True)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("slack", [0, 4 << 20])  # noticed while writing, and before
def test_a_full_disk_costs_nothing_that_is_there(
    made, undisturbed, tiny_disk, monkeypatch, slack
):
    disk, make_room = tiny_disk
    monkeypatch.setattr(checkpoint, "_SLACK", slack)
    for _ in range(2):
        with pytest.raises(
            RunError, match=r"Could not write .*/run/.*are intact: free"
        ):
            run(made, disk / "run")
    make_room()
    run(made, disk / "run")
    assert results(disk / "run") == undisturbed[1]


def test_a_damaged_checkpoint_costs_a_round_and_is_named(made, undisturbed, tmp_path):
    _, expected, _ = undisturbed
    folder = tmp_path / "run"
    run_until_killed(made, folder, ("train", 4))  # when the last round begins
    newest = RunFiles(folder).checkpoint / "round-00002"
    path = newest / checkpoint.STATE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    messages = run(made, folder)
    assert any(str(path) in message for message in messages)
    assert any("Rounds 2 to 2 are computed again" in message for message in messages)
    assert results(folder) == expected


def test_without_any_checkpoint_rounds_are_replayed(made, undisturbed, tmp_path):
    _, expected, _ = undisturbed
    folder = tmp_path / "run"
    run_until_killed(made, folder, ("train", 4))
    for path in RunFiles(folder).checkpoint.rglob("manifest.json"):
        path.write_text("")

    def refuse(index, rows):
        assert index == 3, "a label that was bought is asked for again"
        return made.answer(index, rows)

    run(made._replace(answer=refuse), folder)
    assert results(folder) == expected


def test_labels_bought_for_other_rows_are_kept(made, tmp_path):
    folder = tmp_path / "run"
    files = RunFiles(folder)
    run(made, folder)
    queries = store.read_lines(files.queries)
    strange = next(r for r in range(80) if r not in {q["row"] for q in queries})
    bought = [
        *queries[:16],
        {**queries[16], "row": strange, "id": f"row-{strange}", "label": 2},
    ]
    store.rewrite_lines(files.queries, bought)
    store.rewrite_lines(files.rounds, store.read_lines(files.rounds)[:2])
    messages = run(made, folder)
    assert any("Other rows are chosen" in message for message in messages)
    after = store.read_lines(files.queries)
    assert after[:17] == bought
    assert len(after) == 21
    assert len({query["row"] for query in after}) == 21


def test_a_finished_run_is_not_run_again(made, undisturbed, tmp_path):
    folder, expected, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def refuse(*args):
        pytest.fail("a finished run asked for labels")

    messages = run(made._replace(answer=refuse), folder)
    assert any("is finished" in message for message in messages)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert results(folder) == expected


def test_other_settings_are_refused_with_what_differs(undisturbed):
    folder, expected, _ = undisturbed
    other = make_experiment(seed=1, epochs=2)
    with pytest.raises(RunError, match=r"seed: 0, now 1\n  epochs: 1, now 2") as error:
        run(other, folder)
    assert re.search("--name.*--overwrite", str(error.value))
    assert results(folder) == expected


def test_another_pool_is_refused(undisturbed):
    with pytest.raises(RunError, match="pool: 'pool-80', now 'pool-70'"):
        run(make_experiment(num_rows=70), undisturbed[0])


def test_overwrite_starts_again(made, undisturbed, tmp_path):
    folder = tmp_path / "run"
    run_until_killed(make_experiment(seed=1), folder, undisturbed[2].index("train"))
    assert len(store.read_lines(RunFiles(folder).queries)) == 6
    with pytest.raises(RunError, match="seed: 1, now 0"):
        run(made, folder)
    run(made, folder, overwrite=True)
    assert results(folder) == undisturbed[1]


def test_results_without_a_config_are_not_built_on(made, tmp_path):
    files = RunFiles(tmp_path / "run")
    run(made, files.folder)
    files.config.unlink()
    with pytest.raises(RunError, match=r"no config.json"):
        run(made, files.folder)


def test_other_software_is_told_and_written_down(made, tmp_path):
    folder = tmp_path / "run"
    run_until_killed(made, folder, ("train", 3))
    files = RunFiles(folder)
    written = store.read_json(files.config)
    written["environment"]["jax"] = "0.0.1"
    store.write_json(files.config, written)
    messages = run(made, folder)
    assert any(f"jax: '0.0.1', now '{jax.__version__}'" in m for m in messages)
    (resumed,) = store.read_json(files.config)["resumed"]
    assert (resumed["round"], resumed["jax"]) == (2, jax.__version__)


def test_a_model_that_emits_nan_buys_nothing(made, tmp_path):
    model = logistic_regression(3)

    def apply(variables, inputs, *, key=None, train=False):
        output, variables = model.apply(variables, inputs, key=key, train=train)
        is_bad = inputs[:, :1] > 1.5
        logits = jnp.where(is_bad, jnp.nan, output.logits)
        return output._replace(logits=logits), variables

    learner = supervised(model, epochs=1)
    test = jnp.zeros((2, 3)), jnp.zeros(2, int)
    loop = active_learner(
        model._replace(apply=apply), learner, DOUBT, batch_size=5, test=test
    )
    num_bad = int((made.pool.inputs[:, 0] > 1.5).sum())
    with pytest.raises(RunError, match=f"no label was bought.*NaN.* {num_bad} rows"):
        run(made._replace(loop=loop), tmp_path / "run")
    queries = store.read_lines(RunFiles(tmp_path / "run").queries)
    assert {query["round"] for query in queries} == {0}


@pytest.mark.parametrize("answer", [3, -2])
def test_an_answer_that_is_no_class_is_refused(made, tmp_path, answer):
    def answering(index, rows):
        return np.full(rows.shape, answer, np.int32)

    with pytest.raises(RunError, match="Nothing was written down"):
        run(made._replace(answer=answering), tmp_path / "run")
    assert not RunFiles(tmp_path / "run").queries.exists()


def test_a_row_nobody_answers_stays_available(made, tmp_path):
    def silent(index, rows):
        answers = made.answer(index, rows)
        answers = answers.copy()
        answers[0] = -1
        return answers

    run(made._replace(answer=silent), tmp_path / "run")
    rounds = store.read_lines(RunFiles(tmp_path / "run").rounds)
    assert [record["labels"] for record in rounds] == [5, 9, 13, 17]
    assert [record["bought"] for record in rounds] == [4, 4, 4, 0]


def test_a_run_that_can_buy_no_more_ends(made, undisturbed, tmp_path):
    folder = tmp_path / "run"
    run(made._replace(plan=[*made.plan, 26, 31]), folder)
    rounds, queries = results(folder)
    assert [record["labels"] for record in rounds] == [6, 11, 16, 21]
    assert rounds[-1]["is_last"]
    assert queries == undisturbed[1][1]
