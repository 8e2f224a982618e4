"""A user's own images, filed in one folder per class."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxal.data.cache import cached, write_split
from jaxal.data.extras import require
from jaxal.data.images import RESIZE, Row, resized
from jaxal.data.types import Content

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
Files = list[tuple[Path, int]]  # image, label


def read_folder(
    path: Path, data_dir: Path, image_size: tuple[int, int] | None
) -> tuple[Content, str]:
    """Reads images filed in one folder per class, through the cache.

    Either `path/train/<class>/<image>` and `path/test/<class>/<image>`, or
    `path/<class>/<image>`, of which a fixed fifth becomes the test split. Classes are
    folder names in alphabetical order. Images are grey (`C = 1`) if all are, else RGB.
    Ids are paths below `path`. Hidden files are passed over, other files refused.

    Args:
      path: the folder.
      data_dir: the folder of all data sets, for the cache.
      image_size: (height, width) to resize to, or None.

    Returns:
      (content, fingerprint).

    Raises:
      ValueError: no images, a class without any, classes that differ between train and
        test, images of several sizes, a file that is no image.
    """
    path = path.resolve()
    splits, class_names = _listing(path)
    key = {
        "path": str(path),
        "files": [_state(path, f) for files in splits.values() for f, _ in files],
        "class_names": class_names,
        "image_size": image_size,
    }
    # The whole path, so that two folders called "images" have an entry each.
    tag = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return cached(
        data_dir,
        f"folder-{path.name}-{tag}",
        key,
        lambda out: _decode(path, splits, class_names, out, image_size),
    )


def _listing(path: Path) -> tuple[dict[str, Files], tuple[str, ...]]:
    """Images and labels of each split, and the class names."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder.")
    if not (path / "train").is_dir():
        class_names, files = _classes(path)
        return {"train": files}, class_names
    if not (path / "test").is_dir():
        raise ValueError(
            f"{path} has train/ but no test/. Add test/<class>/, or put the class "
            f"folders directly into {path.name}/ and a fifth becomes the test split."
        )
    class_names, train = _classes(path / "train")
    test_names, test = _classes(path / "test")
    if class_names != test_names:
        odd = sorted(set(class_names) ^ set(test_names))
        raise ValueError(
            f"{path}: classes {odd} are in only one of train/ and test/; expected the "
            "same class folders in both."
        )
    return {"train": train, "test": test}, class_names


def _classes(path: Path) -> tuple[tuple[str, ...], Files]:
    folders = sorted(f for f in _visible(path) if f.is_dir())
    if len(folders) < 2:
        raise ValueError(
            f"{path} has {len(folders)} class folders, expected two or more: "
            "<class>/<image>."
        )
    files: Files = []
    for label, folder in enumerate(folders):
        images = sorted(_visible(folder))
        if not images:
            raise ValueError(f"{folder} has no image. Add one, or remove the folder.")
        strange = [f.name for f in images if f.suffix.lower() not in SUFFIXES]
        if strange:
            raise ValueError(
                f"{folder} holds {len(strange)} entries that are no images, such as "
                f"{strange[0]}; expected files ending in {', '.join(sorted(SUFFIXES))}."
            )
        files += [(image, label) for image in images]
    return tuple(folder.name for folder in folders), files


def _visible(path: Path) -> list[Path]:
    return [f for f in path.iterdir() if not f.name.startswith(".")]


def _state(path: Path, file: Path) -> list[str | int]:
    stat = file.stat()
    return [file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns]


def _decode(
    path: Path,
    splits: dict[str, Files],
    class_names: tuple[str, ...],
    out: Path,
    image_size: tuple[int, int] | None,
) -> Content:
    files = [file for found in splits.values() for file, _ in found]
    mode = "L" if all(_is_grey(file) for file in files) else "RGB"
    made = {}
    for prefix, found in splits.items():
        rows = _rows(path, found, mode)
        rows = rows if image_size is None else resized(rows, image_size)
        made[prefix] = write_split(out, prefix, rows, len(found), RESIZE)
    return Content(made["train"], made.get("test"), class_names, f"images in {path}")


def _is_grey(file: Path) -> bool:
    with _open(file) as image:
        return image.mode in ("1", "L")


def _rows(path: Path, files: Files, mode: str) -> Iterator[Row]:
    for file, label in files:
        with _open(file) as image:
            try:
                array = np.asarray(image.convert(mode))
            except OSError as error:
                raise ValueError(f"{file} is damaged ({error}). Remove it.") from error
        array = array[..., None] if mode == "L" else array
        yield array, label, file.relative_to(path).as_posix()


def _open(file: Path) -> Any:
    try:
        return require("PIL.Image", "reading images").open(file)
    except OSError as error:
        raise ValueError(f"{file} is not an image ({error}). Remove it.") from error
