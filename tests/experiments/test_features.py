"""Features: data by name become a study, with the options of `jaxal study`."""

import numpy as np
import pytest

from experiments import features
from jaxal.data.npz import read_npz
from jaxal.runs import store


def test_digits_become_a_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--strategy random --seeds 0 --initial 5 --query-size 5 --rounds 1"
    words += " --num-pool 60 --no-ceiling --folder here"
    assert features.main(["digits", *words.split()]) == 0
    rounds = store.read_lines(tmp_path / "here" / "random-seed0" / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [5, 10]


def test_components_are_those_of_the_pool(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "FOLDER", tmp_path)
    monkeypatch.setattr(features, "COMPONENTS", 3)
    found = read_npz(features.embedded("digits"))
    rows = found.train.inputs.astype(float)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    cov = np.cov(rows.T)
    np.testing.assert_allclose(cov - np.diag(np.diag(cov)), 0, atol=1e-4)
    assert np.diag(cov)[0] > np.diag(cov)[2] and found.test.inputs.shape[1] == 3


def test_help_is_that_of_a_study(capsys):
    with pytest.raises(SystemExit) as left:
        features.main(["--help"])
    assert left.value.code == 0 and "--keep-ratios" in capsys.readouterr().out
