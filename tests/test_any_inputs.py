"""Loops over inputs that are not one array: token ids with masks, foreign features."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    View,
    active_learner,
    array_oracle,
    hold_out,
    laplace,
    make_pool,
    mc_dropout,
    pool_mesh,
    stateless,
    strategy,
    supervised,
    temperature_scaled,
    top_k,
)
from jaxal.models import from_linen, with_features
from jaxal.training import recipes
from tests.toys import linear

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(3, 9, 50)
MASK = np.arange(8) < LENGTHS[:, None]
LABELS = RNG.integers(0, 2, 50)
# Words say the class; behind the mask stand those of the other one.
TOKENS = RNG.integers(0, 10, (50, 8)) + 10 * (LABELS[:, None] ^ ~MASK)
TEXTS = {"tokens": TOKENS, "mask": MASK}


class Transformer(nn.Module):
    """One block over token ids, whose padding is masked."""

    @nn.compact
    def __call__(self, tokens, mask, train: bool = False):
        x = nn.Embed(20, 16)(tokens)
        heads = nn.MultiHeadDotProductAttention(num_heads=2, deterministic=not train)
        x = x + heads(nn.LayerNorm()(x), mask=mask[:, None, None, :])
        x = nn.Dropout(0.2, deterministic=not train)(x)
        kept = mask[..., None].astype(x.dtype)
        return nn.Dense(2)((x * kept).sum(1) / kept.sum(1))


MODEL = from_linen(Transformer())
LEARNER = supervised(MODEL, epochs=100)


def picks(loop, pool, rounds=2):
    state = loop.init(KEY, pool, initial=6)
    for i in range(rounds):
        state, info = loop.step(jax.random.key(i), state)
    return np.flatnonzero(np.asarray(state.pool.is_labelled)).tolist(), info


@pytest.mark.slow
@pytest.mark.parametrize("name", ["badge", "bald"])
def test_token_ids_with_a_mask_on_one_device_and_four(name):
    loop = active_learner(
        MODEL,
        LEARNER,
        strategy(name),
        array_oracle(LABELS),
        batch_size=4,
        test=(jax.tree.map(jnp.asarray, TEXTS), jnp.asarray(LABELS)),
        chunk_size=7,
    )
    found = [
        picks(loop, make_pool(TEXTS, mesh=pool_mesh(jax.devices()[:count])))
        for count in sorted({1, jax.device_count()})
    ]
    assert all(rows == found[0][0] for rows, _ in found)
    assert len(found[0][0]) == 14
    assert float(found[0][1].metrics.accuracy) > 0.9


@pytest.mark.parametrize(
    "posterior",
    [
        pytest.param(laplace(MODEL, num_samples=4), marks=pytest.mark.slow),
        temperature_scaled(mc_dropout(MODEL, 4), 0.4),
    ],
)
def test_posteriors_are_fitted_to_any_inputs(posterior):
    loop = active_learner(
        MODEL,
        hold_out(LEARNER, 0.4),
        strategy("bald"),
        array_oracle(LABELS),
        batch_size=4,
        posterior=posterior,
    )
    rows, _ = picks(loop, make_pool(TEXTS), rounds=1)
    assert len(rows) == 10


def test_the_whole_of_a_view_is_any_inputs_too():
    def shortest(key, view, batch_size):
        length = view.inputs["mask"].sum(-1).astype(jnp.float32)
        return top_k(key, -length, view.is_available, batch_size=batch_size)

    def length(view: View):
        return view.inputs["mask"].sum(-1)

    watched = stateless({"inputs"}, shortest, {"inputs"}, length)
    loop = active_learner(MODEL, LEARNER, watched, batch_size=5)
    state = loop.init(KEY, make_pool(TEXTS))
    looked = loop.phases.look(KEY, state)
    np.testing.assert_array_equal(looked.view.rows[:50], LENGTHS)
    chosen = loop.phases.choose(KEY, state, looked)
    assert sorted(LENGTHS[chosen.indices]) == sorted(LENGTHS)[:5]


def test_strategies_see_features_that_were_made_elsewhere():
    features = RNG.normal(size=(50, 5)).astype(np.float32)
    images = RNG.normal(size=(50, 16, 16, 3)).astype(np.float32)
    flat = linear(2)

    def on_images(fn):
        def call(first, inputs, **settings):
            return fn(first, inputs.reshape(inputs.shape[0], -1), **settings)

        return call

    network = flat._replace(init=on_images(flat.init), apply=on_images(flat.apply))
    model = with_features(network)
    inputs = {"image": images, "features": features}
    pool = make_pool(inputs, mesh=pool_mesh(jax.devices()[:1]))
    loop = active_learner(
        model,
        supervised(model, epochs=2),
        strategy("coreset"),
        array_oracle(LABELS),
        batch_size=6,
    )
    state = loop.init(KEY, pool, initial=np.array([0, 1]))
    np.testing.assert_array_equal(loop.phases.look(KEY, state).view.features, features)
    _, selection, _ = loop.ask(KEY, state)
    known, expected = [0, 1], []  # the farthest row first, by hand
    for _ in range(6):
        gaps = ((features[:, None] - features[None, known]) ** 2).sum(-1).min(-1)
        expected.append(int(gaps.argmax()))
        known.append(expected[-1])
    assert selection.indices.tolist() == expected
    with pytest.raises(ValueError, match="expected a dict with 'features'"):
        model.init(KEY, images)


def test_images_among_inputs_are_moved_and_the_rest_is_not():
    images = jnp.asarray(RNG.normal(size=(6, 16, 16, 3)), jnp.float32)
    inputs = {"left": images, "right": images, "table": jnp.ones([6, 4])}
    moved = recipes.augmented("auto", KEY, inputs)
    assert not (moved["left"] == images).all()
    np.testing.assert_array_equal(moved["left"], moved["right"])
    assert (moved["table"] == 1).all()
    alone = recipes.augmentation("auto", (16, 16, 3))(KEY, images)
    np.testing.assert_array_equal(moved["left"], alone)
