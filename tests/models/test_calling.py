"""How the adapters call a module: its inputs, its words for training, its init."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxal.models import from_linen, from_nnx, mlp
from jaxal.models.calling import TRAIN_FLAGS

ROWS = jax.random.normal(jax.random.key(0), (6, 4)) + 1.0
INPUTS = {"ids": ROWS, "mask": jnp.arange(24.0).reshape(6, 4) % 3}


class Normed(nn.Module):
    """Batch statistics under a switch of any name."""

    def forward(self, x, train):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))


def flagged(name, means):
    scope = {"Normed": Normed, "nn": nn}
    exec(
        f"class Net(Normed):\n  @nn.compact\n  def __call__(self, x, *, {name}):\n"
        f"    return self.forward(x, {name} == {means})\n",
        scope,
    )
    return from_linen(scope["Net"]())


@pytest.mark.parametrize("name", TRAIN_FLAGS)
def test_every_word_for_training_is_understood(name):
    model = flagged(name, TRAIN_FLAGS[name])
    variables = model.init(jax.random.key(0), ROWS)
    still, after = model.apply(variables, ROWS)
    jax.tree.map(np.testing.assert_array_equal, after, variables)
    trained, after = model.apply(variables, ROWS, key=jax.random.key(1), train=True)
    assert jnp.abs(still.logits - trained.logits).max() > 1e-3
    assert jnp.abs(after["batch_stats"]["BatchNorm_0"]["mean"]).max() > 0


class OwnWord(Normed):
    @nn.compact
    def __call__(self, x, mode="fit"):
        return self.forward(x, mode == "fit")


class TwoWords(Normed):
    @nn.compact
    def __call__(self, x, deterministic=True, use_running_average=True):
        x = nn.Dropout(0.5, deterministic=deterministic)(x)
        return self.forward(x, not use_running_average)


class AsField(Normed):
    train: bool = True

    @nn.compact
    def __call__(self, x):
        return self.forward(x, self.train)


class NnxWord(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x, is_training):
        return self.head(self.norm(x, use_running_average=not is_training))


WORDS = {
    "own": lambda: from_linen(
        OwnWord(), flags=lambda train: {"mode": "fit" if train else "ask"}
    ),
    "two": lambda: from_linen(TwoWords()),
    "field": lambda: from_linen(AsField()),
    "nnx": lambda: from_nnx(NnxWord),
    "nnx own": lambda: from_nnx(NnxWord, flags=lambda on: {"is_training": on}),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_module_is_told_of_training(name):
    model = WORDS[name]()
    variables = model.init(jax.random.key(0), ROWS)
    still, after = model.apply(variables, ROWS)
    jax.tree.map(np.testing.assert_array_equal, after, variables)
    one, _ = model.apply(variables, ROWS[:1])
    np.testing.assert_allclose(one.logits, still.logits[:1], rtol=1e-4, atol=1e-6)
    _, after = model.apply(variables, ROWS, train=True)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after, variables)
    assert any(jax.tree.leaves(moved))


class Named(nn.Module):
    @nn.compact
    def __call__(self, ids, mask, token_types=None, *, train=False):
        assert token_types is None
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(ids * mask))


class NnxNamed(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, ids, mask):
        return self.head(ids * mask)


@pytest.mark.parametrize("model", [from_linen(Named()), from_nnx(NnxNamed)])
@pytest.mark.parametrize("inputs", [ROWS, {"ids": ROWS}, {**INPUTS, "more": ROWS}])
def test_what_a_module_cannot_be_called_with_is_said(model, inputs):
    with pytest.raises(TypeError, match="cannot be called with.*'mask'.*dict of what"):
        model.apply(model.init(jax.random.key(0), inputs), inputs)


class Whole(nn.Module):
    @nn.compact
    def __call__(self, batch):
        return nn.Dense(3)(batch["ids"] * batch["mask"])


class NnxNamed(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, mask, ids):
        return self.head(ids * mask)


class Anything(nn.Module):
    @nn.compact
    def __call__(self, **inputs):
        return nn.Dense(3)(inputs["ids"] * inputs["mask"])


SPREAD = {
    "by name": lambda: from_linen(Named()),
    "as one": lambda: from_linen(Whole()),
    "nnx": lambda: from_nnx(NnxNamed),
    "told to": lambda: from_linen(Anything(), keywords=True),
}


@pytest.mark.parametrize("name", SPREAD)
def test_a_dict_of_inputs_reaches_the_module(name):
    model = SPREAD[name]()
    variables = model.init(jax.random.key(0), INPUTS)
    output, _ = jax.jit(model.apply)(variables, INPUTS)
    (head,) = variables["params"].values()
    masked = ROWS * INPUTS["mask"]
    expected = masked @ head["kernel"] + head["bias"][None]
    np.testing.assert_allclose(output.logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.features, masked, rtol=1e-6)


def test_a_dict_stays_whole_where_the_user_says_so():
    class Inner(nn.Module):
        @nn.compact
        def __call__(self, batch):
            return nn.Dense(3)(batch["batch"])

    model = from_linen(Inner(), keywords=False)
    variables = model.init(jax.random.key(0), {"batch": ROWS})
    assert model.apply(variables, {"batch": ROWS})[0].logits.shape == (6, 3)
    with pytest.raises(TypeError, match="expected a dict"):
        from_linen(Anything(), keywords=True).init(jax.random.key(0), ROWS)


class Centred(nn.Module):
    """Data-dependent: its first call looks at the inputs."""

    @nn.compact
    def __call__(self, x):
        mean = self.param("mean", lambda _: x.mean(0))
        count = self.variable("state", "largest", lambda: x.max())
        return nn.Dense(3)(x - mean[None]) + 0 * count.value


def test_initialisation_sees_the_inputs():
    model = from_linen(Centred())
    for init in (model.init, jax.jit(model.init)):
        variables = init(jax.random.key(0), ROWS)
        np.testing.assert_allclose(variables["params"]["mean"], ROWS.mean(0), rtol=1e-5)
        np.testing.assert_allclose(variables["state"]["largest"], ROWS.max(), rtol=1e-6)


def test_initialisation_does_not_compile_the_forward_pass():
    class Costly(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.sort(jnp.cumsum(nn.Dense(3)(x), 1), 1)

    program = jax.jit(from_linen(Costly()).init).lower(jax.random.key(0), ROWS)
    text = program.as_text()
    assert "sort" not in text and "dot_general" not in text


def test_linen_models_pass_jaxs_search_for_leaks():
    with jax.checking_leaks():
        model = mlp(3, dropout=0.5)
        variables = jax.jit(model.init)(jax.random.key(0), ROWS)

        @jax.jit
        @jax.grad
        def gradient(params, key):
            apply = model.apply({"params": params}, ROWS, key=key, train=True)
            return apply[0].logits.sum()

        leaves = jax.tree.leaves(gradient(variables["params"], jax.random.key(1)))
        assert all(jnp.isfinite(leaf).all() for leaf in leaves)
