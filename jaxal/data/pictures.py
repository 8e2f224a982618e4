"""A picture file as the pixels a person sees, or a sentence on why it cannot be."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxal.data.extras import require

GREY = ("1", "L", "LA")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def is_grey(file: Path) -> bool:
    """Whether a picture has no colour by its mode; see `pixels` for what it raises."""
    with _opened(file) as image:
        return image.mode in GREY


def pixels(file: Path, mode: str) -> np.ndarray:
    """The pixels of a picture, turned upright as its EXIF says, palettes looked up.

    Args:
      file: a plain file.
      mode: "L" or "RGB".

    Returns:
      uint8 `[H, W, 1]` or `[H, W, 3]`.

    Raises:
      ValueError: damaged, no picture or too large to be one; or it holds what 8 bits a
        channel, one frame and no transparency cannot. The file and a cure are named.
    """
    turn = require("PIL.ImageOps", "reading images").exif_transpose
    with _opened(file) as image:
        why = _more_than_pixels(image)
        array = None if why else np.asarray(_opaque(turn(image)).convert(mode))
    if array is None:
        raise ValueError(f"{file} {why}")
    return array[..., None] if mode == "L" else array


def _more_than_pixels(image: Any) -> str:
    """What converting would lose, and what to do; nothing, where that is nothing."""
    top = max((t[3][-1] for t in image.tile if t[0] == "ppm"), default=255)
    if image.mode[0] in "IF" or ";16" in str(image.tile) or top > 255:
        return (
            f"has more than 8 bits a channel (mode {image.mode}), and how bright its "
            "largest value should be is not known. Scale it to 8 bits, or pass the "
            "images as a .npz file of float32."
        )
    # Other pictures in a camera's MPO are previews and depth of the first.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return (
            f"has {image.n_frames} frames or pages, expected one. Save the one that is "
            "meant, or each as an image of its own."
        )
    if _opaque(image).mode in ALPHA:
        return (
            "is transparent in places, and what is behind it is not known. Save it on "
            "a background, without transparency."
        )
    return ""


def _opaque(image: Any) -> Any:
    """The image without an alpha channel that says nothing."""
    if image.mode not in ALPHA and "transparency" not in image.info:
        return image
    whole = image.convert("RGBA")
    return whole.convert("RGB") if whole.getextrema()[3] == (255, 255) else whole


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    pillow = require("PIL.Image", "reading images")
    bombs = pillow.DecompressionBombError, pillow.DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(file, formats=FORMATS) as image:
                yield image
    except bombs as error:
        raise ValueError(
            f"{file} says it is too large for an image ({error}). Remove it or make it "
            "smaller; if it is meant, raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except Exception as error:  # decoders have no error type of their own
        raise ValueError(
            f"{file} is damaged, or not an image ({error}). Repair or remove it."
        ) from error
