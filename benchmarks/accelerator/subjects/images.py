"""Images to train on: CIFAR-10 from an .npz, or synthetic ones of its shape."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from accelerator.plan import Context

NUM_CLASSES = 10
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class Data(NamedTuple):
    """Images `[N, H, W, 3]` uint8 and classes `[N]` int32, to learn and to judge."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    name: str


def load(context: Context) -> Data:
    """Returns images of the file asked for, as many as the scale takes."""
    size = context.scale.training
    if context.images is None:
        return _synthetic(size.rows, size.test_rows, size.side)
    with np.load(context.images) as file:
        if missing := [name for name in _ARRAYS if name not in file]:
            raise ValueError(f"{context.images} has no {missing}, only {file.files}.")
        x_train, y_train, x_test, y_test = (file[name] for name in _ARRAYS)
    if x_train.dtype != np.uint8:
        raise ValueError(f"x_train is {x_train.dtype}, expected uint8.")
    train = x_train[: size.rows], _classes(y_train[: size.rows])
    test = x_test[: size.test_rows], _classes(y_test[: size.test_rows])
    name = pathlib.Path(context.images).name
    return Data(train, test, f"{len(train[0]):,} images of {name}")


def crop_flip(key: Array, images: Array, padding: int = 4) -> Array:
    """Crops images padded with their reflection, and mirrors every second one."""
    key_crop, key_flip = jax.random.split(key)
    batch, *shape = images.shape
    around = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    padded = jnp.pad(images, around, mode="reflect")
    corners = jax.random.randint(key_crop, (batch, 2), 0, 2 * padding + 1)

    def crop(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), shape)

    cropped = jax.vmap(crop)(padded, corners)
    is_flipped = jax.random.bernoulli(key_flip, 0.5, (batch, 1, 1, 1))
    return jnp.where(is_flipped, cropped[:, :, ::-1], cropped)


def _classes(labels: np.ndarray) -> np.ndarray:
    return labels.reshape(-1).astype(np.int32)


def _synthetic(rows: int, test_rows: int, side: int) -> Data:
    """A faint pattern a class under noise: something to learn, and nothing to claim."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(96, 160, (NUM_CLASSES, side, side, 3), np.int16)
    labels = rng.integers(NUM_CLASSES, size=rows + test_rows).astype(np.int32)
    images = np.empty((len(labels), side, side, 3), np.uint8)
    for start in range(0, len(labels), 4096):  # a copy of wide noise would be large
        part = patterns[labels[start : start + 4096]]
        noise = rng.integers(-64, 64, part.shape, np.int16)
        images[start : start + 4096] = part + noise
    train, test = (slice(rows), slice(rows, None))
    said = f"{rows:,} synthetic images, whose accuracy says nothing of CIFAR-10's"
    return Data((images[train], labels[train]), (images[test], labels[test]), said)
