"""Layers written for speed compute what their plain counterparts compute."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxal.models import from_linen, from_nnx, patches, winograd
from jaxal.models.convolution import conv2d
from jaxal.models.layers import halve
from jaxal.models.normalization import BatchNorm, batch_normalize, relu


def native(inputs, kernel, stride=1, padding="SAME"):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        inputs, kernel, (stride, stride), padding, dimension_numbers=dimensions
    )


def arrays(shape, kernel_shape):
    keys = jax.random.split(jax.random.key(sum(shape) + sum(kernel_shape)))
    inputs = jax.random.normal(keys[0], shape)
    return inputs, jax.random.normal(keys[1], kernel_shape)


def assert_close(actual, expected):
    scale = float(np.max(np.abs(expected)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-6 * scale)


def value_and_gradients(convolve, inputs, kernel, weight):
    outputs, vjp = jax.vjp(convolve, inputs, kernel)
    return outputs, *vjp(jnp.sin(weight * outputs))


CASES = [
    # inputs, kernel, stride, padding
    ((3, 8, 8, 8), (3, 3, 8, 16), 1, "SAME"),  # Winograd
    ((2, 8, 12, 16), (3, 3, 16, 8), 1, "SAME"),  # Winograd, not square
    ((3, 7, 9, 8), (3, 3, 8, 8), 1, "SAME"),
    ((3, 8, 8, 4), (3, 3, 4, 6), 2, "SAME"),
    ((2, 7, 5, 3), (3, 3, 3, 4), 2, "SAME"),
    ((2, 8, 8, 6), (1, 1, 6, 4), 1, "SAME"),
    ((2, 7, 8, 6), (1, 1, 6, 4), 2, "SAME"),
    ((2, 9, 8, 2), (5, 5, 2, 3), 1, "SAME"),
    ((2, 9, 8, 3), (5, 5, 3, 2), 2, "VALID"),
    ((2, 9, 8, 3), (5, 5, 3, 2), 1, "VALID"),
    ((2, 9, 8, 2), (4, 4, 2, 3), 1, "SAME"),
    ((2, 9, 8, 3), (2, 4, 3, 2), 1, "VALID"),
]


def check_against_native(shape, kernel_shape, stride, padding):
    inputs, kernel = arrays(shape, kernel_shape)

    def both(inputs, kernel, weight):
        return [
            value_and_gradients(
                lambda x, k, f=f: f(x, k, stride, padding), inputs, kernel, weight
            )
            for f in (conv2d, native)
        ]

    ours, theirs = jax.jit(both)(inputs, kernel, 0.1)
    for actual, expected in zip(ours, theirs, strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_native_convolution(case):
    check_against_native(*case)


@pytest.mark.parametrize("case", [CASES[0], *CASES[2:5], CASES[7]], ids=str)
def test_equals_the_native_convolution_block_by_block(case, monkeypatch):
    for module in (patches, winograd):  # three rows: the second block is padded
        monkeypatch.setattr(module, "block_rows", lambda inputs, weights: 2)
    check_against_native(*case)


def test_the_first_cases_are_winograd_and_the_others_are_not():
    chosen = [
        winograd.applies(*arrays(shape, kernel_shape), stride, padding)
        for shape, kernel_shape, stride, padding in CASES
    ]
    assert chosen == [True, True] + [False] * (len(CASES) - 2)


LAYERS = {
    "padded": {"kernel_size": (3, 3)},
    "strided": {"kernel_size": (5, 3), "strides": 2},
    "strides that differ": {"kernel_size": (3, 3), "strides": (1, 2)},
    "valid": {"kernel_size": (4, 4), "padding": "VALID"},
    "padded by numbers": {"kernel_size": (3, 3), "padding": ((1, 1), (2, 0))},
    "cropped": {"kernel_size": (3, 3), "padding": ((0, 0), (-1, 0))},
    "low": {"kernel_size": (4, 4), "padding": "SAME_LOWER"},
    "around": {"kernel_size": (3, 3), "padding": "CIRCULAR"},
    "dilated": {"kernel_size": (3, 3), "kernel_dilation": 2},
    "spread": {"kernel_size": (3, 3), "input_dilation": 2, "padding": ((1, 1), (1, 1))},
    "grouped": {"kernel_size": (3, 3), "feature_group_count": 2},
    "precise": {"kernel_size": (3, 3), "precision": "highest"},
    "lines": {"kernel_size": (5,), "strides": 2},
    "causal lines": {"kernel_size": (3,), "padding": "CAUSAL"},
    "volumes": {"kernel_size": (3, 3, 3)},
    "wide lines": {"kernel_size": (80,), "padding": "SAME"},
}


class Linen(nn.Module):
    """One convolution and a head."""

    settings: dict

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(6, **self.settings)(x)
        return nn.Dense(3)(x.reshape(len(x), -1))


class OfNNX(nnx.Module):
    """The same; its shapes are seen in a first call."""

    def __init__(self, settings, size, rngs):
        self.conv = nnx.Conv(4, 6, **settings, rngs=rngs)
        self.head = nnx.Linear(size, 3, rngs=rngs)

    def __call__(self, x):
        x = self.conv(x)
        return self.head(x.reshape(len(x), -1))


def networks(settings, inputs):
    """A network's two adapted forms, each with what Flax itself computes."""
    module = Linen(settings)
    model = from_linen(module)
    variables = model.init(jax.random.key(0), inputs)
    yield partial(logits, model, variables), partial(module.apply, variables)
    size = len(variables["params"]["Dense_0"]["kernel"])
    net = OfNNX(settings, size, nnx.Rngs(0))
    model = from_nnx(net)
    yield partial(logits, model, model.init(jax.random.key(0), inputs)), net


