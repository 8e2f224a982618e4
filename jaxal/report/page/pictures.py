"""Rows as small pictures within a page."""

import base64
import io

import numpy as np

from jaxal.report.page.rows import Rows

LARGEST = 64  # pixels of a side
MOST = 1500  # pictures of a page


def picture(image: np.ndarray) -> str:
    """Returns an image `[H, W, C]` of bytes as a `data:` address.

    Example:
      >>> import numpy as np
      >>> from jaxal.report.page.pictures import picture
      >>> picture(np.zeros((2, 2, 1), np.uint8))[:22]
      'data:image/png;base64,'
    """
    from PIL import Image

    drawn = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if max(drawn.size) > LARGEST:
        drawn.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    drawn.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def pictures(rows: Rows, wanted: list[int]) -> dict[int, str]:
    """Returns pictures of the first `MOST` of the rows that are wanted, by row."""
    if not rows.are_pictures or rows.inputs is None:
        return {}
    return {row: picture(np.asarray(rows.inputs[row])) for row in wanted[:MOST]}
