"""Augmentation of image batches on the device: pure functions of a key."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates

from jaxal import checks

Augmentation = Callable[[Array, Array], Array]  # (key, images [B, H, W, C]) -> same


def pad_crop(padding: int = 4) -> Augmentation:
    """Returns random crops of the image padded with its own reflection.

    Args:
      padding: pixels added on each side; an offset of up to twice that is drawn.

    Returns:
      An augmentation that keeps shape and dtype.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.augment import pad_crop
      >>> pad_crop(2)(jax.random.key(0), jnp.ones([3, 8, 8, 1])).shape
      (3, 8, 8, 1)
    """

    def augment(key: Array, images: Array) -> Array:
        _check_images(images)
        batch, *shape = images.shape
        width = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
        padded = jnp.pad(images, width, mode="reflect")
        offsets = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

        def crop(image: Array, offset: Array) -> Array:
            start = (offset[0], offset[1], jnp.zeros_like(offset[0]))
            return jax.lax.dynamic_slice(image, start, shape)

        return jax.vmap(crop)(padded, offsets)

    return augment


def flip() -> Augmentation:
    """Returns left-right mirroring of every second image, at random.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.augment import flip
      >>> flip()(jax.random.key(0), jnp.ones([3, 8, 8, 1])).shape
      (3, 8, 8, 1)
    """

    def augment(key: Array, images: Array) -> Array:
        _check_images(images)
        is_flipped = jax.random.bernoulli(key, 0.5, images.shape[:1])
        return jnp.where(is_flipped[:, None, None, None], images[:, :, ::-1], images)

    return augment


def cutout(size: int = 8, value: int = 0) -> Augmentation:
    """Returns squares painted over at random places, cut off at the border.

    Args:
      size: side of the square in pixels.
      value: what it is painted with, in the units of the images.

    Returns:
      An augmentation that keeps shape and dtype.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.augment import cutout
      >>> float(cutout(8)(jax.random.key(0), jnp.ones([1, 4, 4, 1])).min())
      0.0

    Reference:
      DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks
      with Cutout", 2017. https://arxiv.org/abs/1708.04552
    """

    def augment(key: Array, images: Array) -> Array:
        _check_images(images)
        batch, height, width, _ = images.shape
        limits = jnp.array([height, width])
        centre = jax.random.randint(key, (batch, 2), 0, limits[None])
        is_row = _is_near(jnp.arange(height), centre[:, :1], size)
        is_column = _is_near(jnp.arange(width), centre[:, 1:], size)
        is_hole = is_row[:, :, None, None] & is_column[:, None, :, None]
        return jnp.where(is_hole, jnp.asarray(value, images.dtype), images)

    return augment


def rotate(degrees: float = 15.0) -> Augmentation:
    r"""Returns images turned about their middle by an angle of up to so many degrees.

    Pixels are interpolated linearly, and what comes in at the border is mirrored.

    Args:
      degrees: angles are uniform in `[-degrees, degrees]`.

    Returns:
      An augmentation that keeps shape and dtype.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.augment import rotate
      >>> rotate(30)(jax.random.key(0), jnp.ones([3, 8, 8, 1])).shape
      (3, 8, 8, 1)
    """

    def augment(key: Array, images: Array) -> Array:
        _check_images(images)
        limit = jnp.deg2rad(degrees)
        angle = jax.random.uniform(key, images.shape[:1], minval=-limit, maxval=limit)
        return jax.vmap(_moved)(images, angle, jnp.zeros([images.shape[0], 2]))

    return augment


def translate(share: float = 0.1) -> Augmentation:
    r"""Returns images moved by up to a share of their sides, by parts of pixels too.

    Pixels are interpolated linearly, and what comes in at the border is mirrored.

    Args:
      share: distances are uniform in `[-share, share]` times height and width.

    Returns:
      An augmentation that keeps shape and dtype.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.training.augment import translate
      >>> translate(0.2)(jax.random.key(0), jnp.ones([3, 8, 8, 1])).shape
      (3, 8, 8, 1)
    """

    def augment(key: Array, images: Array) -> Array:
        _check_images(images)
        batch, *sides, _ = images.shape
        limit = share * jnp.asarray(sides, jnp.float32)
        by = jax.random.uniform(key, (batch, 2), minval=-1.0) * limit[None]
        return jax.vmap(_moved)(images, jnp.zeros(batch), by)

    return augment


def _moved(image: Array, angle: Array, by: Array) -> Array:
    """An image `[H, W, C]`, turned about its middle and moved by pixels `[2]`."""
    height, width, _ = image.shape
    middle = (jnp.array([height, width], jnp.float32) - 1) / 2
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    y, x = grid - middle[:, None, None] - by[:, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    sources = [middle[0] + cos * y - sin * x, middle[1] + sin * y + cos * x]

    def channel(pixels: Array) -> Array:
        return map_coordinates(pixels, sources, order=1, mode="mirror")

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)


def compose(*augmentations: Augmentation) -> Augmentation:
    """Returns augmentations applied one after the other, each with its own key.

    Example:
      >>> from jaxal.training.augment import compose, flip, pad_crop
      >>> standard = compose(pad_crop(4), flip())
    """

    def augment(key: Array, images: Array) -> Array:
        for i, step in enumerate(augmentations):
            images = step(jax.random.fold_in(key, i), images)
        return images

    return augment


def _is_near(positions: Array, centre: Array, size: int) -> Array:
    offset = positions[None] - centre
    return (offset >= -(size // 2)) & (offset < size - size // 2)


def _check_images(images: Array) -> None:
    checks.check_rank(
        "images", images, 4, "[B, H, W, C]", "Augment images only; drop it for vectors."
    )
