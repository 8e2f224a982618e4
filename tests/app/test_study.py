"""`jaxal study`: embeddings in, comparable runs out."""

import json

import numpy as np
import pytest

from jaxal import words as jaxal_words
from jaxal.app import cli, study
from jaxal.app.features import CEILING, Data, read
from jaxal.report.gathering import gather
from jaxal.runs import store
from jaxal.runs.store import RunFiles
from tests.toys import blobs

SMALL = ["--initial", "4", "--query-size", "3", "--rounds", "2", "--seeds", "0..1"]


@pytest.fixture
def arrays(tmp_path):
    inputs, labels = blobs(80, 3)
    np.save(tmp_path / "x.npy", inputs.astype(np.float16))
    np.save(tmp_path / "y.npy", labels.astype(np.int8))
    np.savez(tmp_path / "all.npz", inputs=inputs, labels=labels)
    return tmp_path


def play(arrays, *words):
    folder = arrays / "study"
    start = ["study", "--folder", str(folder), *SMALL]
    assert cli.main([*start, *words]) == 0
    return folder


def parse(*words):
    return jaxal_words.parse(study.StudyRecipe(), words)


def cli_status(*words):
    with pytest.raises(SystemExit) as left:
        cli.main(["study", *words])
    return left.value.code


def labels_of(folder, name):
    return [r["labels"] for r in store.read_lines(RunFiles(folder / name).rounds)]


def test_arrays_become_runs_that_the_report_reads(arrays):
    words = "--features", str(arrays / "x.npy"), "--labels", str(arrays / "y.npy")
    folder = play(arrays, *words, "--strategy", "margin", "bald", "--num-pool", "40")
    assert labels_of(folder, "margin-seed1") == [4, 7, 10]
    (group,) = gather([folder])
    assert [len(group.curves[name]) for name in ("bald", "margin")] == [2, 2]
    settings = store.read_json(RunFiles(folder / "bald-seed0").config)["settings"]
    assert settings["rows"] == 40 and settings["strategy"] == "bald"
    (ceiling,) = [f for f in folder.glob("all-labels*")]
    assert labels_of(folder, ceiling.name) == [40]
    config = store.read_json(RunFiles(ceiling).config)["settings"]
    assert config["strategy"] == CEILING


def test_a_study_leaves_what_repeats_it(arrays):
    words = "--features", str(arrays / "all.npz"), "--strategy", "random"
    folder = play(arrays, *words, "--no-ceiling", "--posterior", "laplace_evidence")
    again = arrays / "again"
    options = parse("--config", str(folder / "study.json"), "--folder", str(again))
    assert options.seeds == (0, 1) and options.posterior == "laplace_evidence"
    (first, _), one = study.run(options), folder / "random-seed0"
    assert RunFiles(first).queries.read_text() == RunFiles(one).queries.read_text()


def test_a_toml_file_gives_way_to_words(tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text('features = "x.npz"\nseeds = ["0..9", 12]\nplan = "mid"\n')
    assert parse("--config", str(file)).seeds == (*range(10), 12)
    options = parse("--config", str(file), "--seeds", "3")
    assert (options.seeds, options.plan) == ((3,), "mid")
    assert str(options.features) == "x.npz"
    file.write_text("strategies = 3")
    assert cli_status("--config", str(file)) == 2
    assert "no setting 'strategies'. Did you mean 'strategy'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0-3"], "--seeds is '0-3', expected a whole number."),
        (["--seeds", "3..1"], "--seeds has no values"),
        (["--seeds", "0..3", "2"], "--seeds has [2] twice"),
        (["--strategy", "badge", "badge"], "--strategy has ['badge'] twice"),
        (["--part", "3"], "--part is '3', expected two numbers, as 3/16"),
        (["--plan", "lo"], "Did you mean 'low'"),
        (["--initial", "0"], "--initial is 0, expected at least 1"),
        (["--posterior", "map"], "--posterior is 'map', expected one of laplace"),
        (["--feature", "x.npz"], "no option --feature. Did you mean '--features'"),
    ],
)
def test_bad_words_are_refused_as_those_of_a_run_are(capsys, words, said):
    assert cli_status(*words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "No embeddings were named"),
        (["--features", "x.npy"], "needs --labels"),
        (["--features", "none.npz"], "no such file"),
        (["--features", "all.npz", "--strategy", "margn"], "Did you mean 'margin'"),
        (["--features", "all.npz", "--initial", "900"], "initial is 900"),
        (["--features", "all.npz", "--keep-ratios", "1", "2"], "keep_ratios has 2"),
        (["--features", "all.npz", "--stop", "plateau"], "no validation split to look"),
        (["--features", "all.npz", "--stop", "platau"], "There is no rule 'platau'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arrays, monkeypatch, capsys, words, said):
    monkeypatch.chdir(arrays)
    assert cli.main(["study", *words]) == 1
    assert said in capsys.readouterr().err


def test_classes_are_thinned_in_the_pool_alone(arrays):
    whole = read(Data(features=arrays / "all.npz"))
    thin = read(Data(features=arrays / "all.npz", keep_ratios=(1, 0.5, 0.1)))
    counts = [np.bincount(found.pool.labels) for found in (whole, thin)]
    np.testing.assert_array_equal(counts[1], np.round(counts[0] * [1, 0.5, 0.1]))
    np.testing.assert_array_equal(thin.test.ids, whole.test.ids)


def test_a_rule_stops_trials_by_rows_of_their_own(arrays):
    words = ["--features", str(arrays / "all.npz"), "--strategy", "random"]
    words += ["--no-ceiling", "--num-validation", "9"]
    folder = play(
        arrays,
        *words,
        "--stop",
        "any_of(target_accuracy(target=0), max_labels(budget=7))",
    )
    for seed in (0, 1):
        (line,) = store.read_lines(RunFiles(folder / f"random-seed{seed}").rounds)
        assert (line["labels"], line["stopped_by"]) == (4, "target_accuracy(0)")
        assert 0 <= line["validation"]["accuracy"] <= 1


def test_what_a_study_leaves_is_json(arrays):
    words = "--features", str(arrays / "all.npz"), "--strategy", "random"
    folder = play(arrays, *words, "--no-ceiling")
    assert json.loads((folder / "study.json").read_text())["rounds"] == 2
