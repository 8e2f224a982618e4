"""The command line: what it accepts, what it refuses, and what it says."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest

from jaxal.app import cli, launch
from jaxal.app.progress import Terminal
from jaxal.app.recipe import Recipe
from jaxal.app.settling import label_plan
from jaxal.runs import runner, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from jaxal.words import parse
from tests.dying import Death, Killed

PLUGIN = """
import jax.numpy as jnp
from jaxal import by_score, register

register("smallest_logit_of_{stem}", by_score(lambda logits: -jnp.min(logits, axis=-1)))
"""


def test_help_is_worth_reading(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    drawn = capsys.readouterr().out
    text = " ".join(drawn.replace("│", " ").split())  # lines are broken to fit
    for field in dataclasses.fields(Recipe):
        assert f"--{field.name.replace('_', '-')}" in text, field.name
    assert "standard on an accelerator" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy=bagde"], "badge"),
        (["--dataset=cifar11"], "cifar10"),
        (["--dataset=iris", "--strategy=bald", "--dropout=0"], "--posterior ensemble"),
        (["--dataset=digits", "--name=../up"], "--output"),
        (["--dataset=digits", "--plugin", "nowhere.py"], "nowhere.py"),
        (["--dataset=digits", "--strategy=badge(frist=drawn)"], "'first'"),
        (["--dataset=digits", "--strategy=badge(first=sideways)"], "'drawn'"),
        (["--dataset=./nofolder"], "no such folder"),
        (["--dataset=nofile.npz"], "no such file"),
        (["--dataset=digits", "--budget=10"], "20 labels to start with"),
        (["--dataset=digits", "--num-validation=9999"], "--num-validation is 9999"),
        (["--dataset=digits", "--initial-rows=none.txt"], "one id of the data set"),
    ],
)
def test_mistakes_name_the_cure_without_a_traceback(words, message, capsys, tmp_path):
    status = cli.main(["run", "--preset=smoke", f"--output={tmp_path}", *words])
    assert status == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--preset=smok", "'smoke'"),
        ("--model=resnet-18", "'resnet18'"),
        ("--epoch=3", "Did you mean '--epochs'?"),
        ("--strategy-options=first=drawn", "Did you mean '--strategy'?"),
        ("--test-size=-5", "--test-size is -5, expected at least 0"),
        ("--seeds", "--seeds has no values, expected one or more"),
        ("--seeds 0 1 0", "[0] twice"),
        ("--seeds=-1", "--seeds is -1, expected at least 0"),
        ("--augment=crop-flip", "'crop_flip'"),
        ("--epochs=some", "--epochs is 'some', expected a whole number"),
    ],
)
def test_words_that_no_option_takes_are_answered_with_the_nearest(word, near, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", *word.split()])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert near in error
    assert "None" not in error


def test_arrays_of_a_wrong_type_are_told(tmp_path, capsys):
    path = tmp_path / "mine.npz"
    np.savez(path, inputs=np.zeros((9, 2), int), labels=np.arange(9) % 3)
    assert cli.main(["run", f"--dataset={path}"]) == 1
    error = capsys.readouterr().err
    assert "mine.npz: inputs have dtype int64" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("plato(patience=2)", "There is no rule 'plato', expected one of plateau"),
        ("plateau(patience=2)", "has no validation split to look at"),
    ],
)
def test_a_rule_that_cannot_be_is_told(rule, message, tmp_path, capsys):
    words = ["--dataset=iris", "--preset=smoke", "--strategy=random"]
    words += [f"--stop={rule}", f"--output={tmp_path}"]
    assert cli.main(["run", *words]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_rule_ends_a_run(tmp_path, capsys):
    words = ["--dataset=iris", "--preset=smoke", "--strategy=random", "--query-size=5"]
    words += ["--num-validation=20", "--stop=any_of(plateau(patience=9), max_labels("]
    words[-1] += "budget=25))"
    assert cli.main(["run", *words, f"--output={tmp_path}"]) == 0
    assert "max_labels(25) stops at 25 labels." in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_told(tmp_path, capsys, monkeypatch):
    from jaxal import data

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "secret.npz")

    monkeypatch.setattr(data, "load", refuse)
    assert cli.main(["run", "--dataset=secret.npz"]) == 1
    assert "Permission denied: 'secret.npz'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("in the way")
    words = ["--dataset=iris", "--preset=smoke", "--strategy=random"]
    assert cli.main(["run", *words, f"--output={path}"]) == 1
    error = capsys.readouterr().err
    assert "Choose another --output" in error
    assert "Earlier rounds" not in error


@pytest.mark.parametrize(
    ("place", "said"),
    [("data.load", "before a run began"), ("runner.run", "every complete round is")],
)
def test_ctrl_c_says_what_there_is_to_continue(
    place, said, capsys, monkeypatch, tmp_path
):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"jaxal.app.launch.{place}", stop)
    words = ["--dataset=iris", "--preset=smoke", "--overwrite", f"--output={tmp_path}"]
    assert cli.main(["run", *words]) == cli.INTERRUPTED
    error = capsys.readouterr().err
    assert said in error
    # What was to be overwritten is still there, unless the run had begun.
    assert ("--overwrite" in error.splitlines()[-1]) == (place == "data.load")


def test_too_little_memory_is_said_with_what_takes_less(monkeypatch, capsys, tmp_path):
    def run(*args, **kwargs):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory, 9 bytes.")

    monkeypatch.setattr("jaxal.app.launch.runner.run", run)
    words = ["--dataset=iris", "--preset=smoke", f"--output={tmp_path}"]
    assert cli.main(["run", *words]) == 1
    assert "9 bytes. Lower --train-batch" in capsys.readouterr().err


def prepared(*words):
    base = Recipe(dataset="digits", preset="smoke")
    return launch.prepare(parse(base, words), 0)[:2]


REACH = [
    (["--schedule=one_cycle"], {"schedule": "one_cycle"}),
    (["--budget=50"], {"budget": 50, "rounds": 2}),
    (["--query-size", "5", "9"], {"query_size": [5, 9]}),
    (["--num-validation=100"], {"num_validation": 100}),
    (["--image-size", "4", "4"], {"image_size": [4, 4]}),
    (["--keep-ratios", *["0.5"] * 10], {"keep_ratios": [0.5] * 10}),
    (["--posterior=ensemble"], {"posterior": "ensemble"}),
    (["--strategy=bald", "--num-samples=3"], {"num_samples": 3}),
    (["--augment=crop_flip_cutout"], {"augment": "crop_flip_cutout"}),
    (["--optimizer=sgd"], {"optimizer": "sgd"}),
    (["--model=resnet18", "--dtype=bfloat16"], {"dtype": "bfloat16"}),
    (["--averaging=swa"], {"averaging": "swa"}),
    (
        ["--model=logistic_regression"],
        {"learner": "solved", "learning_rate": None, "measure": "network"},
    ),
    (
        ["--model=logistic_regression", "--weight-decay=0.1"],
        {"learner": "trained", "learning_rate": 0.02},
    ),
    (["--refit=shrink_and_perturb"], {"refit": "shrink_and_perturb"}),
    (["--initial-kind=balanced"], {"initial_kind": "balanced"}),
    (["--label-noise=0.2"], {"label_noise": 0.2}),
]


@pytest.mark.parametrize(("words", "settings"), REACH, ids=lambda x: " ".join(x))
def test_what_the_command_line_says_is_in_the_config(words, settings):
    made, recipe = prepared(*words)
    assert settings.items() <= made.settings.items()
    assert made.plan == label_plan(recipe)
    assert len(made.initial_rows) == 20


def test_validation_rows_are_never_in_the_pool():
    from jaxal import data

    made, _ = prepared("--num-validation=100", "--pool-size=0")
    held_out = data.load("digits", num_validation=100).validation.ids
    assert len(held_out) == 100
    assert len(made.ids) == 1338
    assert not set(held_out.tolist()) & set(made.ids.tolist())


def test_a_balanced_start_has_every_class():
    made, _ = prepared("--initial-kind=balanced")
    labels = made.answer(0, made.initial_rows)
    assert np.bincount(labels).tolist() == [2] * 10


def test_given_rows_are_the_start_whatever_the_pool(tmp_path):
    from jaxal import data

    ids = data.load("digits").train.ids[[700, 3, 1200, 41, 5]]
    path = tmp_path / "start.txt"
    path.write_text("\n".join(map(str, ids)) + "\n\n")
    made, recipe = prepared(f"--initial-rows={path}", "--pool-size=30")
    assert made.ids[made.initial_rows].tolist() == ids.tolist()
    assert len(made.ids) == 30
    assert (recipe.initial, made.plan[:2]) == (5, [5, 25])
    path.write_text("\n".join(map(str, ids[::-1])))  # the same rows
    again, _ = prepared(f"--initial-rows={path}", "--pool-size=30")
    assert again.settings == made.settings
    other, _ = prepared("--pool-size=30")
    assert other.settings["initial_rows"] is None
    assert isinstance(made.settings["initial_rows"], str)


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", [], "is empty"),
        ("1\n2\n1\n", [], "'1' twice"),
        ("1\n1797x\n", [], "'1797x'. Did you mean"),
        ("1\n", ["--initial=3"], "names 1 rows"),
    ],
)
def test_given_rows_that_cannot_be(text, words, message, tmp_path):
    from jaxal import data

    first = str(data.load("digits").train.ids[0])
    path = tmp_path / "start.txt"
    path.write_text(text.replace("1\n", f"{first}\n"))
    message = message.replace("'1'", f"'{first}'")
    with pytest.raises(RunError, match=message):
        prepared(f"--initial-rows={path}", *words)


def test_image_size_makes_one_size_of_a_folder_of_many(tmp_path):
    from PIL import Image

    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(15):
            image = Image.new("L", (9 + i, 12), 10 * i)
            image.save(tmp_path / "images" / label / f"{i}.png")
    words = [f"--dataset={tmp_path / 'images'}", f"--data-dir={tmp_path}"]
    words += ["--image-size", "6", "8", "--initial=4", "--query-size=4"]
    made, _ = prepared(*words)
    assert made.pool.inputs.shape[1:] == (6, 8, 1)
    assert made.settings["image_size"] == [6, 8]


def test_everything_at_once_from_words_to_files(tmp_path, capsys):
    words = "--averaging=swa --refit=shrink_and_perturb --augment=crop_flip_cutout "
    words += "--schedule=one_cycle --initial-kind=balanced --budget=30 --strategy=bald "
    words += "--posterior=ensemble --num-samples=2 --num-validation=50 --min-steps=4 "
    words += "--optimizer=adamw --test-size=64 --pool-size=64 --width=8 --keep-ratios"
    words = [*words.split(), *["0.5"] * 10, "--preset=smoke", "--dataset=digits"]
    assert cli.main(["run", *words, f"--output={tmp_path}"]) == 0
    (folder,) = tmp_path.glob("*-seed0")
    files = store.RunFiles(folder)
    rounds = store.read_lines(files.rounds)
    assert [record["labels"] for record in rounds] == [20, 30]
    for record in rounds:
        assert 0 <= record["validation"]["accuracy"] <= 1
        assert record["validation"]["accuracy"] != record["accuracy"]
        assert len(record["validation"]["per_class_accuracy"]) == 10
    assert "validation" in capsys.readouterr().err
    assert len(store.read_lines(files.queries)) == 30


def test_a_solved_model_chooses_by_its_posterior_and_goes_on_where_it_was(tmp_path):
    words = "--model=logistic_regression --strategy=bald --num-samples=3 --rounds=3"
    made, _ = prepared(
        *words.split(), "--temperature=validation", "--num-validation=50"
    )
    whole, broken = store.RunFiles(tmp_path / "a"), store.RunFiles(tmp_path / "b")
    life = Death(None)
    with life.installed():
        runner.run(made, whole, Terminal(made.plan))
    death = Death(life.count // 2)
    with contextlib.suppress(Killed), death.installed():
        runner.run(made, broken, Terminal(made.plan))
    assert death.is_dead and len(store.read_lines(broken.rounds)) < 4
    runner.run(made, broken, Terminal(made.plan))
    assert whole.queries.read_text() == broken.queries.read_text()
    found = [
        [r["accuracy"] for r in store.read_lines(f.rounds)] for f in (whole, broken)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 4 and found[0][-1] > 0.7


def test_unknown_commands_are_told(capsys):
    assert cli.main(["rum"]) == 2
    assert "no command 'rum'" in capsys.readouterr().err
    assert cli.main([]) == 0
    assert "report" in capsys.readouterr().out


def test_lists(capsys):
    assert cli.main(["strategies"]) == 0
    assert {"badge", "random"} <= set(capsys.readouterr().out.split())
    assert cli.main(["datasets"]) == 0
    assert {"cifar10", "digits"} <= set(capsys.readouterr().out.split())


def test_a_plugin_makes_its_strategy_known(tmp_path):
    from jaxal.app.plugins import load_plugins
    from jaxal.registry import strategy_names

    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(stem="mine"))
    load_plugins([path])
    assert "smallest_logit_of_mine" in strategy_names()
    recipe = Recipe(
        strategy="smallest_logit_of_mine",
        dataset="digits",
        preset="smoke",
        plugin=(path,),
    )
    made, *_ = launch.prepare(recipe, 0)
    assert made.settings["strategy"] == "smallest_logit_of_mine"
    checksum = made.settings["plugins"]["mine.py"]
    path.write_text(PLUGIN.format(stem="mine") + "\n")
    changed, *_ = launch.prepare(recipe, 0)
    assert changed.settings["plugins"]["mine.py"] != checksum


def test_strategy_and_seed_decide_what_they_should():
    recipe = Recipe(dataset="iris", preset="smoke", pool_size=60)
    badge, *_ = launch.prepare(recipe, 0)
    margin, *_ = launch.prepare(dataclasses.replace(recipe, strategy="margin"), 0)
    other, *_ = launch.prepare(recipe, 1)
    # Another strategy starts from the same pool and rows; another seed does not.
    assert badge.settings["pool"] == margin.settings["pool"]
    np.testing.assert_array_equal(badge.initial_rows, margin.initial_rows)
    assert badge.key_rounds == margin.key_rounds
    assert badge.settings["pool"] != other.settings["pool"]
    assert badge.initial_rows.tolist() != other.initial_rows.tolist()


def test_streams_of_a_seed_are_apart():
    import jax

    from jaxal.runs.experiment import STREAMS, stream

    keys = {
        tuple(jax.random.key_data(stream(seed, name)).tolist())
        for seed in range(3)
        for name in STREAMS
    }
    assert len(keys) == 3 * len(STREAMS)


def test_a_fit_is_watched_and_ends_with_its_best_weights(tmp_path, capsys):
    words = ["run", "--dataset=iris", "--preset=smoke", "--strategy=random"]
    words += ["--rounds=0", "--min-steps=60", f"--output={tmp_path}"]
    looks = ["--num-validation=40", "--best-by=nll", "--patience=4", "--record=epochs"]
    assert cli.main([*words, *looks]) == 0
    (record,) = store.read_lines(RunFiles(tmp_path / "iris-random-smoke-seed0").rounds)
    along = record["along"]
    best = int(np.argmin(along["validation/nll"]))
    assert record["best_step"] == along["step"][best]
    assert len(along["step"]) == min(best + 5, 30)
    assert record["validation"]["nll"] == pytest.approx(along["validation/nll"][best])
    assert record["nll"] == pytest.approx(along["test/nll"][best])
    for given, said in ((looks[1:2], "--num-validation"), (looks[2:3], "--best-by")):
        assert cli.main([*words, *given]) != 0
        assert said in capsys.readouterr().err
