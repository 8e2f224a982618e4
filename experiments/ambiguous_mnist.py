"""Ambiguous-MNIST, made from MNIST alone: images between two digits, and what they are.

    from experiments import ambiguous_mnist
    train, test = ambiguous_mnist.made(load("mnist"), ambiguous_mnist.Making())

After Mukhoti, Kirsch, van Amersfoort, Torr and Gal, "Deep Deterministic Uncertainty: A
New Simple Baseline" (CVPR 2023, https://arxiv.org/abs/2102.11582). A variational auto-
encoder decodes convex mixes of the encodings of two digits. An ensemble trained on
MNIST says what they show: mixes it disagrees about are junk and are left out (more than
0.05 nats of mutual information), and so are those it is sure of (entropy below 0.05
nats). What is left is taken evenly over bins of entropy, as far as a bin has any. The
ensemble's mean probabilities are the truth from then on: labels are ten draws from them
for each image, so the best accuracy there can be is known, see `ceiling`.

Networks learn from the first images of MNIST's training half and are chosen, among
their epochs, by the last ones; mixes of the test half are of encodings of test images.
What is made is kept beside MNIST with checksums, and made again if they do not fit.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import jaxal
from experiments import autoencoder
from jaxal.data import Dataset, Split, default_data_dir
from jaxal.data.cache import cached, write_split
from jaxal.data.types import Content
from jaxal.models import build

RECIPE = 1  # raise it when what is made changes
MOST_INFORMATION = 0.05  # nats
ENTROPIES = 0.05, 3.0  # nats; ten classes have no more than 2.3
BINS = 59  # of 0.05 nats


class Making(NamedTuple):
    """How a set is made: all of it decides what comes out."""

    images: int = 6000  # for training
    test_images: int = 1000
    num_labels: int = 10  # drawn for each image
    candidates: int = 40  # mixes for each image that is kept
    rows: int = 55000  # MNIST's first, to learn from
    held_out: int = 5000  # its last, to choose by
    network: str = "bayesian_cnn"
    members: int = 10
    epochs: int = 20  # of a network of the ensemble
    vae_epochs: int = 50
    latent: int = 16
    seed: int = 0


class Ambiguous(NamedTuple):
    """Images with the spread of their labels, and draws from it."""

    images: np.ndarray  # [M, H, W, 1] uint8
    labels: np.ndarray  # [M, L] int32
    soft: np.ndarray  # [M, C] float32


def ceiling(soft: np.ndarray) -> float:
    """Returns the best accuracy there can be where labels are drawn from `[M, C]`."""
    return float(soft.max(-1).mean(dtype=float))


def mixed(first: Array, second: Array, share: Array) -> Array:
    """Returns convex mixes `[M, D]` of two encodings, `share` `[M]` of the first."""
    return share[:, None] * first + (1 - share[:, None]) * second


def is_ambiguous(samples: Array) -> Array:
    """Returns which mixes an ensemble `[S, M, C]` agrees are of several, `[M]`."""
    entropy, (low, high) = jaxal.consensus_entropy(samples), ENTROPIES
    is_agreed = jaxal.bald(samples) <= MOST_INFORMATION
    return is_agreed & (low <= entropy) & (entropy <= high)


def level(counts: np.ndarray, total: int) -> np.ndarray:
    """Returns how many to take of each bin: `total`, as evenly as counts allow."""
    if counts.sum() < total:
        raise ValueError(
            f"{counts.sum()} mixes are ambiguous, expected at least {total}. Make more "
            "candidates, or train the ensemble for longer."
        )
    taken = np.zeros_like(counts)
    while (missing := total - taken.sum()) > 0:
        (unfilled,) = np.nonzero(taken < counts)
        share = max(missing // len(unfilled), 1)
        some = unfilled[:missing]
        taken[some] = np.minimum(counts[some], taken[some] + share)
    return taken


def evenly(entropy: np.ndarray, is_kept: np.ndarray, total: int) -> np.ndarray:
    """Returns `total` rows, even over bins of entropy, the first ones of each bin."""
    low, high = ENTROPIES
    bins = ((entropy - low) / (high - low) * BINS).astype(int).clip(0, BINS - 1)
    inside = [np.flatnonzero(is_kept & (bins == one)) for one in range(BINS)]
    wanted = level(np.array([len(rows) for rows in inside]), total)
    rows = [some[:count] for some, count in zip(inside, wanted, strict=True)]
    return np.sort(np.concatenate(rows))


def _ensemble(
    key: Array, data: Dataset, making: Making
) -> Callable[[np.ndarray], Array]:
    """From images to logits `[S, M, C]` of networks that were trained on MNIST."""
    key_init, key_fit = jax.random.split(key)
    model = build(making.network, len(data.class_names))
    held_out = tuple(jnp.asarray(part[-making.held_out :]) for part in data.train[:2])
    watched = jaxal.watch({"validation": held_out}, best_by="validation/nll")
    rows, labels = (jnp.asarray(part[: making.rows]) for part in data.train[:2])
    pool = jaxal.make_pool(rows, labels, mesh=jaxal.pool_mesh(jax.devices()[:1]))
    learner = jaxal.supervised(  # as one trains on many labels: nothing holds it back
        model,
        optax.adam(1e-3),
        augment=None,
        epochs=making.epochs,
        batch_size=128,
        members=making.members,
        watch=watched,
    )
    state = learner.init(key_init, pool.inputs)
    state, _ = jax.jit(learner.fit)(key_fit, state, pool)
    posterior = jaxal.deep_ensemble(model, making.members)

    def by_row(images: Array) -> Array:
        nothing = jax.random.key(0)  # is random in members that are trained
        return posterior.sample(nothing, state, images).logits.swapaxes(0, 1)

    apply = jax.jit(partial(jaxal.map_rows, by_row, chunk_size=512))
    return lambda images: apply(jnp.asarray(images)).swapaxes(0, 1)


def drawn(rng: np.random.Generator, soft: np.ndarray, count: int) -> np.ndarray:
    """Returns labels `[M, count]`, drawn from `[M, C]`."""
    steps = soft.cumsum(-1)[:, None, :-1]
    return (rng.uniform(size=(len(soft), count, 1)) > steps).sum(-1).astype(np.int32)


def ambiguous(
    seed: Any,
    vae: Any,
    ensemble: Callable[[np.ndarray], Array],
    split: Split,
    total: int,
    making: Making,
) -> Ambiguous:
    """Returns mixes of the images of a split, with the spread of their labels.

    Args:
      seed: of pairs, shares and draws, as NumPy takes it.
      vae: with `encode` and `decode`, as `Autoencoder` has them.
      ensemble: from images to logits `[S, M, C]`.
      split: images and their labels.
      total: images to keep.
      making: how many candidates for each of them, and labels.

    Raises:
      ValueError: fewer candidates are ambiguous.
    """
    rng, count = np.random.default_rng(seed), making.candidates * total
    shape, num_codes = split.inputs.shape[1:], len(split.inputs)
    first, second = rng.integers(0, num_codes, (2, count))
    shares = rng.uniform(size=count).astype(np.float32)
    codes = vae.encode(_flat(split.inputs))[0]

    def decode(pairs: tuple[Array, Array, Array]) -> Array:
        one, other, share = pairs
        pixels = jax.nn.sigmoid(vae.decode(mixed(codes[one], codes[other], share)))
        return jnp.round(255 * pixels).astype(jnp.uint8).reshape(-1, *shape)

    decode_all = jax.jit(partial(jaxal.map_rows, decode))
    images = np.asarray(decode_all((first, second, shares)))
    samples, are_two = ensemble(images), split.labels[first] != split.labels[second]
    entropy = np.asarray(jaxal.consensus_entropy(samples))
    rows = evenly(entropy, np.asarray(is_ambiguous(samples)) & are_two, total)
    soft = np.asarray(jnp.exp(jaxal.log_mean_prob(samples)), np.float32)[rows]
    return Ambiguous(images[rows], drawn(rng, soft, making.num_labels), soft)


def _flat(images: np.ndarray) -> Array:
    return jnp.asarray(images).reshape(len(images), -1) / jnp.float32(255)


def make(data: Dataset, making: Making) -> tuple[Ambiguous, Ambiguous]:
    """Returns the training half and the test half; minutes, see `made`."""
    keys = jax.random.split(jax.random.key(making.seed))
    train = data.train._replace(inputs=data.train.inputs[: making.rows])
    held_out = _flat(data.train.inputs[-making.held_out :])
    told = {"latent": making.latent, "epochs": making.vae_epochs}
    vae = autoencoder.trained(keys[0], _flat(train.inputs), held_out, **told)
    ensemble = _ensemble(keys[1], data, making)
    splits = (train, making.images), (data.test, making.test_images)
    first, second = (
        ambiguous([making.seed, i], vae, ensemble, *split, making)
        for i, split in enumerate(splits)
    )
    return first, second


def made(
    data: Dataset, making: Making, data_dir: Path | None = None
) -> tuple[Ambiguous, Ambiguous]:
    """Returns what `make` makes, from disk where it was made before and is whole.

    Args:
      data: MNIST, or other images in grey.
      making: how.
      data_dir: whose `jaxal_cache` it is kept in; by default that of MNIST.
    """

    def build(folder: Path) -> Content:
        print(f"Making Ambiguous-{data.name}: {making}", file=sys.stderr, flush=True)
        halves = dict(zip(("train", "test"), make(data, making), strict=True))
        splits = [_written(folder, *half) for half in halves.items()]
        return Content(*splits, data.class_names, f"made of {data.source}")

    key = {"recipe": RECIPE, "of": data.fingerprint, **making._asdict()}
    where = data_dir or default_data_dir()
    content, _ = cached(where, f"ambiguous-{data.name}-{making.images}", key, build)
    folder = Path(content.train.inputs.filename).parent
    rest = {half: [np.load(_file(folder, half, part)) for part in _PARTS]
            for half in ("train", "test")}  # fmt: skip
    train = Ambiguous(content.train.inputs, *rest["train"])
    return train, Ambiguous(content.test.inputs, *rest["test"])


_PARTS = "labels", "soft"  # besides what every data set has


def _file(folder: Path, half: str, part: str) -> Path:
    return folder / f"{half}_of_many_{part}.npy"


def _written(folder: Path, half: str, some: Ambiguous) -> Any:
    likeliest = some.soft.argmax(-1).tolist()
    ids = [f"ambiguous_{half}_{row:05d}" for row in range(len(some.images))]
    rows = zip(some.images, likeliest, ids, strict=True)
    for part in _PARTS:
        np.save(_file(folder, half, part), getattr(some, part))
    return write_split(folder, half, rows, len(ids), "Ambiguous-MNIST")
