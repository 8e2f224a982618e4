"""Committees of networks, functions and scikit-learn's classifiers, and bootstraps."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from jaxal import (
    active_learner,
    array_oracle,
    bootstrap_ensemble,
    classifier_logits,
    classifier_view,
    committee,
    committee_learner,
    deterministic,
    make_pool,
    pool_mesh,
    strategy,
    supervised,
    vote_entropy,
)
from jaxal.training.batches import resampled
from jaxal.training.optimizers import sgd
from tests.toys import blobs, linear

KEY = jax.random.key(0)


def rule(inputs):
    """Knows that the sign of the second coordinate tells class 1 from class 2."""
    is_up = (inputs[:, 1] > 0).astype(jnp.float32)
    return jnp.stack([jnp.zeros(len(inputs)), is_up, 1 - is_up], axis=-1)


def one_device_pool(inputs, labels=None):
    return make_pool(inputs, labels, mesh=pool_mesh(jax.devices()[:1]))


def test_members_answer_with_their_own_variables():
    network, inputs = linear(3), jax.random.normal(KEY, (5, 2))
    posterior = committee([network, rule, network])
    first, last = (network.init(jax.random.key(i), inputs) for i in (1, 2))
    variables = (first, {}, last)
    samples = posterior.sample(KEY, variables, inputs)
    for index, own in ((0, first), (2, last)):
        expected = deterministic(network).network(own, inputs).logits
        np.testing.assert_allclose(samples.logits[index], expected, rtol=1e-6)
    np.testing.assert_array_equal(jnp.exp(samples.logits[1]), rule(inputs))
    np.testing.assert_array_equal(samples.features, inputs)
    mean = np.mean([jax.nn.softmax(logits) for logits in samples.logits], axis=0)
    found = jnp.exp(posterior.predict(KEY, variables, inputs).logits)
    np.testing.assert_allclose(found, mean, rtol=1e-5)


def test_a_committee_learns_in_the_loop():
    inputs, labels = blobs(60, 3)
    members = [linear(3), rule, linear(3)]
    posterior = committee(members)
    few = sgd(0.1)  # large steps, of which 3 and 9 suffice
    learners = [supervised(linear(3), few, epochs=n) for n in (9, 3)]
    learners.insert(1, None)
    learner = committee_learner(posterior, learners)
    assert not learner.keeps  # as those that are trained
    loop = active_learner(
        members[0],
        learner,
        strategy("vote_entropy"),
        array_oracle(labels),
        batch_size=4,
        posterior=posterior,
        test=(jnp.asarray(inputs), jnp.asarray(labels)),
    )
    state = loop.init(KEY, one_device_pool(inputs), initial=6)
    for i in range(3):
        state, info = loop.step(jax.random.key(i), state)
    assert int(state.pool.is_labelled.sum()) == 18
    assert float(info.metrics.accuracy) > 0.9
    assert int(info.fit.num_steps) == 9 and np.isfinite(float(info.fit.loss))
    # Members draw keys of their own: equal networks end with unequal weights.
    first, fixed, last = state.learner
    assert fixed == {}
    assert not np.allclose(first["params"]["w"], last["params"]["w"])


@pytest.mark.slow
def test_pieces_of_a_committees_fit_are_the_fit():
    inputs, labels = blobs(20, 3)
    pool = one_device_pool(inputs, labels)
    posterior = committee([linear(3), rule, linear(3)])
    learners = [supervised(linear(3), epochs=n, batch_size=8) for n in (4, 2)]
    learner = committee_learner(posterior, [learners[0], None, learners[1]])
    state = learner.init(KEY, pool.inputs)
    whole, info = jax.jit(learner.fit)(KEY, state, pool)
    fit, advance = learner.start(KEY, state, pool), jax.jit(learner.advance)
    assert int(fit.num_steps) == 12
    for size in (1, 5, 100):
        fit = advance(fit, pool, jnp.int32(size))
    pieces, piece_info = learner.finish(fit, pool)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-7), pieces, whole
    )
    np.testing.assert_allclose(piece_info.loss, info.loss, rtol=1e-5)


def test_committees_name_what_is_missing():
    posterior = committee([linear(3), rule])
    with pytest.raises(ValueError, match="at least 2"):
        committee([rule])
    with pytest.raises(ValueError, match="one each"):
        committee_learner(posterior, [supervised(linear(3))])
    with pytest.raises(ValueError, match="Nobody learns"):
        committee_learner(posterior, [None, None])
    with pytest.raises(ValueError, match="expected a tuple of 2"):
        posterior.predict(KEY, {"params": {}}, jnp.ones((1, 2)))
    two = linear(2)
    odd = committee([two, rule])
    with pytest.raises(ValueError, match="same classes"):
        odd.predict(KEY, (two.init(KEY, jnp.ones((1, 2))), {}), jnp.ones((1, 2)))


def test_a_bootstrap_sample_is_drawn_from_the_labelled_rows_with_replacement():
    order = jnp.array([3, 5, 8, 13, 0, 0])
    draws = jax.vmap(lambda key: resampled(key, order, jnp.int32(4)))(
        jax.random.split(KEY, 5000)
    )
    assert (draws[:, 4:] == 0).all()
    # Every place holds every labelled row equally often, independently of the others.
    for row in (3, 5, 8, 13):
        shares = (draws[:, :4] == row).mean(0)
        np.testing.assert_allclose(shares, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 5000))
    distinct = np.mean([len(set(d.tolist())) for d in np.asarray(draws[:500, :4])])
    expected = 4 * (1 - 0.75**4)
    assert abs(distinct - expected) < 0.15
    assert (resampled(KEY, jnp.zeros(3, int), jnp.int32(0)) == 0).all()


def test_members_of_a_bootstrap_see_different_labels():
    inputs, labels = blobs(40, 3)
    pool = one_device_pool(inputs, np.where(np.arange(40) < 15, labels, -1))
    bagged = bootstrap_ensemble(linear(3), members=4, epochs=3, batch_size=16)
    start = jax.jit(bagged.learner.start)(
        KEY, bagged.learner.init(KEY, pool.inputs), pool
    )
    seen = [sorted(order.tolist()[:15]) for order in start.order]
    assert all(set(rows) <= set(range(15)) for rows in seen)
    assert len({tuple(rows) for rows in seen}) == 4
    assert all(len(set(rows)) < 15 for rows in seen)
    state, info = jax.jit(bagged.learner.fit)(
        KEY, bagged.learner.init(KEY, pool.inputs), pool
    )
    assert int(info.num_labelled) == 15
    logits = bagged.posterior.sample(KEY, state, pool.inputs).logits
    assert logits.shape == (4, 40, 3)


def fitted(num_rows=30):
    inputs, labels = blobs(60, 3)
    some = np.arange(num_rows)
    return inputs, labels, inputs[some], labels[some]


def test_classifiers_of_scikit_learn_are_a_committee():
    inputs, labels, known, answers = fitted()
    few = answers < 2  # one member has never seen class 2
    members = [
        LogisticRegression().fit(known, answers),
        GaussianNB().fit(known[few], answers[few]),
        DecisionTreeClassifier(random_state=0).fit(known, answers),
    ]
    samples = classifier_logits(members, inputs, num_classes=3)
    assert samples.shape == (3, 60, 3) and samples.dtype == jnp.float32
    np.testing.assert_allclose(
        jnp.exp(samples[0]), members[0].predict_proba(inputs), rtol=1e-5
    )
    assert (samples[1, :, 2] == -jnp.inf).all()
    votes = np.stack([member.predict(inputs) for member in members])
    np.testing.assert_array_equal(np.asarray(samples).argmax(-1), votes)
    assert np.isfinite(vote_entropy(samples)).all()
    is_labelled = jnp.arange(60) < 30
    view = classifier_view(members, inputs, ~is_labelled, is_labelled, num_classes=3)
    picks = strategy("vote_entropy").select(KEY, view, 5)
    # Members disagree about class 2 alone, which one of them cannot name.
    disputed = {n for n in range(30, 60) if len(set(votes[:, n])) > 1}
    assert set(picks.indices.tolist()) <= disputed
    assert strategy("batch_bald").select(KEY, view, 2).is_valid.all()


def test_members_of_ensembles_count_classes_by_place():
    inputs, _, known, answers = fitted()
    renamed = np.array([1, 4, 2])[answers]  # 1, 2, 4: places are 0, 1, 2
    for ensemble in (
        RandomForestClassifier(3, max_depth=2, random_state=0),
        BaggingClassifier(LogisticRegression(), 3, random_state=0),
    ):
        ensemble.fit(known, renamed)
        samples = classifier_logits(
            ensemble.estimators_, inputs, num_classes=5, classes=ensemble.classes_
        )
        whole = classifier_logits([ensemble], inputs, num_classes=5)
        np.testing.assert_allclose(
            jnp.exp(samples).mean(0), jnp.exp(whole[0]), atol=1e-6
        )


def test_classifiers_are_checked():
    inputs, _, known, answers = fitted()
    named = GaussianNB().fit(known, np.array(["a", "b", "c"])[answers])
    numbered = GaussianNB().fit(known, answers)
    with pytest.raises(ValueError, match="expected class numbers.*pass names="):
        classifier_logits([named], inputs, num_classes=3)
    with pytest.raises(ValueError, match="check num_classes"):
        classifier_logits([numbered], inputs, num_classes=2)
    with pytest.raises(ValueError, match="no classifiers"):
        classifier_logits([], inputs, num_classes=2)


@pytest.mark.parametrize(
    "labels", [["b", "c", "a"], [-1, 0, 1], [10, 20, 30], [5.0, 2.0, -3.0], [2, 0, 1]]
)
def test_labels_of_any_kind_are_named_in_the_order_of_their_numbers(labels):
    inputs, _, known, answers = fitted()
    expected = classifier_logits(
        [GaussianNB().fit(known, answers)], inputs, num_classes=3
    )
    for some in (answers >= 0, answers != 1):
        member = GaussianNB().fit(known[some], np.array(labels)[answers[some]])
        found = classifier_logits([member], inputs, num_classes=3, names=labels)
        if some.all():
            np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-5)
        else:
            assert (found[0, :, 1] == -np.inf).all()


def test_an_ensemble_s_members_may_be_trained_on_words():
    inputs, _, known, answers = fitted()
    words = np.array(["b", "c", "a"])
    forest = RandomForestClassifier(3, max_depth=2, random_state=0)
    forest.fit(known, words[answers])
    samples = classifier_logits(
        forest.estimators_, inputs, num_classes=3, classes=forest.classes_, names=words
    )
    proba = forest.predict_proba(inputs)[:, [1, 2, 0]]  # a, b, c by name
    np.testing.assert_allclose(jnp.exp(samples).mean(0), proba, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([-1, 1, 1], {"classes": [0, 1]}, r"\[-1, 1\], expected positions.*names="),
        (["a", "b", "c"], {"classes": ["a", "b", "c"]}, "expected positions.*names="),
        ([10, 20, 30], {"classes": [0, 1, 2]}, "expected positions in classes 0 to 2"),
        ([0, 1, 2], {"classes": [0, 0, 1]}, r"\[0, 0, 1\], expected each once"),
        ([-1, 1, 1], {}, r"\[-1, 1\], expected class numbers 0 to 2"),
        (
            ["a", "b", "c"],
            {"names": ["a", "b", "b"]},
            "expected 3 labels, one a class",
        ),
        (
            ["a", "b", "c"],
            {"names": ["a", "b", "d"]},
            "has 'c', expected some of names",
        ),
        ([0, 1, 7], {}, "expected class numbers"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels, settings, message):
    inputs, _, known, answers = fitted()
    member = GaussianNB().fit(known, np.array(labels)[answers])
    with pytest.raises(ValueError, match=message):
        classifier_logits([member], inputs, num_classes=3, **settings)


class Says:
    """Says what it is told to."""

    def __init__(self, proba):
        self.predict_proba = lambda inputs: proba


@pytest.mark.parametrize(
    ("proba", "message"),
    [
        ([[0.9, 0.8], [0.1, 0.1]], "sum to 0.2 to 1.7.*multi-label"),
        ([[0.9], [0.1]], r"shape \[2, 1\], expected \[N, 2\]"),
        ([[0.9, np.nan], [0.5, 0.5]], "NaN"),
        ([[1.5, -0.5], [0.5, 0.5]], "negative"),
    ],
)
def test_what_are_no_probabilities_of_one_of_c_is_refused(proba, message):
    with pytest.raises(ValueError, match=message):
        classifier_logits([Says(np.array(proba))], np.zeros((2, 1)), num_classes=2)
    with pytest.raises(ValueError, match="gave list.*One output at a time"):
        several = [np.full((2, 2), 0.5), np.full((2, 3), 1 / 3)]
        classifier_logits([Says(several)], np.zeros((2, 1)), num_classes=2)
    with pytest.raises(ValueError, match="num_classes is 1"):
        classifier_logits([Says(np.ones((2, 1)))], np.zeros((2, 1)), num_classes=1)


def test_a_multi_label_estimator_is_not_taken_for_one_of_c():
    inputs, _, known, answers = fitted()
    both = np.stack([answers == 0, answers > 0, answers == 2], axis=1).astype(int)
    several = MLPClassifier((4,), max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        several.fit(known, both)
    with pytest.raises(ValueError, match="multi-label"):
        classifier_logits([several], inputs, num_classes=3)
