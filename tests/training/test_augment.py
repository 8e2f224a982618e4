"""Augmentation: what may move, what may not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxal.training.augment import (
    compose,
    cutout,
    flip,
    pad_crop,
    rotate,
    translate,
)

KEY = jax.random.key(0)
IMAGES = jax.random.randint(KEY, (64, 8, 8, 3), 0, 256).astype(jnp.uint8)


def test_flip_mirrors_about_half_and_leaves_the_rest():
    flipped = np.asarray(flip()(KEY, IMAGES))
    is_same = (flipped == IMAGES).all(axis=(1, 2, 3))
    is_mirrored = (flipped == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (is_same | is_mirrored).all()
    assert 16 < is_same.sum() < 48


def test_every_crop_is_a_window_of_the_padded_image():
    cropped = np.asarray(pad_crop(2)(KEY, IMAGES))
    padded = np.pad(IMAGES, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    offsets = set()
    for before, after in zip(padded, cropped, strict=True):
        windows = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if (before[i : i + 8, j : j + 8] == after).all()
        ]
        assert windows
        offsets.update(windows)
    assert len(offsets) > 15  # of 25: offsets differ from image to image


def test_cutout_paints_one_square():
    holes = np.asarray(cutout(4)(KEY, jnp.ones([200, 8, 8, 1])))[..., 0] == 0
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns) <= 16
        assert len(rows) >= 2 and len(columns) >= 2


def test_compose_gives_each_its_own_key_and_keeps_dtype():
    both = compose(pad_crop(2), flip())
    found = jax.jit(both)(KEY, IMAGES)
    assert found.dtype == jnp.uint8
    one = pad_crop(2)(jax.random.fold_in(KEY, 0), IMAGES)
    np.testing.assert_array_equal(found, flip()(jax.random.fold_in(KEY, 1), one))


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="images only"):
        flip()(KEY, jnp.ones([3, 4]))


def test_turns_are_those_of_scipy():
    images = np.random.default_rng(0).normal(size=(5, 9, 12, 2)).astype(np.float32)
    found = rotate(20)(KEY, jnp.asarray(images))
    angles = np.rad2deg(jax.random.uniform(KEY, (5,), minval=-1.0) * np.deg2rad(20))
    assert np.abs(angles).min() > 1
    for image, angle, turned in zip(images, angles, found, strict=True):
        expected = ndimage.rotate(
            image, -float(angle), reshape=False, order=1, mode="mirror"
        )
        np.testing.assert_allclose(turned, expected, atol=1e-4)


def test_a_picture_of_a_line_is_moved_by_at_most_the_share():
    line = jnp.zeros([200, 21, 30, 1]).at[:, :, 15].set(1.0)
    moved = np.asarray(translate(0.1)(jax.random.key(1), line))
    mass = moved[:, 10, :, 0]
    place = (mass * np.arange(30)).sum(1) / mass.sum(1)
    assert 2.5 < np.abs(place - 15).max() <= 3.0001  # a tenth of thirty
    assert abs((place - 15).mean()) < 0.4
    np.testing.assert_allclose(mass.sum(1), 1.0, rtol=1e-4)


@pytest.mark.parametrize("step", [rotate(), translate()])
def test_bytes_stay_bytes(step):
    images = jnp.full([2, 6, 6, 3], 200, jnp.uint8)
    found = step(jax.random.key(0), images)
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, images)
