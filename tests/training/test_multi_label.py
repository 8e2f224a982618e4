"""Tasks besides classes and real numbers: sets of labels, soft labels, one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from jaxal import (
    Task,
    active_learner,
    array_oracle,
    bald,
    by_score,
    combine_sigmoids,
    cross_entropy,
    deep_ensemble,
    entropy,
    label_columns,
    label_sets,
    least_confidence,
    make_pool,
    multi_label,
    multi_label_metrics,
    per_label,
    sigmoid_cross_entropy,
    soft_labels,
    strategy,
    supervised,
)
from jaxal.models import mlp
from tests.toys import linear

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(160, 3)).astype(np.float32)
COLUMNS = np.stack([INPUTS[:, 0] > 0.3, INPUTS @ [1, -1, 0] > 0, INPUTS[:, 2] > 1], 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(float)))


def test_sets_and_columns_are_each_other():
    for num in (1, 7, 30):
        columns = RNG.integers(0, 2, (50, num))
        sets = label_sets(columns)
        assert sets.dtype == np.int32 and sets.min() >= 0
        np.testing.assert_array_equal(label_columns(sets, num), columns)
    with pytest.raises(ValueError, match="at most 30"):
        label_sets(np.zeros([2, 31]))
    with pytest.raises(ValueError, match="of 0 and 1"):
        label_sets([[0, 2]])


def test_loss_metrics_and_combination_are_the_definitions():
    outputs = RNG.normal(size=(4, 60, 5)).astype(np.float32) * 3
    truth = RNG.integers(0, 2, (60, 5)) * [1, 1, 1, 1, 0]
    outputs[:, :, 4] = -1 - abs(outputs[:, :, 4])  # neither there nor predicted
    labels = jnp.asarray(label_sets(truth))
    p = sigmoid(outputs[0])
    losses = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).sum(1)
    found = sigmoid_cross_entropy(jnp.asarray(outputs[0]), labels)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    metrics = multi_label_metrics(jnp.asarray(outputs[0]), labels)
    seen = (truth[:, :4], p[:, :4] >= 0.5)
    assert float(metrics.micro_f1) == pytest.approx(f1_score(*seen, average="micro"))
    assert float(metrics.macro_f1) == pytest.approx(f1_score(*seen, average="macro"))
    np.testing.assert_allclose(metrics.per_label_f1[:4], f1_score(*seen, average=None))
    assert np.isnan(metrics.per_label_f1[4])
    is_right = (seen[0] == seen[1]).all(1)
    assert float(metrics.accuracy) == pytest.approx(is_right.mean())
    assert float(metrics.nll) == pytest.approx(losses.mean(), rel=1e-5)
    mean = sigmoid(outputs).mean(0)
    combined = combine_sigmoids(jnp.asarray(outputs))
    np.testing.assert_allclose(sigmoid(np.asarray(combined)), mean, rtol=1e-4)
    sure = combine_sigmoids(jnp.full([2, 1, 1], 1e4))
    assert np.isfinite(sigmoid_cross_entropy(sure, jnp.array([1]))).all()


def test_scores_of_labels_are_those_of_two_classes_each():
    samples = RNG.normal(size=(6, 9, 4)).astype(np.float32)
    for k in range(4):
        pair = np.stack([np.zeros((6, 9)), samples[..., k]], -1).astype(np.float32)
        only = per_label(entropy, lambda found, k=k: found[:, k])
        np.testing.assert_allclose(only(samples[0]), entropy(pair[0]), rtol=1e-5)
        only = per_label(bald, lambda found, k=k: found[:, k])
        np.testing.assert_allclose(only(samples), bald(pair), atol=1e-6)
    p = sigmoid(samples[0])
    doubt = 1 - np.maximum(p, 1 - p)
    for name, way in (("mean", np.mean), ("sum", np.sum), ("max", np.max)):
        found = per_label(least_confidence, name)(jnp.asarray(samples[0]))
        np.testing.assert_allclose(found, way(doubt, axis=1), rtol=1e-4)
    with pytest.raises(ValueError, match="expected mean, sum, max"):
        per_label(entropy, "median")


def multi_label_loop(chosen, posterior=None, members=None, columns=COLUMNS):
    model = linear(columns.shape[1])
    learner = supervised(model, task=multi_label, members=members)
    labels = jnp.asarray(label_sets(columns))
    return active_learner(
        model if posterior is None else None,
        learner,
        chosen,
        array_oracle(labels[:120]),
        batch_size=10,
        posterior=posterior,
        test=(jnp.asarray(INPUTS[120:]), labels[120:]),
    )


def test_a_loop_over_sets_of_labels_learns_and_is_one_under_jit():
    loop = multi_label_loop(by_score(per_label(entropy), "logits"))
    state = loop.init(KEY, make_pool(INPUTS[:120]), initial=10)
    again, scores = state, []
    for i in range(4):
        state, info = loop.step(jax.random.key(i), state)
        again, _ = jax.jit(loop.step)(jax.random.key(i), again)
        scores.append(float(info.metrics.micro_f1))
    assert scores[-1] > 0.85 and scores[-1] > scores[0]
    np.testing.assert_array_equal(state.pool.labels, again.pool.labels)
    bought = np.asarray(state.pool.is_labelled)[:120]
    np.testing.assert_array_equal(
        np.asarray(state.pool.labels)[:120][bought], label_sets(COLUMNS)[:120][bought]
    )


def test_an_ensemble_of_sigmoids_is_asked_by_bald():
    posterior = deep_ensemble(linear(3), 3, combine=multi_label.combine)
    loop = multi_label_loop(by_score(per_label(bald), "samples"), posterior, 3)
    state = loop.init(KEY, make_pool(INPUTS[:120]), initial=10)
    state, info = loop.step(KEY, state)
    assert int(state.pool.is_labelled.sum()) == 20
    assert 0 <= float(info.metrics.macro_f1) <= 1


def test_scores_of_classes_are_refused_and_those_of_features_are_not():
    for name in ("entropy", "badge", "class_balanced(random)"):
        with pytest.raises(ValueError, match="per_label"):
            multi_label_loop(strategy(name))
    multi_label_loop(strategy("coreset"))


def ordinal(num_classes):
    """A task of one's own: C - 1 sigmoids, of the label being above each step."""

    def loss(outputs, labels):
        is_above = labels[:, None] > jnp.arange(num_classes - 1)[None]
        return -jax.nn.log_sigmoid(jnp.where(is_above, outputs, -outputs)).sum(-1)

    def metrics(outputs, labels):
        level = (outputs > 0).sum(-1)
        return {
            "accuracy": jnp.mean(level == labels),
            "mae": abs(level - labels).mean(),
        }

    return Task(
        loss, metrics, combine_sigmoids, answers=lambda w: w + 1, of_logits=False
    )


