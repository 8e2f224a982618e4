"""MNIST's studies on noise of its shape: every subcommand leaves what it promises."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import mnist
from jaxal.data.types import Split
from jaxal.runs import store


@pytest.fixture
def noise(monkeypatch, tmp_path):
    rng, labels = np.random.default_rng(0), np.arange(60) % 10
    images = rng.integers(0, 255, (60, 28, 28, 1)).astype(np.uint8)
    split = Split(images, labels, np.arange(60))
    data = SimpleNamespace(train=split, test=split)
    monkeypatch.setattr(mnist, "load", lambda name: data)
    return tmp_path


def play(folder, *words):
    words = [*words, "--scale", "smoke", "--seeds", "0", "--folder", str(folder)]
    mnist.main([*words, "--min-steps", "2"])
    return {
        path.parent.name: store.read_lines(path)
        for path in folder.glob("*/rounds.jsonl")
    }


def test_strategies_begin_with_two_of_each_class(noise):
    found = play(noise, "buy", "--strategies", "random")
    (name,) = found
    assert [r["labels"] for r in found[name]] == [20, 30]
    first = store.read_lines(noise / name / "queries.jsonl")[:20]
    assert sorted(q["label"] for q in first) == sorted(2 * list(range(10)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count"), [("epochs", 2), ("labels", 4), ("masks", 6)]
)
def test_scaling_studies_have_a_trial_for_each_setting(noise, what, count):
    assert len(play(noise, what, "--most", "4" if what == "labels" else "2")) == count


@pytest.mark.slow
def test_full_data_are_told_by_epoch(noise, capsys):
    play(noise, "full", "--patience", "3")
    assert capsys.readouterr().out.count("NLL") == 2
