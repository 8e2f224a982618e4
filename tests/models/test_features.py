"""The adapters take features only where they are right, and where they are named."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxal import deterministic, make_pool, strategy
from jaxal.models import from_linen, from_nnx
from jaxal.types import Output
from jaxal.viewing import make_look

ROWS = jax.random.normal(jax.random.key(0), (7, 4))
NO_FEATURES = pytest.mark.filterwarnings("ignore:The model has no features")


def applied(model, **settings):
    variables = model.init(jax.random.key(0), ROWS)
    return variables, model.apply(variables, ROWS, **settings)[0]


def hidden(variables, name="Dense_0"):
    layer = variables["params"][name]
    return nn.relu(ROWS @ layer["kernel"] + layer["bias"][None])


def linen(head):
    """A body that is the same in every test, and a head."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return head(self, nn.relu(nn.Dense(8)(x)))

    return Net()


def nnx_net(make_head):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.body = nnx.Linear(4, 8, rngs=rngs)
            self.head = make_head(rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.body(x)))

    return Net


def auxiliary(net, h):
    logits = nn.Dense(3)(h)
    net.sow("losses", "a", nn.Dense(5)(jax.nn.softmax(logits)).sum())
    return logits


RIGHT = {
    "dense": lambda net, h: nn.Dense(3)(h),
    "general": lambda net, h: nn.DenseGeneral(3)(h),
    "general along axis 1": lambda net, h: nn.DenseGeneral((3,), axis=(1,))(h),
    "auxiliary head after the logits": auxiliary,
    "auxiliary head beside the logits": lambda net, h: (nn.Dense(3)(h), nn.Dense(3)(h)),
    "what the head sees, returned": lambda net, h: (nn.Dense(8)(h), h),
    "no-op cast": lambda net, h: jnp.asarray(nn.Dense(3)(h), jnp.float32),
    "half precision": lambda net, h: nn.Dense(3, dtype=jnp.bfloat16)(h).astype("f4"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_linen_takes_what_the_head_sees(name):
    variables, output = applied(from_linen(linen(RIGHT[name])))
    np.testing.assert_allclose(output.features, hidden(variables), rtol=1e-5)


NNX_RIGHT = {
    "linear": lambda rngs: nnx.Linear(8, 3, rngs=rngs),
    "general": lambda rngs: nnx.LinearGeneral(8, 3, rngs=rngs),
}


@pytest.mark.parametrize("name", NNX_RIGHT)
def test_nnx_takes_what_the_head_sees(name):
    variables, output = applied(from_nnx(nnx_net(NNX_RIGHT[name])))
    np.testing.assert_allclose(output.features, hidden(variables, "body"), rtol=1e-5)


class Scaled(nn.Dense):
    @nn.compact
    def __call__(self, inputs):
        return 2 * super().__call__(jnp.tanh(inputs))


def head_of_a_parameter(net, h):
    return h @ net.param("head", nn.initializers.lecun_normal(), (8, 3))


NONE = {
    "linen parameter": lambda: from_linen(linen(head_of_a_parameter)),
    "linen derived dense": lambda: from_linen(linen(lambda net, h: Scaled(3)(h))),
    "linen probabilities": lambda: from_linen(
        linen(lambda net, h: nn.softmax(nn.Dense(3)(h)))
    ),
    "linen mean of tokens": lambda: from_linen(
        linen(lambda net, h: nn.Dense(3)(h[:, None]).mean(1))
    ),
    "linen contraction of rows": lambda: from_linen(
        linen(lambda net, h: nn.DenseGeneral(7, axis=0)(h[:, :3]).T)
    ),
    "nnx lora": lambda: from_nnx(
        nnx_net(lambda rngs: nnx.LoRALinear(8, 3, lora_rank=2, rngs=rngs))
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_another_layers_inputs_are_never_taken(name):
    model = NONE[name]()
    with pytest.warns(UserWarning, match="features="):
        variables, output = applied(model)
    assert output.features is None and output.logits.shape[0] == 7
    with warnings.catch_warnings():  # once
        warnings.simplefilter("error")
        model.apply(variables, ROWS)


@NO_FEATURES
def test_a_strategy_that_needs_them_refuses():
    model = NONE["linen parameter"]()
    look = make_look(deterministic(model), strategy("badge"), 7, None)
    variables = model.init(jax.random.key(0), ROWS)
    with pytest.raises(ValueError, match="needs features"):
        look(jax.random.key(1), variables, make_pool(np.asarray(ROWS)))


@pytest.mark.parametrize("name", RIGHT)
def test_features_are_the_same_under_every_transformation(name):
    model = from_linen(linen(RIGHT[name]))
    variables, output = applied(model)

    def features(variables, rows):
        return model.apply(variables, rows)[0].features

    def summed(variables):
        found = features(variables, ROWS)
        return found.sum(), found

    one_by_one = jax.vmap(lambda row: features(variables, row[None])[0])(ROWS)
    _, under_gradient = jax.grad(summed, has_aux=True)(variables)
    for found in (jax.jit(features)(variables, ROWS), one_by_one, under_gradient):
        np.testing.assert_allclose(found, output.features, rtol=1e-4, atol=1e-6)


class Body(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(6, name="last")(nn.relu(nn.Dense(8, name="first")(x)))


class Deep(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = Body(name="body")(x)
        return head_of_a_parameter(self, jnp.pad(h, ((0, 0), (0, 2))))


class NnxDeep(nnx.Module):
    def __init__(self, rngs):
        layers = [nnx.Linear(4, 8, rngs=rngs), nnx.relu, nnx.Linear(8, 6, rngs=rngs)]
        self.body = nnx.Sequential(*layers)
        self.head = nnx.Param(jnp.ones((6, 3)))

    def __call__(self, x):
        return self.body(x) @ self.head[...]


NAMED = {
    "linen layer": (from_linen, Deep(), "body/first", 8),
    "linen block": (from_linen, Deep(), "body", 6),
    "linen function": (
        from_linen,
        Deep(),
        lambda calls: calls["body/last"].inputs,
        8,
    ),
    "nnx layer": (from_nnx, NnxDeep, "body.layers.0", 8),
    "nnx block": (from_nnx, NnxDeep, "body", 6),
    "nnx function": (
        from_nnx,
        NnxDeep,
        lambda calls: calls["body/layers/2"].inputs,
        8,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_layer_gives_the_features(name):
    adapter, module, features, size = NAMED[name]
    model = adapter(module, features=features)
    variables, output = applied(model)
    body = variables["params"]["body"]
    first, last = body.get("layers", body).values()
    expected = ROWS @ first["kernel"] + first["bias"][None]
    if size == 6:
        expected = nn.relu(expected) @ last["kernel"] + last["bias"][None]
    elif "function" in name:
        expected = nn.relu(expected)
    np.testing.assert_allclose(output.features, expected, rtol=1e-5, atol=1e-6)
    under_jit = jax.jit(lambda v: model.apply(v, ROWS)[0].features)(variables)
    np.testing.assert_allclose(under_jit, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("adapter", "module"), [(from_linen, Deep()), (from_nnx, NnxDeep)]
)
def test_a_layer_that_is_not_there_is_refused_by_its_nearest_name(adapter, module):
    with pytest.raises(ValueError, match="Did you mean 'body'"):
        applied(adapter(module, features="bodi"))


def test_features_that_are_no_vectors_are_refused():
    model = from_linen(Deep(), features=lambda calls: calls["body"].output.sum())
    with pytest.raises(ValueError, match=r"shape \[\], expected one vector"):
        applied(model)


def test_layers_inside_transformations_leak_nothing():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.remat(nn.Dense)(4)(x)
            return nn.jit(nn.Dense)(4)(x)

    class NnxInside(nnx.Module):
        def __init__(self, rngs):
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return nnx.remat(lambda head, x: head(x))(self.head, x)

    with jax.checking_leaks():
        for model in (from_linen(Net()), from_nnx(NnxInside)):
            variables = model.init(jax.random.key(0), ROWS)
            output, _ = model.apply(variables, ROWS)
            assert output.features is None and jnp.isfinite(output.logits).all()


@dataclasses.dataclass
class Answer:
    logits: Any
    hidden: Any = None


class Pair(NamedTuple):
    logits: Any
    features: Any


@flax.struct.dataclass
class Struct:
    logits: Any


OWN = {  # and whether the features come with it
    "dataclass": (lambda logits, h: Answer(logits, h), False),
    "struct": (lambda logits, h: Struct(logits), False),
    "dict": (lambda logits, h: {"loss": 0.0, "logits": logits}, False),
    "dict with features": (lambda logits, h: {"logits": logits, "features": -h}, True),
    "named tuple": (lambda logits, h: Pair(logits, -h), True),
    "pair": (lambda logits, h: (logits, -h), True),
    "list": (lambda logits, h: [logits, -h], True),
    "output": (lambda logits, h: Output(logits, -h), True),
    "logits and state": (lambda logits, h: (logits, {"state": h}), False),
    "logits and weights": (lambda logits, h: (logits, h[:, None, None]), False),
    "three": (lambda logits, h: (logits, h, h), False),
    "logits alone in a list": (lambda logits, h: [logits], False),
}


@pytest.mark.parametrize("name", OWN)
def test_logits_are_found_in_what_a_module_returns(name):
    answer, has_features = OWN[name]
    model = from_linen(linen(lambda net, h: answer(nn.Dense(3, name="head")(h), h)))
    variables, output = applied(model)
    sign = -1 if has_features else 1
    np.testing.assert_allclose(output.features, sign * hidden(variables), rtol=1e-5)
    head = variables["params"]["head"]
    logits = hidden(variables) @ head["kernel"] + head["bias"][None]
    np.testing.assert_allclose(output.logits, logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("answer", [{"scores": 1}, None, "logits", ()])
def test_something_without_logits_is_refused(answer):
    with pytest.raises(TypeError, match="expected logits"):
        applied(from_linen(linen(lambda net, h: answer)))


def test_what_is_sown_neither_grows_nor_stops_training():
    class Sowing(nnx.Module):
        def __init__(self, rngs):
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return self.head(x)

    for model in (from_linen(linen(auxiliary)), from_nnx(Sowing)):
        before = model.init(jax.random.key(0), ROWS)
        _, after = model.apply(before, ROWS, key=jax.random.key(1), train=True)
        assert jax.tree.structure(after) == jax.tree.structure(before)
