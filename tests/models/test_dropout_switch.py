"""A key switches every kind of dropout on, and nothing else."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxal import bald, mc_dropout
from jaxal.models import from_linen, from_nnx, resnet18
from tests.thinned import thinned

pytestmark = pytest.mark.filterwarnings("ignore:SelfAttention will be deprecated")

IDS = jax.random.randint(jax.random.key(0), (6, 5), 0, 30)
ROWS = jax.random.normal(jax.random.key(0), (6, 5)) + 1.0


class AtTheCall(nn.Module):
    @nn.compact
    def __call__(self, ids, train: bool = False):
        h = nn.Embed(30, 8)(ids)
        h = nn.MultiHeadDotProductAttention(2, dropout_rate=0.5)(
            h, deterministic=not train
        )
        return nn.Dense(3)(h.mean(1))


class AsAttribute(nn.Module):
    @nn.compact
    def __call__(self, ids, is_train=False):
        h = nn.Embed(30, 8)(ids)
        h = nn.SelfAttention(2, dropout_rate=0.5, deterministic=not is_train)(h)
        return nn.Dense(3)(h.mean(1))


class NobodySays(nn.Module):
    @nn.compact
    def __call__(self, ids):
        h = nn.Embed(30, 8)(ids)
        h = nn.MultiHeadDotProductAttention(2, dropout_rate=0.5)(h)
        return nn.Dense(3)(h.mean(1))


class Block(nn.Module):
    deterministic: bool = True

    @nn.compact
    def __call__(self, h):
        h = nn.LayerNorm()(h)
        attend = nn.MultiHeadAttention(
            2, dropout_rate=0.5, broadcast_dropout=False, deterministic=True
        )
        return h + attend(h, mask=jnp.ones((1, 1, 5, 5)))


class NestedInTransforms(nn.Module):
    deterministic: bool = True  # a field, as configurations do it

    @nn.compact
    def __call__(self, ids):
        h = nn.Embed(30, 8)(ids)
        h = nn.remat(Block)(self.deterministic)(h)
        h = nn.jit(Block)(self.deterministic)(h)
        stacked = nn.scan(
            lambda block, h, _: (block(h), None),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            length=2,
        )
        h, _ = stacked(Block(self.deterministic), h, None)
        return nn.Dense(3)(h.mean(1))


class HandMadeAttention(nn.Module):
    """Draws in a function, as many published transformers do."""

    @nn.compact
    def __call__(self, ids, deterministic: bool = True):
        h = nn.BatchNorm(use_running_average=deterministic)(nn.Embed(30, 8)(ids))
        rng = None if deterministic else self.make_rng("dropout")
        heads = nn.DenseGeneral((2, 4))(h)
        h = nn.dot_product_attention(
            heads,
            heads,
            heads,
            dropout_rng=rng,
            dropout_rate=0.5,
            deterministic=deterministic,
        )
        return nn.Dense(3)(h.mean(1).reshape(h.shape[0], -1))


class DropCell(nn.RNNCellBase):
    @nn.compact
    def __call__(self, carry, x):
        carry, y = nn.SimpleCell(8)(carry, nn.Dropout(0.5)(x))
        return carry, y

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], 8))

    @property
    def num_feature_axes(self):
        return 1


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, ids):
        h = nn.Embed(30, 8)(ids)
        h = nn.RNN(DropCell(), split_rngs={"params": False, "dropout": True})(h)
        return nn.Dense(3)(h[:, -1])


class NnxAttention(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(30, 8, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(
            2, 8, dropout_rate=0.5, decode=False, rngs=rngs
        )
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, ids):
        return self.head(self.attend(self.embed(ids)).mean(1))


class NnxFlag(NnxAttention):
    def __call__(self, ids, *, train=False):
        h = self.attend(self.embed(ids), deterministic=not train)
        return self.head(h.mean(1))


class NnxStack(NnxAttention):
    """Layers made under vmap and called in a scan: their streams have an axis."""

    def __init__(self, rngs):
        super().__init__(rngs)

        @nnx.split_rngs(splits=2)
        @nnx.vmap
        def stacked(rngs):
            return nnx.MultiHeadAttention(
                2, 8, dropout_rate=0.5, decode=False, rngs=rngs
            )

        self.layers = stacked(rngs)

    def __call__(self, ids):
        @nnx.scan
        def forward(h, layer):
            return layer(h), None

        h, _ = forward(self.embed(ids), self.layers)
        return self.head(h.mean(1))


class NnxByHand(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(30, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.rngs = rngs.fork()
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, ids, train=False):
        h = self.norm(self.embed(ids).mean(1), use_running_average=not train)
        if train:
            h = h * jax.random.bernoulli(self.rngs.dropout(), shape=h.shape) * 2
        return self.head(h)


class NnxOwnMode(NnxByHand):
    """Its own attribute, which `module.train()` would set."""

    def __init__(self, rngs):
        super().__init__(rngs)
        self.deterministic = False

    def __call__(self, ids):
        return super().__call__(ids, train=not self.deterministic)


NETWORKS = {
    "linen at the call": lambda: from_linen(AtTheCall()),
    "linen attribute": lambda: from_linen(AsAttribute()),
    "linen unsaid": lambda: from_linen(NobodySays()),
    "linen transforms": lambda: from_linen(NestedInTransforms()),
    "linen by hand": lambda: from_linen(HandMadeAttention()),
    "linen recurrent": lambda: from_linen(Recurrent()),
    "nnx attribute": lambda: from_nnx(NnxAttention),
    "nnx at the call": lambda: from_nnx(NnxFlag),
    "nnx stack": lambda: from_nnx(NnxStack),
    "nnx by hand": lambda: from_nnx(NnxByHand),
    "nnx own mode": lambda: from_nnx(NnxOwnMode),
}


@pytest.fixture(params=thinned(NETWORKS, 6), scope="module")
def case(request):
    model = NETWORKS[request.param]()
    variables = model.init(jax.random.key(1), IDS)
    if request.param in ("linen by hand", "nnx by hand", "nnx own mode"):
        # Statistics far from a batch's own, so that using these would be seen.
        carried = next(name for name in variables if name != "params")
        shifted = jax.tree.map(lambda leaf: 0.5 * leaf + 0.2, variables[carried])
        variables = {**variables, carried: shifted}
    return model, variables


def test_masks_differ_between_samples_and_are_one_for_all_rows(case):
    model, variables = case
    ids = jnp.concatenate([IDS, IDS[:2]])
    draw = jax.jit(mc_dropout(model, 8).sample)
    logits = draw(jax.random.key(2), variables, ids).logits
    assert logits.std(0).max() > 1e-3 and bald(logits.swapaxes(0, 1)).max() > 1e-5
    np.testing.assert_allclose(logits[:, 6:], logits[:, :2], rtol=1e-5, atol=1e-6)
    chunk = draw(jax.random.key(2), variables, ids[5:7]).logits
    np.testing.assert_allclose(chunk, logits[:, 5:7], rtol=1e-5, atol=1e-6)


def test_without_a_key_it_is_off_and_a_key_alone_changes_no_variables(case):
    model, variables = case
    first, after = model.apply(variables, IDS)
    again, _ = model.apply(variables, IDS)
    np.testing.assert_array_equal(first.logits, again.logits)
    jax.tree.map(np.testing.assert_array_equal, after, variables)
    _, after = model.apply(variables, IDS, key=jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, after, variables)
    one, _ = model.apply(variables, IDS[3:4])
    np.testing.assert_allclose(one.logits[0], first.logits[3], rtol=1e-4, atol=1e-5)


def test_the_mean_over_masks_is_near_the_network_itself(case):
    """Batch statistics of one row, or half of the layers off, would be far away."""
    model, variables = case
    still = model.apply(variables, IDS)[0].logits
    noisy = mc_dropout(model, 100).sample(jax.random.key(3), variables, IDS).logits
    spread = noisy.std(0).mean()
    assert jnp.abs(noisy.mean(0) - still).mean() < 0.75 * spread


def test_in_training_it_is_on_too(case):
    model, variables = case
    one, two = (
        model.apply(variables, IDS, key=jax.random.key(k), train=True)[0].logits
        for k in (1, 2)
    )
    assert jnp.abs(one - two).max() > 1e-3


class OwnStatistics(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        if train:
            mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
            x = x * jax.random.bernoulli(self.make_rng("dropout"), shape=x.shape)
        return nn.Dense(3)(x - mean.value[None])


class NnxOwnStatistics(nnx.Module):
    def __init__(self, rngs):
        self.mean = nnx.BatchStat(jnp.zeros(5))
        self.rngs = rngs.fork()
        self.head = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, x, train=False):
        if train:
            self.mean[...] = 0.9 * self.mean[...] + 0.1 * x.mean(0)
            x = x * jax.random.bernoulli(self.rngs.dropout(), shape=x.shape)
        return self.head(x - self.mean[...][None])


@pytest.mark.parametrize(
    "model", [from_linen(OwnStatistics()), from_nnx(NnxOwnStatistics)]
)
def test_dropout_that_cannot_be_switched_alone_is_refused(model):
    variables = model.init(jax.random.key(0), ROWS)
    model.apply(variables, ROWS, key=jax.random.key(1), train=True)  # can be trained
    with pytest.raises(ValueError, match="Draw with the framework's Dropout layer"):
        mc_dropout(model, 3).sample(jax.random.key(1), variables, ROWS)


@dataclasses.dataclass
class Answer:
    logits: Any


def test_a_module_under_a_flag_may_return_what_is_no_pytree():
    class Net(AtTheCall):
        @nn.compact
        def __call__(self, ids, train=False):
            return Answer(super().__call__(ids, train))

    model = from_linen(Net())
    variables = model.init(jax.random.key(0), IDS)
    output, _ = model.apply(variables, IDS, key=jax.random.key(1))
    assert output.logits.shape == (6, 3)


class OwnStatisticsKnownDropout(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        if train:
            mean.value = 0.9 * mean.value + 0.1 * x.mean(0)
        x = nn.Dropout(0.5, deterministic=not train)(x - mean.value[None])
        return nn.Dense(3)(x)


def test_known_dropout_is_switched_alone_beside_own_statistics():
    model = from_linen(OwnStatisticsKnownDropout())
    variables = model.init(jax.random.key(0), ROWS)
    logits = mc_dropout(model, 4).sample(jax.random.key(1), variables, ROWS).logits
    assert logits.std(0).max() > 1e-2
    _, after = model.apply(variables, ROWS, key=jax.random.key(1), train=True)
    np.testing.assert_allclose(
        after["batch_stats"]["mean"], 0.1 * ROWS.mean(0), rtol=1e-5
    )


def test_a_network_without_dropout_is_not_refused():
    model = resnet18(3, width=2)
    images = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    variables = model.init(jax.random.key(0), images)
    still = model.apply(variables, images)[0].logits
    noisy = model.apply(variables, images, key=jax.random.key(1))[0].logits
    np.testing.assert_array_equal(still, noisy)


def test_a_frozen_batch_norm_stays_frozen_in_training():
    class Frozen(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.BatchNorm(use_running_average=True)(x))

    model = from_linen(Frozen())
    variables = model.init(jax.random.key(0), ROWS)
    _, after = model.apply(variables, ROWS, key=jax.random.key(1), train=True)
    jax.tree.map(np.testing.assert_array_equal, after, variables)


def test_old_style_keys_switch_it_too():
    for model in (from_linen(AtTheCall()), from_nnx(NnxAttention)):
        variables = model.init(jax.random.PRNGKey(0), IDS)
        still = model.apply(variables, IDS)[0].logits
        noisy = model.apply(variables, IDS, key=jax.random.PRNGKey(1))[0].logits
        assert jnp.abs(still - noisy).max() > 1e-3
