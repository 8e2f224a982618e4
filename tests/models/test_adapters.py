"""from_linen and from_nnx keep the promises of ApplyFn for ordinary user modules."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxal import active_learner, array_oracle, make_pool, strategy, supervised
from jaxal.models import from_linen, from_nnx
from jaxal.training.optimizers import sgd
from jaxal.training.weights import ema
from jaxal.types import Output


class TrainFlag(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(16)(x))
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
        return nn.Dense(3)(x)


class DeterministicFlag(nn.Module):
    def setup(self):
        self.body = nn.Dense(16)
        self.norm = nn.BatchNorm()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Dense(3)

    def __call__(self, x, deterministic=True):
        x = self.norm(self.body(x), use_running_average=deterministic)
        return self.head(self.drop(nn.relu(x), deterministic=deterministic))


class Pair(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(not train)(nn.Dense(16)(x))
        features = nn.Dropout(0.5)(nn.relu(x), deterministic=not train)
        logits = nn.Dense(3)(features)
        nn.Dense(7)(features)  # an auxiliary head, called last
        return logits, features


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.body = nnx.Linear(6, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.body(x)))))


CASES = {
    "linen train": lambda: from_linen(TrainFlag()),
    "linen deterministic": lambda: from_linen(DeterministicFlag()),
    "linen pair": lambda: from_linen(Pair()),
    "nnx factory": lambda: from_nnx(lambda rngs: NnxNet(rngs)),
    "nnx module": lambda: from_nnx(NnxNet(nnx.Rngs(0))),
}
INPUTS = jax.random.normal(jax.random.key(0), (5, 6)) + 1.0


@pytest.fixture(params=CASES, scope="module")
def case(request):
    model = CASES[request.param]()
    return model, model.init(jax.random.key(1), INPUTS)


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_variables_are_a_plain_dict_of_arrays(case):
    _, variables = case
    assert type(variables) is dict and "params" in variables and len(variables) == 2
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(variables))


def test_features_are_what_the_head_sees(case):
    model, variables = case
    output, _ = model.apply(variables, INPUTS, key=jax.random.key(2))
    assert output.features.shape == (5, 16)
    heads = [
        layer
        for layer in variables["params"].values()
        if layer.get("kernel", INPUTS[0]).shape == (16, 3)
    ]
    logits = output.features @ heads[0]["kernel"] + heads[0]["bias"][None]
    np.testing.assert_allclose(output.logits, logits, rtol=1e-5, atol=1e-6)


def test_without_a_key_nothing_is_random_and_nothing_changes(case):
    model, variables = case
    first, after = model.apply(variables, INPUTS)
    second, _ = model.apply(variables, INPUTS)
    assert_same(first, second)
    assert_same(after, variables)


def test_a_key_switches_dropout_on_and_nothing_else(case):
    model, variables = case
    still, _ = model.apply(variables, INPUTS)
    noisy, after = model.apply(variables, INPUTS, key=jax.random.key(2))
    again, _ = model.apply(variables, INPUTS, key=jax.random.key(2))
    other, _ = model.apply(variables, INPUTS, key=jax.random.key(3))
    assert_same(after, variables)
    assert_same(noisy, again)
    assert not np.allclose(noisy.logits, other.logits)
    # Dropped features are zero, kept ones doubled: BatchNorm has not moved.
    kept = np.asarray(noisy.features != 0)
    doubled = np.where(kept, 2 * np.asarray(still.features), 0)
    np.testing.assert_allclose(noisy.features, doubled, rtol=1e-5)
    assert 0 < kept.sum() < np.count_nonzero(still.features)


def test_training_without_a_key_uses_and_updates_batch_statistics_only(case):
    model, variables = case
    output, after = model.apply(variables, INPUTS, train=True)
    again, _ = model.apply(variables, INPUTS, train=True)
    assert_same(output, again)
    still, _ = model.apply(variables, INPUTS)
    assert not np.allclose(output.logits, still.logits)
    assert_same(after["params"], variables["params"])
    (carried,) = set(variables) - {"params"}
    moved = [
        not np.array_equal(new, old)
        for new, old in zip(
            jax.tree.leaves(after[carried]),
            jax.tree.leaves(variables[carried]),
            strict=True,
        )
    ]
    assert all(moved)


def test_training_with_a_key_drops_too(case):
    model, variables = case
    whole, _ = model.apply(variables, INPUTS, train=True)
    dropped, _ = model.apply(variables, INPUTS, train=True, key=jax.random.key(2))
    zeros = [np.count_nonzero(output.features == 0) for output in (whole, dropped)]
    assert zeros[1] > zeros[0]


def test_one_key_gives_every_row_of_a_vmap_the_same_mask(case):
    model, variables = case
    rows = jnp.broadcast_to(INPUTS[:1], (4, 6))

    def one(row):
        output, _ = model.apply(variables, row[None], key=jax.random.key(2))
        return output.features[0]

    features = np.asarray(jax.jit(jax.vmap(one))(rows))
    np.testing.assert_array_equal(features, np.broadcast_to(features[:1], (4, 16)))


def test_jit_agrees_with_eager(case):
    model, variables = case

    def call(variables, inputs, key):
        return model.apply(variables, inputs, key=key, train=True)

    arguments = (variables, INPUTS, jax.random.key(2))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        jax.jit(call)(*arguments),
        call(*arguments),
    )


def test_members_of_an_ensemble_train_under_vmap(case):
    model, _ = case
    keys = jax.random.split(jax.random.key(4), 3)
    stacked = jax.vmap(model.init, in_axes=(0, None))(keys, INPUTS)

    def loss(variables, key):
        output, after = model.apply(variables, INPUTS, key=key, train=True)
        return jnp.sum(jnp.square(output.logits)), after

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    gradients, after = jax.jit(jax.vmap(gradient))(stacked, keys)
    alone, after_alone = gradient(jax.tree.map(lambda leaf: leaf[1], stacked), keys[1])
    member = jax.tree.map(lambda leaf: leaf[1], (gradients["params"], after))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        member,
        (alone["params"], after_alone),
    )


def test_linen_module_without_a_flag():
    model = from_linen(nn.Sequential([nn.Dense(4), nn.Dropout(0.5), nn.Dense(2)]))
    variables = model.init(jax.random.key(0), INPUTS)
    still, _ = model.apply(variables, INPUTS)
    noisy, _ = model.apply(variables, INPUTS, key=jax.random.key(1))
    assert np.count_nonzero(noisy.features == 0) > np.count_nonzero(still.features == 0)


def test_linen_parameters_may_depend_on_the_inputs():
    class Centred(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x - self.param("mean", lambda _: x.mean(0))[None]

    model = from_linen(Centred())
    variables = model.init(jax.random.key(0), INPUTS)
    np.testing.assert_allclose(variables["params"]["mean"], INPUTS.mean(0), rtol=1e-5)


def test_linen_output_and_missing_features():
    class Whole(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Output(nn.Dense(2)(x), x)

    whole = from_linen(Whole())
    output, _ = whole.apply(whole.init(jax.random.key(0), INPUTS), INPUTS)
    np.testing.assert_array_equal(output.features, INPUTS)
    headless = from_linen(nn.Sequential([lambda x: 2 * x]))
    output, _ = headless.apply(headless.init(jax.random.key(0), INPUTS), INPUTS)
    assert output.features is None


def test_nnx_module_keeps_its_own_values():
    module = NnxNet(nnx.Rngs(7))
    model = from_nnx(module)
    variables = model.init(jax.random.key(0), INPUTS)
    np.testing.assert_array_equal(
        variables["params"]["head"]["kernel"], module.head.kernel[...]
    )
    model.apply(variables, INPUTS, train=True, key=jax.random.key(1))
    assert type(module.head) is nnx.Linear
    np.testing.assert_array_equal(module.norm.mean[...], np.zeros(16))


def test_nnx_lists_get_string_names():
    class Stack(nnx.Module):
        def __init__(self, rngs):
            layers = [nnx.Linear(6, 6, rngs=rngs) for _ in range(2)]
            self.layers = getattr(nnx, "List", list)(layers)  # since Flax 0.12

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    model = from_nnx(lambda rngs: Stack(rngs))
    variables = model.init(jax.random.key(0), INPUTS)
    assert set(variables["params"]["layers"]) == {"0", "1"}
    output, _ = model.apply(variables, INPUTS)
    first = variables["params"]["layers"]["0"]
    np.testing.assert_allclose(
        output.features, INPUTS @ first["kernel"] + first["bias"][None], rtol=1e-5
    )


ROUNDS = {"linen": CASES["linen train"], "nnx": CASES["nnx factory"]}


@pytest.mark.parametrize("name", ROUNDS)
def test_a_users_module_goes_through_whole_rounds(name):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    inputs = np.float32(4 * np.eye(6)[labels] + rng.normal(0, 1, (60, 6)))
    model = ROUNDS[name]()
    rule = sgd(0.1)  # large steps, of which twenty epochs suffice
    learner = supervised(model, rule, epochs=20, batch_size=8, averaging=ema(0.9))
    loop = active_learner(
        model,
        learner,
        strategy("badge"),  # logits and the features the adapter found
        array_oracle(labels),
        batch_size=6,
        test=(jnp.asarray(inputs), jnp.asarray(labels)),
    )
    state = loop.init(jax.random.key(0), make_pool(inputs), initial=9)
    before = state.learner
    for i in range(2):
        state, info = loop.step(jax.random.key(i), state)
        assert int(info.num_labelled) == 9 + 6 * i
    assert int(state.pool.is_labelled.sum()) == 21
    assert float(info.metrics.accuracy) > 0.9
    (carried,) = set(before) - {"params"}
    for old, new in zip(
        jax.tree.leaves(before[carried]),
        jax.tree.leaves(state.learner[carried]),
        strict=True,
    ):
        assert not np.array_equal(old, new)  # BatchNorm has statistics of its own


@pytest.mark.parametrize("adapter", [from_linen, from_nnx])
def test_something_else_is_refused(adapter):
    with pytest.raises(TypeError, match="expected a flax"):
        adapter(3)
    with pytest.raises(TypeError, match="Use from_linen for linen"):
        from_nnx(nn.Dense(3))
