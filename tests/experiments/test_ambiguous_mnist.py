"""Ambiguous-MNIST: what is mixed, kept, drawn and stored, against NumPy."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ambiguous_mnist
from experiments.ambiguous_mnist import Ambiguous, Making
from jaxal.data import load
from jaxal.data.types import Split


def probabilities(logits):
    odds = np.exp(logits.astype(float) - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def entropy(probs):
    return -sum(p * np.log(np.maximum(p, 1e-300)) for p in np.moveaxis(probs, -1, 0))


def test_a_mix_is_convex():
    first, second = np.array([[0.0, 4.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [5.0, 1]])
    found = ambiguous_mnist.mixed(first, second, np.array([0.25, 1.0]))
    np.testing.assert_allclose(found, [[1.5, 1.0], [1.0, 1.0]])


def test_what_is_sure_or_junk_is_left_out():
    rng = np.random.default_rng(0)
    size = rng.uniform(0, 8, (1, 400, 1))
    together = size * rng.normal(size=(1, 400, 10))
    apart = rng.uniform(0, 1, (1, 400, 1)) * rng.normal(size=(6, 400, 10))
    probs = probabilities(together + apart)
    total, each = entropy(probs.mean(0)), entropy(probs).mean(0)
    expected = (total - each <= 0.05) & (total >= 0.05) & (total <= 3)
    found = ambiguous_mnist.is_ambiguous(jnp.asarray(together + apart, jnp.float32))
    np.testing.assert_array_equal(found, expected)
    is_junk, is_sure = total - each > 0.05, total < 0.05
    assert min(expected.sum(), is_junk.sum(), is_sure.sum()) > 20


def test_bins_are_level_as_far_as_they_are_full():
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 9, 7)
        total = rng.integers(0, counts.sum() + 1)
        taken = ambiguous_mnist.level(counts, total)
        assert taken.sum() == total and (taken <= counts).all()
        assert (taken[taken < counts] >= taken.max() - 1).all()
    with pytest.raises(ValueError, match="3 mixes are ambiguous, expected at least 4"):
        ambiguous_mnist.level(np.array([1, 2]), 4)


def test_rows_are_even_over_entropy_and_the_first_ones():
    crowded, sparse = np.full(50, 0.31), np.linspace(0.5, 2.25, 5)
    is_kept = np.ones(55, bool)
    is_kept[:10] = False
    found = ambiguous_mnist.evenly(np.concatenate([crowded, sparse]), is_kept, 9)
    assert found.tolist() == [10, 11, 12, 13, 50, 51, 52, 53, 54]


def test_labels_are_drawn_from_what_is_said():
    soft = np.array([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.2, 0.5, 0.3]], np.float32)
    found = ambiguous_mnist.drawn(np.random.default_rng(0), soft, 20000)
    shares = np.stack([(found == label).mean(1) for label in range(3)], axis=1)
    np.testing.assert_allclose(shares, soft, atol=0.012)


def test_no_guess_does_better_than_the_ceiling():
    rng = np.random.default_rng(0)
    soft = rng.dirichlet(np.ones(4), 300)
    assert ambiguous_mnist.ceiling(np.array([[0.7, 0.3], [0.5, 0.5]])) == 0.6
    labels = ambiguous_mnist.drawn(rng, soft, 400)
    by_best = (labels == soft.argmax(-1)[:, None]).mean()
    second = (labels == soft.argsort(-1)[:, 2:3]).mean()
    np.testing.assert_allclose(by_best, ambiguous_mnist.ceiling(soft), atol=0.005)
    assert second < by_best - 0.1


@pytest.fixture
def two_pixels():
    """Class c has only pixel c on; codes are pixels, and so are probabilities."""
    odds = lambda pixels: jnp.log(pixels) - jnp.log1p(-pixels)  # noqa: E731
    eps = 1e-6
    autoencoder = SimpleNamespace(
        encode=lambda x: (x, None), decode=lambda code: odds(code.clip(eps, 1 - eps))
    )

    def ensemble(images):
        shares = jnp.asarray(images).reshape(-1, 2) / jnp.float32(255)
        return jnp.log(jnp.stack([shares, shares]).clip(eps))

    labels = np.arange(40) % 2
    images = np.eye(2)[labels].reshape(40, 1, 2, 1) * 255
    split = Split(images.astype(np.uint8), labels, np.arange(40))
    return autoencoder, ensemble, split


def test_what_is_made_is_known_where_codes_are_pixels(two_pixels):
    making = Making(num_labels=500, candidates=60)
    found = ambiguous_mnist.ambiguous([0, 0], *two_pixels, 26, making)
    shares = found.images.reshape(-1, 2) / 255
    np.testing.assert_allclose(shares.sum(1), 1, atol=0.01)
    np.testing.assert_allclose(found.soft, shares / shares.sum(1)[:, None], atol=1e-4)
    bins = ((entropy(found.soft) - 0.05) / 0.05).astype(int)
    assert np.bincount(bins).tolist() == 13 * [2]  # up to log 2
    np.testing.assert_allclose((found.labels == 0).mean(1), found.soft[:, 0], atol=0.09)


def test_two_of_a_class_are_not_mixed(two_pixels):
    autoencoder, ensemble, split = two_pixels
    split = split._replace(labels=np.zeros(40, int))
    with pytest.raises(ValueError, match="0 mixes are ambiguous"):
        ambiguous_mnist.ambiguous(0, autoencoder, ensemble, split, 5, Making())


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def make(data, making):
        calls.append(making)
        rng = np.random.default_rng(making.seed)
        images = rng.integers(0, 255, (6, 8, 8, 1)).astype(np.uint8)
        soft = rng.dirichlet(np.ones(10), 6).astype(np.float32)
        labels = ambiguous_mnist.drawn(rng, soft, 3)
        half = Ambiguous(images, labels, soft)
        return half, Ambiguous(*(part[:4] for part in half))

    monkeypatch.setattr(ambiguous_mnist, "make", make)
    return calls


def same(first, second):
    return all(
        np.array_equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_made_once_and_again_where_it_does_not_fit(tmp_path, counted, capsys):
    data, making = load("digits"), Making(images=6)
    first = ambiguous_mnist.made(data, making, tmp_path)
    again = ambiguous_mnist.made(data, making, tmp_path)
    assert same(first, again) and len(counted) == 1
    assert first[0].soft.shape == (6, 10) and first[1].labels.shape == (4, 3)
    for part in ("soft", "labels"):
        (file,) = tmp_path.rglob(f"train_of_many_{part}.npy")
        file.write_bytes(file.read_bytes()[:-1] + b"!")  # a bit is flipped
        assert same(first, ambiguous_mnist.made(data, making, tmp_path))
    assert len(counted) == 3 and capsys.readouterr().err.count("Making Ambiguous-") == 3
    other = ambiguous_mnist.made(data, making._replace(seed=1), tmp_path)
    assert not same(first, other) and len(counted) == 4


@pytest.mark.slow
def test_the_same_seed_makes_the_same(tmp_path):
    data = load("digits")
    making = Making(8, 4, 10, 100, 1000, 300, "mlp", 3, 5, 10, 4)
    first, again = (ambiguous_mnist.make(data, making) for _ in range(2))
    assert same(first, again)
    assert first[0].images.shape == (8, 8, 8, 1) and first[0].labels.shape == (8, 10)
    assert (entropy(first[1].soft) > 0.05).all()
    other = ambiguous_mnist.make(data, making._replace(seed=1))
    assert not np.array_equal(other[0].images, first[0].images)
