"""The ablation: the right test sees what the wrong one misses; a tiny one runs."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import cifar_ablation
from jaxal.data.types import Split
from jaxal.runs import store


def test_pairing_by_seed_sees_what_averaged_curves_hide():
    """Curves rise by 30 points, seeds differ by 5, and strategies by half a point."""
    rng = np.random.default_rng(0)
    rise = np.linspace(0.4, 0.7, 11) + rng.normal(0, 0.05, (20, 1))
    jitter = lambda: rng.normal(0, 0.002, rise.shape)  # noqa: E731
    found = {"random": rise + jitter(), "worse": rise - 0.005 + jitter()}
    (t, p) = cifar_ablation.paired(found, "random")["worse"]
    gaps = (found["worse"] - found["random"])[:, 1:].mean(1)
    expected = gaps.mean() / (gaps.std(ddof=1) / np.sqrt(20))
    np.testing.assert_allclose(t, expected, rtol=1e-6)
    assert t < -10 and p < 1e-6
    assert cifar_ablation.unpaired(found, "random")["worse"][1] > 0.5
    assert "| worse | -" in cifar_ablation.verdicts(found, "random")


@pytest.mark.slow
def test_a_tiny_one_has_curves_and_a_ceiling(tmp_path, monkeypatch, capsys):
    rng, labels = np.random.default_rng(0), np.arange(200) % 10
    colours = rng.integers(0, 200, (10, 1, 1, 3))  # one a class, so that fits are sound
    images = colours[labels] + rng.integers(0, 55, (200, 16, 16, 3))
    split = Split(images.astype(np.uint8), labels, np.arange(200))
    data = SimpleNamespace(
        train=split, test=split, class_names=tuple("0123456789"), name="noise"
    )
    monkeypatch.setattr(cifar_ablation, "load", lambda name, keep_ratios: data)
    words = (
        "--plan cpu --strategies random coreset --seeds 0 1 --min-steps 40 --width 4"
    )
    cifar_ablation.main([*words.split(), "--folder", str(tmp_path)])
    assert "| coreset |" in capsys.readouterr().out
    rounds = store.read_lines(tmp_path / "coreset-seed1" / "rounds.jsonl")
    assert [r["labels"] for r in rounds] == [60, 90, 120, 150, 180]
    (ceiling,) = {path.name for path in tmp_path.glob("all-labels*seed1")}
    assert store.read_lines(tmp_path / ceiling / "rounds.jsonl")[0]["labels"] == 200
