"""Images of one size and the same number of channels, through Pillow."""

from collections.abc import Iterable, Iterator

import numpy as np

from jaxal.data.extras import require
from jaxal.data.types import Split

Row = tuple[np.ndarray, int, str]  # uint8 [H, W, C], label, id
MOST_PIXELS = 2**26
RESIZE = "Pass image_size=(height, width) to resize them all."


def checked_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) from one number or two, all of them positive.

    Example:
      >>> checked_size(32)
      (32, 32)
    """
    pair = (image_size, image_size) if isinstance(image_size, int) else image_size
    size = tuple(int(length) for length in pair)
    if len(size) != 2 or min(size) < 1 or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(
            f"image_size is {image_size}, expected (height, width) in pixels, or one "
            f"positive number for square images; no more than {MOST_PIXELS} pixels."
        )
    return size[0], size[1]


def resized(rows: Iterable[Row], image_size: tuple[int, int]) -> Iterator[Row]:
    """Resizes the image of each row to (height, width), bilinear and antialiased.

    The aspect ratio is not kept. Images of the right size pass unchanged.

    Example:
      >>> white = np.full((2, 4, 3), 255, np.uint8)
      >>> [(image, label, name)] = resized([(white, 0, "a")], (3, 3))
      >>> image.shape, int(image.min())
      ((3, 3, 3), 255)
    """
    pillow = require("PIL.Image", "resizing images")
    for image, label, name in rows:
        if image.shape[:2] != image_size:
            planes = [
                np.asarray(
                    pillow.fromarray(image[..., c]).resize(
                        image_size[::-1], pillow.Resampling.BILINEAR
                    )
                )
                for c in range(image.shape[-1])
            ]
            image = np.stack(planes, -1)
        yield image, label, name


def resized_split(split: Split, image_size: tuple[int, int]) -> Split:
    """A split with its uint8 images resized, see `resized`."""
    if split.inputs.dtype != np.uint8 or split.inputs.ndim != 4:
        raise ValueError(
            f"image_size is given, but inputs are {split.inputs.dtype} "
            f"{list(split.inputs.shape)}, expected uint8 [N, H, W, C]. Leave it out."
        )
    rows = ((image, 0, "") for image in split.inputs)
    return split._replace(
        inputs=np.stack([image for image, _, _ in resized(rows, image_size)])
    )
