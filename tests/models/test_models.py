"""The zoo: sizes, shapes, dtypes, randomness, and inputs that stay uint8."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.models import MODELS, build, resnet18, scale_inputs
from jaxal.types import Model, Output

IMAGES = jax.random.normal(jax.random.key(0), (3, 16, 16, 3))


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def shapes_of(model, shape, dtype=jnp.float32):
    inputs = jax.ShapeDtypeStruct(shape, dtype)
    variables = jax.eval_shape(model.init, jax.random.key(0), inputs)
    output, _ = jax.eval_shape(model.apply, variables, inputs)
    return variables, output


@pytest.fixture(scope="module")
def narrow():
    model = resnet18(10, width=8, dropout=0.5)
    return model, model.init(jax.random.key(1), IMAGES)


# Counted by hand from the papers' descriptions, for 28 x 28 x 1 and 10 classes.
SIZES = {
    "logistic_regression": 784 * 10 + 10,
    "mlp": 784 * 128 + 128 + 128 * 10 + 10,
    "bayesian_cnn": (25 * 32 + 32)
    + (25 * 32 * 64 + 64)
    + (4 * 4 * 64 * 128 + 128)
    + (128 * 10 + 10),
    "gal_cnn": (16 * 32 + 32)
    + (16 * 32 * 32 + 32)
    + (11 * 11 * 32 * 128 + 128)
    + (128 * 10 + 10),
}


@pytest.mark.parametrize("name", SIZES)
def test_small_networks_have_the_papers_sizes(name):
    variables, _ = shapes_of(build(name, 10), (2, 28, 28, 1))
    assert count(variables) == SIZES[name]


def test_resnet18_has_eleven_million_parameters():
    variables, output = shapes_of(resnet18(10), (2, 32, 32, 3))
    assert count(variables) == 11_173_962
    assert output.features.shape == (2, 512)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(2, 28, 28, 1), (2, 8, 8, 1), (2, 9, 12, 3)])
def test_networks_take_images_of_any_shape(name, shape):
    variables, output = shapes_of(build(name, 7), shape)
    assert output.logits.shape == (2, 7) and output.logits.dtype == jnp.float32
    head = variables["params"]["head"]["kernel"]
    assert output.features.shape == (2, head.shape[0])


@pytest.mark.parametrize("name", MODELS)
def test_images_may_lack_the_channel_axis(name):
    with_axis, _ = shapes_of(build(name, 7), (2, 8, 8, 1))
    without, _ = shapes_of(build(name, 7), (2, 8, 8))
    assert count(with_axis) == count(without)


@pytest.mark.parametrize("name", ["resnet18", "bayesian_cnn", "gal_cnn"])
def test_convolutional_networks_refuse_flat_inputs(name):
    with pytest.raises(ValueError, match="use a model of flat inputs"):
        shapes_of(build(name, 7), (2, 64))


@pytest.mark.parametrize("name", ["mlp", "logistic_regression"])
def test_flat_networks_take_flat_inputs(name):
    _, output = shapes_of(build(name, 7), (2, 64))
    assert output.logits.shape == (2, 7)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        build("resnet", 10)


def test_resnet_calls_follow_the_contract(narrow):
    model, variables = narrow

    def calls(variables, images, key):
        return (
            model.apply(variables, images),
            model.apply(variables, images, key=key),
            model.apply(variables, images, train=True),
        )

    still, noisy, trained = jax.jit(calls)(variables, IMAGES, jax.random.key(2))
    for carried in (still[1], noisy[1]):
        jax.tree.map(np.testing.assert_array_equal, carried, variables)
    kept = np.asarray(noisy[0].features != 0)
    doubled = np.where(kept, 2 * np.asarray(still[0].features), 0)
    np.testing.assert_allclose(noisy[0].features, doubled, rtol=1e-5)
    stem = "BatchNorm_0"
    assert not np.allclose(
        trained[1]["batch_stats"][stem]["mean"], variables["batch_stats"][stem]["mean"]
    )
    head = variables["params"]["head"]
    expected = still[0].features @ head["kernel"] + head["bias"][None]
    np.testing.assert_allclose(still[0].logits, expected, rtol=1e-5, atol=1e-5)


def test_rows_one_by_one_are_rows_together(narrow):
    model, variables = narrow

    def both(images):
        together = model.apply(variables, images)[0].logits
        alone = jax.vmap(lambda x: model.apply(variables, x[None])[0].logits[0])(images)
        return together, alone

    together, alone = jax.jit(both)(IMAGES)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def largest_arrays(closed, found):
    """Shapes of all results in a jaxpr, the nested ones included."""
    for equation in closed.eqns:
        found += [variable.aval.shape for variable in equation.outvars]
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                largest_arrays(inner, found)
    return found


def test_dropout_samples_share_one_pass_through_the_backbone(narrow):
    model, variables = narrow
    keys = jax.random.split(jax.random.key(3), 97)

    def samples(images):
        def one(key):
            return model.apply(variables, images, key=key)[0].logits

        return jax.vmap(one)(keys)

    closed = jax.make_jaxpr(samples)(IMAGES)
    batched = [s for s in largest_arrays(closed.jaxpr, []) if s and s[0] == 97]
    assert (97, 3, 64) in batched  # features, after dropout
    assert all(len(shape) <= 3 for shape in batched)  # images would have five axes


def test_bfloat16_computes_narrow_and_remembers_wide():
    model = resnet18(10, width=8, dtype=jnp.bfloat16)
    variables, output = shapes_of(model, IMAGES.shape)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert output.logits.dtype == output.features.dtype == jnp.float32

    def call(variables, images):
        return model.apply(variables, images)

    text = jax.jit(call).lower(variables, IMAGES).as_text()
    assert "bf16" in text


def test_scaling_happens_inside_and_inputs_stay_uint8():
    seen = []

    def apply(variables, inputs, *, key=None, train=False):
        seen.append((key, train))
        return Output(inputs), variables

    model = scale_inputs(Model(lambda key, inputs: {}, apply), [0.5, 0.25], [0.5, 1.0])
    images = jnp.array([[[[0, 255], [255, 51]]]], jnp.uint8)
    output, _ = model.apply({}, images, train=True)
    expected = [[[[-1.0, 0.75], [1.0, -0.05]]]]
    np.testing.assert_allclose(output.logits, expected, atol=1e-6)
    floats, _ = model.apply({}, jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(floats.logits, [[-1.0, 0.75]], atol=1e-6)
    assert seen == [(None, True), (None, False)]


def test_scaling_by_the_wrong_number_of_channels_is_refused():
    model = scale_inputs(build("mlp", 3), [0.5, 0.5], 1.0)
    with pytest.raises(ValueError, match="mean has shape"):
        model.init(jax.random.key(0), IMAGES)


@pytest.mark.slow
def test_gradient_descent_learns(narrow):
    model, variables = narrow
    labels = jnp.arange(3)

    def loss(params, carried):
        output, carried = model.apply({**carried, "params": params}, IMAGES, train=True)
        losses = -jax.nn.log_softmax(output.logits)[jnp.arange(3), labels]
        return losses.mean(), carried

    def step(_, state):
        params, carried = state
        gradients, carried = jax.grad(loss, has_aux=True)(params, carried)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradients), carried

    first = loss(variables["params"], variables)[0]
    train = jax.jit(lambda *state: jax.lax.fori_loop(0, 10, step, state))
    last = loss(*train(variables["params"], variables))[0]
    assert last < 0.3 * first
