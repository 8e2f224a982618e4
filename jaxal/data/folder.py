"""A user's own images, filed in one folder per class."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from jaxal.data.cache import cached, write_split
from jaxal.data.images import Row, resized
from jaxal.data.pictures import is_grey, pixels
from jaxal.data.types import Content

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
UNLABELLED = {"unlabelled", "unlabeled"}
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
Files = list[tuple[Path, int]]  # image, label


def read_folder(
    path: Path, data_dir: Path, image_size: tuple[int, int] | None
) -> tuple[Content, str]:
    """Reads images filed in one folder per class, through the cache.

    Either `path/train/<class>/<image>` and `path/test/<class>/<image>`, or
    `path/<class>/<image>`, of which a fixed fifth becomes the test split. Classes are
    folder names in alphabetical order. Images are grey (`C = 1`) if all are, else RGB;
    see `pixels` for which can be read. Ids are paths below `path`. Hidden files are
    passed over, and beside the class folders what is no image; among images, other
    files are refused. What lies beside `train` and `test` is not read, and the source
    says so; without `train`, a folder with the name of a split is refused. A folder
    called `unlabelled` is no class, and refused: there is nobody here to ask what its
    images show.

    Args:
      path: the folder.
      data_dir: the folder of all data sets, for the cache.
      image_size: (height, width) to resize to, or None.

    Returns:
      (content, fingerprint).

    Raises:
      ValueError: no images, a class without any, classes that differ between train and
        test, a split that would be a class, images of several sizes, a file that is no
        image, images without a class.
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
    content, digest = cached(
        data_dir,
        f"folder-{path.name}-{tag}",
        key,
        lambda out: _decode(path, splits, class_names, out, image_size),
    )
    beside = [f"{f.name}/" for f in _folders(path) if f.name not in ("train", "test")]
    if "test" in splits and beside:
        told = f"{content.source}; not read: {', '.join(beside)}"
        content = content._replace(source=told)
    return content, digest


def _listing(path: Path) -> tuple[dict[str, Files], tuple[str, ...]]:
    """Images and labels of each split, and the class names."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder.")
    names = {folder.name for folder in _folders(path)}
    if "train" not in names:
        if odd := sorted(name for name in names if name.lower() in SPLITS):
            raise ValueError(
                f"{path / odd[0]} has the name of a split and would be a class. Call "
                "splits train and test, or rename it if it is a class."
            )
        class_names, files = _classes(path)
        return {"train": files}, class_names
    if "test" not in names:
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
    folders = _folders(path)
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
        strange = [f.name for f in images if not (_is_image(f) and f.is_file())]
        if strange:
            raise ValueError(
                f"{folder} holds {len(strange)} entries that are no images, such as "
                f"{strange[0]}; expected plain files ending in "
                f"{', '.join(sorted(SUFFIXES))}. Remove the others."
            )
        files += [(image, label) for image in images]
    return tuple(folder.name for folder in folders), files


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, in which no image may lie without a class."""
    inside = sorted(_visible(path))
    stray = [f for f in inside if _is_image(f) and not f.is_dir()]
    if stray:
        raise ValueError(
            f"{path} holds {len(stray)} images in no class folder, such as "
            f"{stray[0].name}. Move them into <class>/, or elsewhere."
        )
    folders = [f for f in inside if f.is_dir()]
    for link in inside:
        if link.is_symlink() and not link.exists():
            raise ValueError(
                f"{link} is a link to nothing, and would be a class if it was one to a "
                "folder. Mend or remove it."
            )
    for folder in folders:
        if folder.name.lower() in UNLABELLED:
            raise ValueError(
                f"{folder} is no class: answers come from the folders' names, and its "
                "images have none. Move it elsewhere; rename it if it is a class."
            )
    return folders


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _visible(path: Path) -> list[Path]:
    found = [f for f in path.iterdir() if not f.name.startswith(".")]
    for f in found:
        if f.name != f.name.encode(errors="replace").decode():
            raise ValueError(
                f"{path} has a name that is no UTF-8, {f.name!r}, and could not be "
                "written down. Rename it."
            )
    return found


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
    mode = "L" if all(is_grey(file) for file in files) else "RGB"
    made = {}
    for prefix, found in splits.items():
        rows = _rows(path, found, mode)
        rows = rows if image_size is None else resized(rows, image_size)
        made[prefix] = write_split(out, prefix, rows, len(found), str(path))
    return Content(made["train"], made.get("test"), class_names, f"images in {path}")


def _rows(path: Path, files: Files, mode: str) -> Iterator[Row]:
    for file, label in files:
        yield pixels(file, mode), label, file.relative_to(path).as_posix()
