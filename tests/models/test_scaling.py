"""Networks that find the scale of their inputs, against NumPy, and keep it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.models import mlp, resnet18, scale_inputs, self_scaling
from jaxal.models.scaling import input_scale
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool
from jaxal.training import recipes
from jaxal.types import SCALE_ROWS, SCALING, Model, Output

KEY = jax.random.key(0)
SEEN = Model(
    lambda key, x: {"params": {}},
    lambda v, x, *, key=None, train=False: (Output(x.reshape(len(x), -1)), v),
)


def rows(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(5, 2, (1500, *shape)).astype(np.float32)


def test_columns_of_a_table_have_units_of_their_own():
    x = rows(3) * np.float32([1, 100, 0.01])
    shift, scale = input_scale(x)
    np.testing.assert_allclose(shift, x.astype(float).mean(0), rtol=1e-4)
    np.testing.assert_allclose(scale, x.astype(float).std(0), rtol=1e-4)


def test_directions_of_an_embedding_keep_their_lengths():
    x = rows(100) * np.linspace(0.2, 2, 100, dtype=np.float32)
    shift, scale = input_scale(x)
    np.testing.assert_allclose(shift, x.astype(float).mean(0), rtol=1e-4)
    one = np.sqrt(x.astype(float).var(0).mean())
    np.testing.assert_allclose(scale, np.full(100, one), rtol=1e-4)
    x[:, 7] *= 1000  # in another unit than the rest: it would be all that is seen
    np.testing.assert_allclose(input_scale(x)[1], x.astype(float).std(0), rtol=1e-3)


def test_images_are_scaled_by_channel_whatever_their_dtype():
    x = np.random.default_rng(0).integers(0, 256, (1200, 4, 5, 3)).astype(np.uint8)
    x[..., 2] = 9  # a channel that never changes
    shift, scale = input_scale(x)
    flat = x.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(shift, flat.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scale[:2], flat.std(0)[:2], rtol=1e-4)
    assert float(scale[2]) == 1
    assert [v.shape for v in input_scale(x[..., 0])] == [(), ()]


def test_few_rows_say_nothing_and_a_network_without_a_scale_is_itself():
    x = rows(3)[:10]
    model = self_scaling(SEEN)
    variables = model.init(KEY, x)
    np.testing.assert_array_equal(model.apply(variables, x)[0].logits, x)
    np.testing.assert_array_equal(model.apply({"params": {}}, x)[0].logits, x)


def test_numbers_of_ones_own_take_the_place_of_those_found():
    x = rows(2)
    model = scale_inputs(self_scaling(SEEN), 1.0, 4.0)
    variables = model.init(KEY, x)
    output, after = model.apply(variables, x, train=True)
    np.testing.assert_allclose(output.logits, (x - 1) / 4, rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(variables)


def test_outputs_are_in_units_means_and_log_variances_alike():
    model = self_scaling(SEEN)
    x = jnp.array([[0.5, 0.25]])
    variables = model.init(KEY, x)
    units = jnp.float32(8.0), jnp.float32(3.0)
    variables = recipes.with_units(variables, units)
    found = model.apply(variables, x)[0].logits[0]
    np.testing.assert_allclose(found, [8 + 3 * 0.5, 0.25 + 2 * np.log(3)], rtol=1e-6)
    one = recipes.with_units(model.init(KEY, x[:, :1]), units)
    np.testing.assert_allclose(model.apply(one, x[:, :1])[0].logits, [[9.5]], rtol=1e-6)
    three = jnp.ones([1, 3])  # classes have no unit
    variables = recipes.with_units(model.init(KEY, three), units)
    np.testing.assert_array_equal(model.apply(variables, three)[0].logits, three)


def test_scale_depends_on_valid_rows_alone():
    x = rows(2)[:1001]
    plain = make_pool(x, mesh=pool_mesh(jax.devices()[:1]))
    padded = plain._replace(
        inputs=jnp.concatenate([plain.inputs, jnp.full([7, 2], jnp.nan)]),
        is_valid=jnp.arange(1008) < 1001,
    )
    model = self_scaling(SEEN)
    found = [recipes.fresh_variables(model, KEY, pool) for pool in (plain, padded)]
    for name in ("shift", "scale"):
        ours, theirs = (v[SCALING]["inputs"][name] for v in found)
        np.testing.assert_array_equal(ours, theirs)
        assert np.isfinite(ours).all()
    assert SCALE_ROWS > 1001  # rows are shown again where there are too few


@pytest.mark.slow
@pytest.mark.parametrize("model", [mlp(3), resnet18(3, width=2)])
def test_the_zoo_says_the_same_of_inputs_in_any_unit(model):
    x = rows(8, 8, 3)[: SCALE_ROWS + 6]
    said = [
        model.apply(model.init(KEY, y), y[:5])[0].logits for y in (x, 40 * x - 1000)
    ]
    np.testing.assert_allclose(*said, atol=1e-3)
