"""Dirty-MNIST: its rows, the reversed control, and a tiny study of both pools."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import dirty_mnist
from experiments.ambiguous_mnist import Ambiguous, ceiling
from jaxal import View, bald, strategy
from jaxal.data.types import Split
from jaxal.runs import store


def some_of_mnist(count=40):
    rng, labels = np.random.default_rng(0), np.arange(count) % 10
    colours = np.zeros((10, 28, 28, 1))
    for label in range(10):
        colours[label, 2 * label : 2 * label + 4] = 200
    images = (colours[labels] + rng.integers(0, 55, (count, 28, 28, 1))).astype(
        np.uint8
    )
    return Split(images, labels, np.arange(count))


def some_ambiguous(count=5):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (count, 28, 28, 1)).astype(np.uint8)
    soft = rng.dirichlet(np.ones(10), count).astype(np.float32)
    return Ambiguous(images, rng.integers(0, 10, (count, 4)).astype(np.int32), soft)


def test_an_image_is_for_sale_once_a_label():
    clean, some = dirty_mnist.clean(some_of_mnist(), 30), some_ambiguous()
    rows = dirty_mnist.joined(clean, dirty_mnist.every_label(some))
    assert rows.inputs.shape == (50, 28, 28, 1) and rows.is_clean.sum() == 30
    assert rows.labels[30:].tolist() == some.labels.ravel().tolist()
    assert rows.ids[29:32] == ["mnist_29", "ambiguous_0_0", "ambiguous_0_1"]
    pixels = (some.images[2].astype(float) / 255 - 0.1307) / 0.3081
    for row in range(38, 42):
        np.testing.assert_allclose(rows.inputs[row], pixels, atol=1e-5)
    expected = (30 + 4 * some.soft.astype(float).max(-1).sum()) / 50
    np.testing.assert_allclose(ceiling(rows.soft), expected, rtol=1e-6)


def test_noise_differs_by_row_and_never_changes():
    rows = dirty_mnist.clean(some_of_mnist(), 0)
    found = dirty_mnist.noisy(dirty_mnist.joined(rows, rows), 0.1)
    first, second = (
        found.inputs[part] - rows.inputs for part in np.split(np.arange(80), 2)
    )
    np.testing.assert_allclose([first.std(), second.std()], 0.1, rtol=0.02)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03
    again = dirty_mnist.noisy(dirty_mnist.joined(rows, rows), 0.1)
    np.testing.assert_array_equal(found.inputs, again.inputs)


def test_the_control_buys_what_bald_buys_last():
    """Half of the rows everybody agrees about: of these it buys, of the others BALD."""
    key = jax.random.key(0)
    samples = 3 * jax.random.normal(key, (8, 30, 4))
    samples = samples.at[:, 15:].set(samples[:1, 15:] + 0.01 * samples[:, 15:])
    view = View(jnp.ones(30, bool), jnp.zeros(30, bool), samples=samples)
    right = strategy("bald").select(key, view, 10).indices.tolist()
    wrong = dirty_mnist.reversed_bald()
    view = view._replace(rows=wrong.rowwise(view))
    found = wrong.select(key, view, 10).indices.tolist()
    order = np.argsort(np.asarray(bald(samples)))
    assert set(found) == {*order[:10].tolist()} and max(right) < 15 <= min(found)


def test_wasted_is_what_is_ambiguous_or_there_already(tmp_path):
    names = [f"mnist_{i}" for i in range(20)]
    names += ["mnist_3", "mnist_70", "ambiguous_3_1", "mnist_70", "mnist_71"]
    queries = [{"id": f"{i}_{name}"} for i, name in enumerate(names)]
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        trial = tmp_path / f"margin-seed{seed}"
        trial.mkdir()
        record = {"accuracy": accuracy, "validation": {"accuracy": 0.9}}
        (trial / "rounds.jsonl").write_text(json.dumps(record) + "\n")
        lines = "".join(json.dumps(query) + "\n" for query in queries)
        (trial / "queries.jsonl").write_text(lines)
    np.testing.assert_allclose(
        dirty_mnist.outcome(tmp_path / "margin-seed0"), [50, 90, 60]
    )
    options = dirty_mnist.Options(strategies="margin", seeds=(0, 1))
    (line,) = dirty_mnist.table(tmp_path, options).splitlines()[2:]
    assert line.startswith("| margin | 60.0 (") and "| 60.0 (60.0 to 60.0) |" in line


@pytest.mark.slow
def test_a_tiny_one_has_both_pools_and_both_accuracies(tmp_path, monkeypatch, capsys):
    data = SimpleNamespace(train=some_of_mnist(60), test=some_of_mnist(40))
    monkeypatch.setattr(dirty_mnist, "load", lambda name: data)
    half = some_ambiguous(10)
    monkeypatch.setattr(dirty_mnist, "made", lambda data, making: (half, half))
    words = "--scale smoke --strategies random bald_reversed --seeds 0 --min-steps 20"
    dirty_mnist.main([*words.split(), "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.count("| bald_reversed |") == 2
    for pool in ("dirty", "repeated"):
        trial = tmp_path / pool / "bald_reversed-seed0"
        rounds = store.read_lines(trial / "rounds.jsonl")
        assert [record["labels"] for record in rounds] == [20, 30]
        is_same = rounds[0]["accuracy"] == rounds[0]["validation"]["accuracy"]
        assert is_same == (pool == "repeated")
        first = store.read_lines(trial / "queries.jsonl")[:20]
        assert sorted(q["label"] for q in first) == sorted(2 * list(range(10)))
        assert all("_mnist_" in query["id"] for query in first)