LEVELS = jnp.asarray(np.digitize(INPUTS[:, 0], [-0.7, 0.0, 0.7]).astype(np.int32))
TASKS = {
    "ordinal": (ordinal(4), 3, 4),
    "multi_label": (multi_label, 3, 8),
    "soft_labels": (
        soft_labels(np.concatenate([np.eye(3), np.ones((2, 3)) / 3])),
        3,
        5,
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_answers_out_of_range_are_refused_eagerly_and_are_none_under_jit(name):
    task, width, num_answers = TASKS[name]
    model = linear(width)
    learner = supervised(model, epochs=5, task=task)
    loop = active_learner(model, learner, strategy("coreset"), batch_size=4)
    state = loop.init(KEY, make_pool(INPUTS), initial=None)
    rows = jnp.arange(4)
    good = jnp.array([0, 1, num_answers - 1, 2])
    for bad in (num_answers, -2, 2**30):
        odd = good.at[1].set(bad)
        with pytest.raises(ValueError, match="labels"):
            loop.tell(state, rows, odd)
        told = jax.jit(loop.tell)(state, rows, odd)
        assert told.pool.is_labelled[:4].tolist() == [True, False, True, True]
    eager, jitted = loop.tell(state, rows, good), jax.jit(loop.tell)(state, rows, good)
    np.testing.assert_array_equal(eager.pool.labels, jitted.pool.labels)
    assert eager.pool.is_labelled[:4].all()
    pool = make_pool(INPUTS, jnp.where(jnp.arange(160) < 9, num_answers, -1))
    with pytest.raises(ValueError, match="labels"):
        loop.init(KEY, pool)


def test_an_ordinal_task_of_ones_own_learns():
    model = mlp(3, hidden=(16,))
    loop = active_learner(
        model,
        supervised(model, task=ordinal(4)),
        by_score(per_label(entropy, "sum"), "logits"),
        array_oracle(LEVELS),
        batch_size=20,
        test=(jnp.asarray(INPUTS), LEVELS),
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=20)
    for i in range(2):
        state, info = loop.step(jax.random.key(i), state)
    assert info.metrics["accuracy"] > 0.85 and info.metrics["mae"] < 0.2


def test_soft_labels_are_the_definition_and_weights_count():
    table = RNG.dirichlet(np.ones(3), 6).astype(np.float32)
    weights = RNG.uniform(0, 3, 6).astype(np.float32)
    task = soft_labels(table, weights)
    logits = jnp.asarray(RNG.normal(size=(9, 3)).astype(np.float32))
    labels = jnp.asarray(RNG.integers(0, 6, 9))
    log_p = np.asarray(jax.nn.log_softmax(logits), float)
    expected = -weights[labels] * (table[labels] * log_p).sum(1)
    np.testing.assert_allclose(task.loss(logits, labels), expected, rtol=1e-5)
    hard = soft_labels(np.eye(3))
    some = labels % 3
    np.testing.assert_allclose(hard.loss(logits, some), cross_entropy(logits, some))
    assert float(task.metrics(logits, labels).nll) == pytest.approx(expected.mean())
    for bad in ([[0.5, 0.4]], [[1.5, -0.5]], [1.0]):
        with pytest.raises(ValueError, match="probabilities"):
            soft_labels(bad)
    with pytest.raises(ValueError, match="weights"):
        soft_labels(table, -weights)


def test_a_row_of_weight_zero_is_not_trained_on():
    inputs = jnp.array([[-1.0], [1.0], [1.0]])
    table, labels = np.array([[1, 0], [0, 1.0], [1, 0]]), jnp.arange(3)
    found = {}
    for name, weights in {"even": None, "light": [1, 1, 0.0]}.items():
        model = linear(2)
        learner = supervised(model, task=soft_labels(table, weights))
        state = learner.init(KEY, inputs)
        state, info = learner.fit(KEY, state, make_pool(inputs, labels))
        assert info.is_sound
        logits = model.apply(state, inputs)[0].logits
        found[name] = float(jax.nn.softmax(logits)[1, 1])
    assert found["light"] > 0.9 > found["even"]


def test_what_a_set_or_a_table_has_no_room_for_is_refused():
    with pytest.raises(ValueError, match="31 labels.*at most 30"):
        label_columns(jnp.array([0]), 31)
    task = soft_labels(jnp.full([2, 4], 0.25))
    model = linear(4)
    loop = active_learner(
        model, supervised(model, task=task), strategy("galaxy"), batch_size=1
    )
    with pytest.raises(ValueError, match="'galaxy' reads labels as classes.*margin"):
        loop.init(jax.random.key(0), make_pool(jnp.zeros([2, 2])))
    with pytest.raises(ValueError, match="3 outputs and soft_labels' targets 4"):
        task.loss(jnp.zeros([2, 3]), jnp.array([0, 1]))
