"""Refusals are read: what came, what was expected, the cure, in the user's words."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    Model,
    Output,
    View,
    active_learner,
    array_oracle,
    bald,
    batch_bald,
    by_score,
    classification_metrics,
    classifier_logits,
    classifier_view,
    deterministic,
    entropy,
    gaussian_bald,
    k_center,
    kl_embedding,
    make_pool,
    margin,
    mc_dropout,
    noisy_oracle,
    predictive_variance,
    random_rows,
    regression_pool,
    reluctant_oracle,
    strategy,
    supervised,
    temperature_scaled,
    top_k,
)
from jaxal.models import mlp
from tests.toys import blobs, linear

KEY, OLD = jax.random.key(0), jax.random.PRNGKey(0)
X, Y = blobs(40, 3)
FREE = jnp.ones(40, bool)
MODEL = linear(3)


def loop(model=MODEL, by="margin", size=4, **settings):
    made = strategy(by) if isinstance(by, str) else by
    learner = supervised(model, epochs=1, batch_size=8)
    oracle = array_oracle(Y)
    return active_learner(model, learner, made, oracle, batch_size=size, **settings)


def begun(made=None, initial=8):
    return (made or loop()).init(KEY, make_pool(X), initial)


def by_hand(outputs, by="margin"):
    """A round of a model that is written by hand: outputs of weights and inputs."""

    def apply(variables, inputs, *, key=None, train=False):
        return outputs(variables, inputs, inputs @ variables["params"])

    model = Model(lambda key, inputs: {"params": jnp.ones((X.shape[1], 3))}, apply)
    made = loop(model, by)
    return made.step(KEY, begun(made))


def grown():
    made = loop(by="albl")
    state = begun(made)
    pool = make_pool(np.concatenate([X, X]), np.r_[np.asarray(Y), np.full(40, -1)])
    return made.ask(KEY, state._replace(pool=pool))


def chosen(by, **fields):
    return strategy(by).select(KEY, View(FREE, ~FREE, **fields), 3)


def agreeing(by):
    known = np.arange(40) < 8
    samples = np.broadcast_to(rows(1, 40, 3), (5, 40, 3))
    labels = np.where(known, Y, -1)
    view = View(jnp.asarray(~known), jnp.asarray(known), labels, samples[0], samples)
    return strategy(by).select(KEY, view, 3)


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CASES = {
    "logits alone": (
        lambda: by_hand(lambda v, x, z: z),
        [r"returned an array of shape \[1, 3\]", r"Output\(logits, features\)"],
    ),
    "an output without variables": (
        lambda: by_hand(lambda v, x, z: Output(z, x)),
        ["returned Output, expected", "as they are or updated"],
    ),
    "logits and variables without features": (
        lambda: by_hand(lambda v, x, z: (z, v)),
        [r"array of shape \[1, 3\], dict, expected", "from_linen"],
    ),
    "logits of every place of a text": (
        lambda: by_hand(lambda v, x, z: (Output(z[:, None], x), v)),
        [r"logits has shape \[1, 1, 3\], expected \[N, C\]"],
    ),
    "features of four axes": (
        lambda: by_hand(lambda v, x, z: (Output(z, x[:, :, None, None]), v), "coreset"),
        [r"features has shape \[\d+, \d+, 1, 1\], expected \[N, D\]", "reshape"],
    ),
    "no features": (
        lambda: by_hand(lambda v, x, z: (Output(z, None), v), "coreset"),
        ["'coreset' needs features", r"Return Output\(logits, features\)"],
    ),
    "one output": (
        lambda: begun(loop(linear(1))),
        [r"\[1, 1\], expected a column", r"two columns \[0, z\]", "bait_regression"],
    ),
    "classes of a regression": (
        lambda: loop().init(KEY, regression_pool(X)),
        ["'margin' reads outputs as logits", "real numbers", "predictive_variance"],
    ),
    "samples after rows": (
        lambda: chosen("bald", samples=rows(40, 5, 3)),
        [r"\[40, 5, 3\], expected \[S, N, C\] with N = 40", "moveaxis"],
    ),
    "chains and draws": (
        lambda: chosen("bald", samples=rows(2, 5, 40, 3)),
        [r"\[2, 5, 40, 3\], expected \[S, N, C\]", r"reshape\(-1, N, C\)"],
    ),
    "logits of some rows": (
        lambda: chosen("entropy", logits=rows(30, 3)),
        [r"\[30, 3\], expected \[N, C\] with N = 40"],
    ),
    "features of images": (
        lambda: chosen("coreset", features=rows(40, 2, 2, 3)),
        [r"\[40, 2, 2, 3\], expected \[N, D\]", "mean"],
    ),
    "a field that is missing": (
        lambda: chosen("coreset", logits=rows(40, 3)),
        ["no features, which", r"Pass View\("],
    ),
    "NaN in a draw": (
        lambda: batch_bald(
            KEY, jnp.asarray(rows(5, 40, 3)).at[3, 7].set(jnp.nan), FREE, batch_size=2
        ),
        ["sample_logits: 1 of 40 rows", "row 7", "Mask these rows out"],
    ),
    "two targets": (
        lambda: predictive_variance(rows(5, 40, 2)),
        [r"\[5, 40, 2\]", "has_log_variance=True", "one at a time"],
    ),
    "no noise": (
        lambda: gaussian_bald(rows(5, 40, 1)),
        ["noise once", "noise_variance"],
    ),
    "labels -1 and 1": (
        lambda: classifier_logits([Member([-1, 1])], X, num_classes=2),
        [r"classes_ is \[-1, 1\], expected class numbers 0 to 1", "pass names="],
    ),
    "other names": (
        lambda: classifier_logits([Member(["a", "z"])], X, num_classes=2, names="ab"),
        ["classes_ has 'z'", r"names \['a', 'b'\]"],
    ),
    "one classifier": (
        lambda: classifier_logits(Member([0, 1]), X, num_classes=2),
        ["is one Member, expected a sequence", "estimators_"],
    ),
    "no probabilities": (
        lambda: classifier_logits([X], X, num_classes=2),
        ["has no predict_proba", "CalibratedClassifierCV"],
    ),
    "a label of no class": (
        lambda: classifier_view(
            [Member([0, 1])], X, FREE, ~FREE, num_classes=2, labels=Y
        ),
        [r"labels holds \[2\], expected classes 0 to 1"],
    ),
    "one sample of a view": (
        lambda: chosen("bald", samples=rows(1, 40, 3)),
        ["holds 1 posterior sample, expected at least 2", "an ensemble"],
    ),
    "samples of a view that agree": (
        lambda: agreeing("bald"),
        ["All posterior samples are equal on every row", "an ensemble"],
    ),
    "samples that agree, within a combinator": (
        lambda: agreeing("class_balanced(stochastic(bald))"),
        ["All posterior samples are equal on every row"],
    ),
    "samples that agree, drawn around": (
        lambda: agreeing("stochastic(bald)"),
        ["All posterior samples are equal on every row"],
    ),
    "real numbers for classes": (
        lambda: strategy("galaxy").select(
            KEY, View(FREE, ~FREE, np.full(40, np.nan), rows(40, 2), None, X), 3
        ),
        ["labels has dtype float32, expected integers", "label_names"],
    ),
    "words for answers": (
        lambda: array_oracle(["cat", "dog"]),
        ["labels has dtype <U3, expected integers", "label_names"],
    ),
    "a holdout of other classes": (
        lambda: temperature_scaled(deterministic(MODEL), (X, Y + 1)).fit(
            KEY, MODEL.init(KEY, X), make_pool(X)
        ),
        [r"holdout holds \[3\], expected classes 0 to 2"],
    ),
    "a test set of parts of classes": (
        lambda: begun(loop(test=(X, np.where(Y > 0, Y, np.nan)))),
        ["test has dtype float64, expected classes 0 to 2 as integers"],
    ),
    "NaN before a combinator": (
        lambda: chosen(
            "mixture(margin, random)", logits=np.where(X[:, :3] > 9, 0, np.nan)
        ),
        ["logits: 40 of 40 rows", "Mask these rows out"],
    ),
    "a pool that grew": (
        grown,
        ["'albl' remembers", "a pool of 80 rows", "capacity=", "init"],
    ),
    "a batch beyond the pool": (
        lambda: k_center(KEY, X, FREE, batch_size=41),
        ["batch_size is 41, expected 1 to 40"],
    ),
    "no batch": (
        lambda: top_k(KEY, rows(40), FREE, batch_size=0),
        ["batch_size is 0, expected 1 to 40"],
    ),
    "a batch of no whole number": (
        lambda: top_k(KEY, rows(40), FREE, batch_size=2.0),
        ["batch_size is float, expected a Python int"],
    ),
    "a loop's batch of none": (
        lambda: loop(size=0),
        ["batch_size is 0, expected a positive number"],
    ),
    "more rows than there are numbers": (
        lambda: jax.eval_shape(
            lambda x, free: top_k(KEY, x, free, batch_size=2),
            jax.ShapeDtypeStruct((2**31,), jnp.float32),
            jax.ShapeDtypeStruct((2**31,), bool),
        ),
        ["2147483648 rows, expected at most 2147483647", "part by part"],
    ),
    "a pool of more rows than there are numbers": (
        lambda: make_pool(np.empty((2**31, 0), np.float32)),
        ["2147483648 rows, expected at most 2147483647"],
    ),
    "one sample": (
        lambda: loop(by="bald", posterior=deterministic(MODEL)),
        ["'bald' reads posterior samples", "has 1", "laplace"],
    ),
    "no dropout": (
        lambda: begun(loop(by="bald")),
        ["do not depend on the key", "deterministic"],
    ),
    "texts": (
        lambda: make_pool(np.array(["a", "b"])),
        ["dtype <U1, expected numbers", "token ids"],
    ),
    "half a row": (
        lambda: begun(initial=0.5),
        ["initial is float64 of shape []".replace("[", r"\["), "how many", "mask"],
    ),
    "rows that are none": (
        lambda: begun(initial=[3, 40]),
        [r"initial names \[40\], expected rows 0 to 39"],
    ),
    "rows twice": (
        lambda: begun(initial=[3, 3]),
        [r"initial names \[3\] more than once"],
    ),
    "too many rows": (
        lambda: begun(initial=np.int64(41)),
        ["initial is 41, expected 0 to 40"],
    ),
    "a mask of another pool": (
        lambda: begun(initial=np.ones(39, bool)),
        ["a mask of 39 rows, the pool has 40"],
    ),
}
TYPED = {
    "init": lambda: loop().init(OLD, make_pool(X)),
    "ask": lambda: loop().ask(OLD, begun()),
    "step": lambda: loop().step(OLD, begun()),
    "train": lambda: loop().phases.train(OLD, begun()),
    "look": lambda: loop().phases.look(OLD, begun()),
    "select": lambda: strategy("margin").select(
        OLD, View(FREE, ~FREE, logits=rows(40, 3)), 3
    ),
    "random": lambda: strategy("random").select(OLD, View(FREE, ~FREE), 3),
    "badge": lambda: strategy("badge").select(
        OLD, View(FREE, ~FREE, logits=rows(40, 3), features=rows(40, 2)), 3
    ),
    "a selector": lambda: k_center(OLD, X, FREE, batch_size=2),
    "random_rows": lambda: random_rows(OLD, FREE, num_rows=2),
    "noisy_oracle": lambda: noisy_oracle(array_oracle(Y), 0.1, 3)(OLD, jnp.arange(3)),
    "reluctant_oracle": lambda: reluctant_oracle(array_oracle(Y), 0.1)(
        OLD, jnp.arange(3)
    ),
}
CASES |= {
    f"an old key to {name}": (
        ask,
        ["expected a typed key", r"jax\.random\.key\(seed\)"],
    )
    for name, ask in TYPED.items()
}
# What only somebody who knows the code can read.
JARGON = r"ShapeDtypeStruct|Traced<|NoneType|broadcast|carry|pytree|has no attribute"


class Member:
    """A classifier that knows two labels."""

    def __init__(self, labels):
        self.classes_ = np.array(labels)

    def predict_proba(self, inputs):
        return np.full((len(inputs), 2), 0.5)


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_says_what_came_what_was_expected_and_the_cure(name):
    attempt, phrases = CASES[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        attempt()
    said = str(caught.value)
    for phrase in phrases:
        assert re.search(phrase, said), said
    assert not re.search(JARGON, said), said
    assert said[0].isupper() or said.split()[0].strip(":").isidentifier() or "." in said
    assert said.rstrip().endswith("."), said
    assert len(said) < 600


def test_probabilities_for_logits_are_said_at_the_first_look():
    def apply(variables, inputs, *, key=None, train=False):
        outputs = jax.nn.softmax(inputs @ variables["params"])
        return Output(outputs, inputs), variables

    model = Model(lambda key, inputs: {"params": jnp.ones((X.shape[1], 3))}, apply)
    made = loop(model)
    with pytest.warns(UserWarning, match="look like probabilities.*Return logits"):
        made.ask(KEY, begun(made))
    for quiet in (loop(model, by_score(lambda z: z[:, 0])), loop()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quiet.ask(KEY, begun(quiet))


def test_probabilities_of_samples_are_said_too():
    dropout = mlp(3, hidden=(8,), dropout=0.5)

    def apply(variables, inputs, **settings):
        output, after = dropout.apply(variables, inputs, **settings)
        return output._replace(logits=jax.nn.softmax(output.logits)), after

    phases = (made := loop(Model(dropout.init, apply), "bald")).phases
    state = begun(made)
    with pytest.warns(UserWarning, match="look like probabilities"):
        phases.choose(KEY, state, phases.look(KEY, state))


@pytest.mark.parametrize("fn", [entropy, bald, kl_embedding, classification_metrics])
def test_probabilities_are_said_of_outside_a_loop(fn):
    logits = rows(5, 40, 3)[0 if fn is not bald else slice(None)]
    more = (Y,) if fn is classification_metrics else ()
    with pytest.warns(UserWarning, match="look like probabilities"):
        fn(jax.nn.softmax(logits), *more)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fn(jax.nn.log_softmax(logits), *more)


def test_shapes_that_are_right_are_taken():
    samples = rows(5, 40, 3)
    assert chosen("bald", samples=samples).is_valid.all()
    assert bald(rows(2, 5, 40, 3)).shape == (5, 40)  # as documented: [S, ..., C]
    assert margin(rows(40, 3)).shape == (40,)
    assert mc_dropout(MODEL).num_samples == 20
