"""From a name to a data set."""

import difflib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from jaxal.data.archives import READERS
from jaxal.data.embedded import EMBEDDED, embedded
from jaxal.data.extras import quiet, require
from jaxal.data.folder import read_folder
from jaxal.data.images import checked_size, resized_split
from jaxal.data.npz import read_npz
from jaxal.data.preparing import prepare
from jaxal.data.reading import READABLE, file_format, prepared_folder, read_prepared
from jaxal.data.splits import fixed_test, imbalance, split_validation
from jaxal.data.types import Content, Dataset, UnavailableError, fingerprint

BESIDE = "jaxal_array_record"  # a data_dir within the data_dir
Found = tuple[str, Content, str]  # name, content, fingerprint


def names() -> tuple[str, ...]:
    """Names that `load` knows by itself; TensorFlow Datasets knows many more.

    Example:
      >>> "digits" in names(), "cifar10" in names(), "auto" in names()
      (True, True, True)
    """
    return tuple(sorted({"auto", *EMBEDDED, *READERS}))


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    num_validation: int = 0,
    seed: int = 0,
    keep_ratios: Mapping[str, float] | Sequence[float] | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Dataset:
    """Loads a data set for image or feature classification, as NumPy arrays.

    The test split is the source's own (its validation split where the test labels are
    secret). A source with a single split gives up the same fifth of each class whatever
    the seed. Validation and imbalance change the pool side only: first classes are
    thinned, then the validation split is taken from what is left.

    Args:
      name: one of `names()`; any data set for image classification of TensorFlow
        Datasets, as "name", "name/config" or "name:1.2.3"; or a path: a `.npz` file
        (see `read_npz`) or a folder of images (see `read_folder`). A bare word is never
        a path: write "./pool" for the folder called pool. "auto" is CIFAR-10 where it
        is prepared or can be downloaded, else digits, and then `Dataset.name` and
        `Dataset.source` say so.
      data_dir: the folder TensorFlow Datasets uses; by default $TFDS_DATA_DIR or
        ~/tensorflow_datasets. Decoded images are kept in its `jaxal_cache`.
      download: whether a data set that is not prepared may be downloaded.
      num_validation: rows to take from the pool for validation, stratified.
      seed: decides which rows are taken for validation and which survive thinning.
      keep_ratios: the share of each class to keep in the pool, see `imbalance`.
      image_size: height and width in pixels to resize to, needed where sizes differ.

    Returns:
      The data set. Inputs are uint8 `[N, H, W, C]` (a read-only memory map where no
      row was taken away) or float32 `[N, D]`; ids name the same rows for every seed.

    Raises:
      ValueError: an unknown name (the nearest one is named), or values that cannot be.
      UnavailableError: the data set exists but cannot be had; says how to get it.
      ImportError: an optional package is missing; says how to install it.

    Example:
      >>> data = load("digits", num_validation=100)
      >>> data.train.inputs.shape, data.validation.labels.shape
      ((1338, 8, 8, 1), (100,))
    """
    folder = default_data_dir() if data_dir is None else Path(data_dir).expanduser()
    size = None if image_size is None else checked_size(image_size)
    with _named(os.fspath(name)):
        title, content, digest = _find(name, folder, download, size)
        class_names = content.class_names
        train, test, validation = content.train, content.test, None
        if test is None:
            train, test = fixed_test(train, len(class_names))
        whole = train
        if keep_ratios is not None:
            train = imbalance(train, keep_ratios, class_names, seed)
        if num_validation:
            train, validation = split_validation(
                train, num_validation, len(class_names), seed
            )
    if train is not whole:  # the same content, split in another way
        ids = [s.ids.tolist() for s in (train, validation) if s is not None]
        digest = hashlib.sha256(f"{digest}{ids}".encode()).hexdigest()
    return Dataset(title, train, test, validation, class_names, digest, content.source)


def default_data_dir() -> Path:
    """Where TensorFlow Datasets keeps prepared data sets."""
    chosen = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors about values say which data set has them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if name in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {error}") from error


def _find(
    name: str | os.PathLike[str],
    data_dir: Path,
    download: bool,
    size: tuple[int, int] | None,
) -> Found:
    if name == "auto":
        return _auto(data_dir, download, size)
    if isinstance(name, str) and name in EMBEDDED:
        return _in_memory(name, embedded(name), size)
    path = Path(name).expanduser()
    if path.suffix == ".npz":
        return _in_memory(path.stem, read_npz(path), size)
    if not isinstance(name, str) or _looks_like_a_path(name):
        return path.resolve().name, *read_folder(path, data_dir, size)
    folder = prepared_folder(data_dir, name)
    if folder is None:
        folder = _prepare(name, data_dir, download)
    elif file_format(folder) != READABLE and _base(name) in READERS:
        folder = _prepare_beside(folder, name, data_dir, download)
    return name, *read_prepared(folder, name, data_dir, size)


def _auto(data_dir: Path, download: bool, size: tuple[int, int] | None) -> Found:
    try:
        return _find("cifar10", data_dir, download, size)
    except (UnavailableError, ImportError) as error:
        content, why = embedded("digits"), " ".join(str(error).split())
        loud = (
            f"NOT CIFAR-10 BUT DIGITS: CIFAR-10 cannot be had here. {why} "
            f"Everything below is about {content.source}."
        )
        return _in_memory("digits", content._replace(source=loud), size)


def _in_memory(name: str, content: Content, size: tuple[int, int] | None) -> Found:
    if size is not None:
        train, test = content.train, content.test
        content = content._replace(
            train=resized_split(train, size),
            test=None if test is None else resized_split(test, size),
        )
    digest = fingerprint(content.class_names, content.train, content.test)
    return name, content, digest


def _looks_like_a_path(name: str) -> bool:
    # "cifar10_corrupted/fog_1" is a data set of TFDS, unless there is such a folder.
    return name.startswith((".", "~", os.sep)) or (
        os.sep in name and Path(name).is_dir()
    )


def _prepare(name: str, data_dir: Path, download: bool) -> Path:
    if _base(name) not in READERS:
        _check_known(_base(name))
    return prepare(name, data_dir, download=download)


def _prepare_beside(folder: Path, name: str, data_dir: Path, download: bool) -> Path:
    """A second copy, of a data set that TensorFlow prepared for itself."""
    beside = data_dir / BESIDE
    if (found := prepared_folder(beside, name)) is not None:
        return found
    why = (
        f"{name} in {folder} was prepared as {file_format(folder)}, which only "
        "TensorFlow reads"
    )
    print(f"jaxal: {why}; preparing a copy in {beside}", file=sys.stderr)
    try:
        return prepare(name, beside, download=download)
    except UnavailableError as error:
        raise UnavailableError(
            f"{why}, and a copy that can be read cannot be made: {error}"
        ) from error


def _base(name: str) -> str:
    """The name without config and version."""
    return name.partition(":")[0].partition("/")[0]


def _check_known(name: str) -> None:
    try:
        tfds = require("tensorflow_datasets", f"data set {name!r}")
    except ImportError as error:
        raise ImportError(f"{error} (without it: {', '.join(names())})") from error
    with quiet():
        known = {*names(), *tfds.list_builders(with_community_datasets=False)}
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), sorted(known), n=3)
    hint = (
        f"Did you mean {' or '.join(near)}?" if near else f"Known: {sorted(names())}."
    )
    if Path(name).exists():
        hint = f"To load the folder of that name, pass './{name}'."
    raise ValueError(
        f"there is no data set called {name!r}. {hint} Any data set for image "
        "classification of TensorFlow Datasets works too, and so do paths."
    )
