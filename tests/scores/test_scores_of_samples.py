"""EPIG, information density and expected error reduction against the formulas."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.scores.density import information_density
from jaxal.scores.epig import epig
from tests.reference import bayes as reference


def samples(seed, num_samples=5, num_rows=11, num_classes=3):
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(num_samples, num_rows, num_classes)).astype(np.float32)


def test_epig_equals_the_definition():
    for seed in range(20):
        pool, targets = samples(seed), samples(100 + seed, num_rows=7)
        expected = reference.epig(pool, targets)
        np.testing.assert_allclose(epig(pool, targets), expected, atol=1e-6)


def test_epig_in_blocks_equals_epig_whole(monkeypatch):
    module = importlib.import_module("jaxal.scores.epig")
    # Shapes no other test compiles, so that the small blocks are seen.
    pool, targets = samples(0, num_rows=23), samples(1, num_rows=17)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 9 * 25)
    blocks = np.asarray(epig(pool, targets))
    np.testing.assert_allclose(blocks, reference.epig(pool, targets), atol=1e-6)


def test_epig_counts_only_targets_of_the_mask():
    pool, targets = samples(2), samples(3, num_rows=7)
    kept = np.array([True, False, True, True, False, False, True])
    found = epig(pool, targets, is_target=kept)
    np.testing.assert_allclose(found, reference.epig(pool, targets[:, kept]), atol=1e-6)
    nobody = epig(pool, targets, is_target=np.zeros(7, bool))
    assert (nobody == 0).all()


def test_epig_of_itself_is_bald_of_certain_networks_and_zero_of_one_network():
    labels = np.random.default_rng(0).integers(0, 3, size=(6, 9))
    one_hot = np.where(np.arange(3) == labels[..., None], 0.0, -np.inf)
    one_hot = one_hot.astype(np.float32)
    mean = reference.softmax(one_hot).mean(0)
    expected = [reference.entropy(p) for p in mean]
    for n in range(9):
        found = epig(one_hot[:, n : n + 1], one_hot[:, n : n + 1])
        np.testing.assert_allclose(found, expected[n], atol=1e-6)
    alone = epig(samples(5)[:1], samples(6)[:1])
    np.testing.assert_allclose(alone, 0, atol=1e-6)


def test_epig_refuses_other_networks():
    with pytest.raises(ValueError, match="Ask the same networks about both"):
        epig(samples(0), samples(1, num_samples=4))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_information_density_equals_all_pairs(exponent):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        scores, features = rng.random(12), rng.normal(size=(12, 4))
        found = information_density(
            jnp.asarray(scores), jnp.asarray(features), exponent=exponent
        )
        expected = reference.information_density(scores, features, exponent)
        np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_information_density_leaves_padding_out_and_bears_zeros_and_float16():
    features = np.array([[3.0, 0], [3, 0], [0, 0], [-400, 0]], np.float16)
    valid = np.array([True, True, True, False])
    found = information_density(jnp.ones(4), jnp.asarray(features), is_valid=valid)
    np.testing.assert_allclose(found, [5 / 6, 5 / 6, 1 / 2, 1 / 6], rtol=1e-6)


@pytest.mark.parametrize("num_samples, num_classes", [(5, 3), (40, 3), (5, 40)])
def test_the_form_for_accelerators_equals_the_definition(
    monkeypatch, num_samples, num_classes
):
    module = importlib.import_module("jaxal.scores.samples")
    monkeypatch.setattr(module, "_on_cpu", lambda: False)
    # Rows no other test compiles, so that this form is seen.
    drawn = samples(7, num_samples, 29, num_classes)
    drawn[0, 0] = [0.0, *[-np.inf] * (num_classes - 1)]
    found, p = module.consensus(jnp.asarray(drawn)), reference.softmax(drawn)
    mean = jnp.concatenate(found.probabilities, axis=-1)
    np.testing.assert_allclose(mean, p.mean(0), atol=1e-6)
    entropies = [[reference.entropy(row) for row in sample] for sample in p]
    np.testing.assert_allclose(found.entropy[:, 0], np.mean(entropies, 0), atol=2e-6)
    deviation = module.mean_deviation(jnp.asarray(drawn))
    np.testing.assert_allclose(deviation, p.std(0).mean(-1), atol=1e-6)
