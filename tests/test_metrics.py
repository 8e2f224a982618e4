"""Metrics against hand-computed cases and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxal.metrics import classification_metrics, expected_calibration_error
from jaxal.training.tasks import cross_entropy


def test_ece_by_hand():
    # Bin (0.6, 0.667]: 0.65 right; bin (0.867, 0.933]: 0.9 right, 0.9 wrong.
    confidence = np.array([0.65, 0.9, 0.9])
    logits = np.log(np.stack([confidence, 1 - confidence], axis=-1))
    ece = expected_calibration_error(jnp.asarray(logits), jnp.array([0, 0, 1]))
    expected = (1 / 3) * abs(1 - 0.65) + (2 / 3) * abs(0.5 - 0.9)
    np.testing.assert_allclose(ece, expected, rtol=1e-5)


def test_errors_in_one_bin_cancel_and_in_two_do_not():
    # One bin: accuracy 0.5, confidence 0.5. Two bins: each is off by itself.
    together = np.log(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]))
    assert float(expected_calibration_error(together, jnp.array([0, 1]))) < 1e-6
    apart = np.log(np.array([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2]]))
    ece = expected_calibration_error(apart, jnp.array([1, 0]))
    np.testing.assert_allclose(ece, (0.95 + 0.5) / 2, rtol=1e-5)


def test_ece_puts_full_confidence_into_the_last_bin():
    logits = jnp.array([[0.0, -jnp.inf], [0.0, -jnp.inf]])
    np.testing.assert_allclose(
        expected_calibration_error(logits, jnp.array([0, 1])), 0.5
    )


def test_metrics_equal_scikit_learn():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 200)
    found = classification_metrics(jnp.asarray(logits), jnp.asarray(labels))
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    predicted = logits.argmax(-1)
    np.testing.assert_allclose(found.accuracy, sk.accuracy_score(labels, predicted))
    np.testing.assert_allclose(found.nll, sk.log_loss(labels, probs), rtol=1e-5)
    f1 = sk.f1_score(labels, predicted, average="macro")
    np.testing.assert_allclose(found.macro_f1, f1, rtol=1e-5)
    recall = sk.recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(found.per_class_accuracy, recall, rtol=1e-5)


def test_brier_score_is_the_squared_distance_to_the_truth():
    probs = np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]])
    found = classification_metrics(jnp.log(probs), jnp.array([0, 1])).brier
    away = [0.3**2 + 0.2**2 + 0.1**2, 0.2**2 + 0.8**2 + 0.6**2]
    np.testing.assert_allclose(found, np.mean(away), rtol=1e-5)


def test_absent_classes_are_said_to_be_unknown():
    found = classification_metrics(9 * jnp.eye(3)[:2], jnp.array([0, 1]))
    assert np.isnan(found.per_class_accuracy[2])
    assert float(found.macro_f1) == 1.0


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"labels has shape \[2\], expected \[3\]"):
        classification_metrics(9 * jnp.eye(3), jnp.array([0, 1]))
    with pytest.raises(ValueError, match="logits"):
        classification_metrics(jnp.ones(3), jnp.array([0]))


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_a_label_that_is_no_class_is_refused_and_never_another_class(label):
    logits, labels = jnp.log(jnp.array([[0.98, 0.01, 0.01]] * 2)), jnp.array([0, label])
    with pytest.raises(
        ValueError, match=rf"holds \[{label}\], expected classes 0 to 2"
    ):
        classification_metrics(logits, labels)
    assert np.isnan(jax.jit(classification_metrics)(logits, labels).nll)
    losses = cross_entropy(logits, labels)
    assert np.isfinite(losses[0]) and np.isnan(losses[1])
