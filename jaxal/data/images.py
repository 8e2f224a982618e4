"""Images of one size and the same number of channels, through Pillow."""

from collections.abc import Iterable, Iterator

import numpy as np

from jaxal.data.extras import require

Row = tuple[np.ndarray, int, str]  # uint8 [H, W, C], label, id
RESIZE = "Pass image_size=(height, width) to resize them all."


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
