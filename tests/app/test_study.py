"""`jaxal study`: embeddings in, comparable runs out."""

import json

import numpy as np
import pytest

from jaxal.app import cli, study
from jaxal.app.features import CEILING
from jaxal.report.gathering import gather
from jaxal.runs import RunError, store
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
    options = study.parse(
        ["--config", str(folder / "study.json"), "--folder", str(again)]
    )
    assert options.seeds == ("0..1",) and options.posterior == "laplace_evidence"
    (first, _), one = study.run(options), folder / "random-seed0"
    assert RunFiles(first).queries.read_text() == RunFiles(one).queries.read_text()


def test_a_toml_file_gives_way_to_words(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('features = "x.npz"\nseeds = ["0..9"]\nplan = "mid"\n')
    options = study.parse(["--config", str(file), "--seeds", "3"])
    assert (options.seeds, options.plan) == (("3",), "mid")
    assert str(options.features) == "x.npz"
    file.write_text("strategies = 3")
    with pytest.raises(RunError, match="sets .'strategies'., expected .'ceiling'"):
        study.parse(["--config", str(file)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "No embeddings were named"),
        (["--features", "x.npy"], "needs --labels"),
        (["--features", "none.npz"], "no such file"),
        (["--features", "all.npz", "--seeds", "0-3"], "expected a number, or a range"),
        (["--features", "all.npz", "--part", "3"], "expected two numbers, as 3/16"),
        (["--features", "all.npz", "--strategy", "margn"], "Did you mean 'margin'"),
        (["--features", "all.npz", "--initial", "900"], "initial is 900"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arrays, monkeypatch, capsys, words, said):
    monkeypatch.chdir(arrays)
    assert cli.main(["study", *words]) == 1
    assert said in capsys.readouterr().err


def test_what_a_study_leaves_is_json(arrays):
    words = "--features", str(arrays / "all.npz"), "--strategy", "random"
    folder = play(arrays, *words, "--no-ceiling")
    assert json.loads((folder / "study.json").read_text())["rounds"] == 2