def logits(model, variables, inputs):
    return model.apply(variables, inputs)[0].logits


@pytest.mark.parametrize("settings", LAYERS.values(), ids=LAYERS.keys())
def test_flax_layers_compute_what_flax_computes(settings):
    rank = len(settings["kernel_size"])
    inputs = jax.random.normal(jax.random.key(1), (3, *(8, 9, 7)[:rank], 4))
    for ours, theirs in networks(settings, inputs):
        actual, back = jax.vjp(ours, inputs)
        expected, plain_back = jax.vjp(theirs, inputs)
        assert_close(actual, expected)
        assert_close(back(actual)[0], plain_back(expected)[0])


@pytest.mark.parametrize("name", ["padded", "strided", "valid", "lines"])
def test_flax_layers_are_products_on_cpus(name):
    settings = LAYERS[name]
    inputs = jnp.ones((3, *(8, 9)[: len(settings["kernel_size"])], 4))
    for ours, theirs in networks(settings, inputs):
        assert " convolution(" not in gradient_program(ours, inputs)
        assert " convolution(" in gradient_program(theirs, inputs)


def gradient_program(network, inputs):
    gradient = jax.grad(lambda x: jnp.sin(network(x)).sum())
    return jax.jit(gradient).lower(inputs).compile().as_text()


@pytest.mark.parametrize("shape", [(3, 8, 6, 4), (2, 7, 9, 3)], ids=str)
def test_halved_images_are_max_pooled(shape):
    images = jax.random.normal(jax.random.key(2), shape)
    actual, back = jax.vjp(halve, images)
    expected, flax_back = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), images)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(back(actual)[0], flax_back(expected)[0])


class ChannelsFirst(nnx.Conv):
    """A subclass that calls what it was given by the names that lax has."""

    def __call__(self, x):
        return self.conv_general_dilated(
            lhs=x,
            rhs=self.kernel[...],
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NCHW", "HWIO", "NCHW"),
        ).sum((2, 3))


def test_other_orders_of_dimensions_are_kept():
    net = ChannelsFirst(4, 4, (3, 3), rngs=nnx.Rngs(0))
    model, inputs = from_nnx(net), jax.random.normal(jax.random.key(3), (2, 4, 4, 4))
    actual = logits(model, model.init(jax.random.key(0), inputs), inputs)
    assert_close(actual, net(inputs))


def test_a_window_larger_than_images_sees_nothing():
    layers = [nn.Conv(5, (5, 5), padding="VALID"), lambda x: x.sum((1, 2))]
    model, inputs = from_linen(nn.Sequential(layers)), jnp.ones((2, 3, 3, 4))
    variables = model.init(jax.random.key(0), inputs)
    np.testing.assert_array_equal(logits(model, variables, inputs), np.zeros((2, 5)))


def test_gradients_of_gradients_are_those_of_flax():
    inputs = jax.random.normal(jax.random.key(4), (3, 8, 8, 4))

    def penalty(network):
        def slopes(x):
            return (jax.grad(lambda x: (network(x) ** 2).sum())(x) ** 2).sum()

        return jax.jit(jax.grad(slopes))(inputs)

    for settings in (LAYERS["padded"], LAYERS["strided"], LAYERS["valid"]):
        for ours, theirs in networks(settings, inputs):
            assert_close(penalty(ours), penalty(theirs))


def test_a_layer_with_a_convolution_of_its_own_keeps_it():
    called = []

    def own(*args, **kwargs):
        called.append(True)
        return lax.conv_general_dilated(*args, **kwargs)

    settings = {"kernel_size": (3, 3), "conv_general_dilated": own}
    inputs = jnp.ones((2, 8, 8, 4))
    for ours, _ in networks(settings, inputs):
        called.clear()
        ours(inputs)
        assert called


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (7, 3)])
def test_batch_normalisation_equals_its_definition(shape):
    keys = jax.random.split(jax.random.key(5), 3)
    x = 2 * jax.random.normal(keys[0], shape) + 1
    scale, bias = jax.random.normal(keys[1], (2, 3))

    def plain(x, scale, bias):
        axes = tuple(range(x.ndim - 1))
        centred = x - x.mean(axes, keepdims=True)
        var = jnp.square(centred).mean(axes, keepdims=True)
        expand = (1,) * (x.ndim - 1) + (-1,)
        slope = scale.reshape(expand) / jnp.sqrt(var + 1e-5)
        return slope * centred + bias.reshape(expand)

    def loss(normalise):
        def total(x, scale, bias):
            return jnp.sum(jnp.sin(relu(normalise(x, scale, bias))))

        return jax.value_and_grad(total, argnums=(0, 1, 2))

    def ours(x, scale, bias):
        return batch_normalize(x, scale, bias)[0]

    actual = jax.jit(loss(ours))(x, scale, bias)
    expected = jax.jit(loss(plain))(x, scale, bias)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        actual,
        expected,
    )
    _, mean, var = batch_normalize(x, scale, bias)
    rows = np.asarray(x, np.float64).reshape(-1, 3)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(var, rows.var(0), rtol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_batch_norm_is_flax_batch_norm(train):
    x = 2 * jax.random.normal(jax.random.key(6), (4, 5, 6, 3)) + 1
    theirs = nn.BatchNorm(not train, momentum=0.9)
    variables = theirs.init(jax.random.key(7), x)
    variables = jax.tree.map(lambda leaf: leaf + 0.5, variables)
    mutable = ["batch_stats"]
    expected = theirs.apply(variables, x, mutable=mutable)
    actual = BatchNorm().apply(variables, x, train, mutable=mutable)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        actual,
        expected,
    )
