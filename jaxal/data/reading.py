"""Prepared data sets of TensorFlow Datasets, read without TensorFlow."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxal.data.cache import cached, write_split
from jaxal.data.extras import quiet, require
from jaxal.data.images import Row, resized
from jaxal.data.types import Content, UnavailableError
from jaxal.data.values import checked

READABLE = "array_record"  # without TensorFlow
CHUNK = 256  # records decoded at a time


def prepared_folder(data_dir: Path, name: str) -> Path | None:
    """The folder of a prepared data set, its newest version.

    Args:
      data_dir: the folder of all data sets.
      name: "name", "name/config", either with ":1.2.3" to ask for one version.

    Returns:
      The folder that holds `dataset_info.json`, which TFDS moves into place when
      everything is written, or None.
    """
    base, _, wanted = name.partition(":")
    found = [
        info.parent
        for info in (data_dir / base).glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
        and wanted in ("", info.parent.name)
    ]
    return max(found, key=lambda f: [int(x) for x in f.name.split(".")], default=None)


def read_prepared(
    folder: Path, name: str, data_dir: Path, image_size: tuple[int, int] | None
) -> tuple[Content, str]:
    """Reads a prepared data set, through the cache of decoded images.

    Args:
      folder: what `prepared_folder` found.
      name: as the user gave it.
      data_dir: the folder of all data sets.
      image_size: (height, width) to resize to, or None.

    Returns:
      (content, fingerprint).

    Raises:
      ImportError: TFDS is not installed.
      UnavailableError: the prepared files are damaged or in a format that only
        TensorFlow reads.
      ValueError: not a data set for image classification.
    """
    size = "" if image_size is None else f"-{image_size[0]}x{image_size[1]}"
    entry = f"{name.partition(':')[0].replace('/', '-')}-{folder.name}{size}"
    return cached(
        data_dir,
        entry,
        {"name": entry, "files": _state_of_files(folder), "image_size": image_size},
        lambda out: _decode(folder, name, out, image_size),
    )


def _state_of_files(folder: Path) -> list[list[Any]]:
    """Changes when the data set is prepared again, without reading it."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _decode(
    folder: Path, name: str, out: Path, image_size: tuple[int, int] | None
) -> Content:
    _check_format(folder, name)
    tfds = require("tensorflow_datasets", f"reading {name}")
    with quiet():
        builder = tfds.builder_from_directory(folder)
        image_key, label_key = image_and_label(tfds, builder, name)
        names = tuple(builder.info.features[label_key].names)
        train, test = _split_names(builder, label_key, name)
        splits = {}
        for prefix, split in (("train", train), ("test", test)):
            if split is None:
                continue
            rows = _rows(builder, split, image_key, label_key)
            if image_size is not None:
                rows = resized(rows, image_size)
            num_rows = builder.info.splits[split].num_examples
            written = write_split(out, prefix, rows, num_rows, f"{name} in {folder}")
            splits[prefix] = checked(f"{name}, split {split}", *written, len(names))
    about = " ".join(builder.info.description.split())[:100]
    source = f"{name} {folder.name} of TensorFlow Datasets, in {folder}: {about}"
    return Content(splits["train"], splits.get("test"), names, source)


def file_format(folder: Path) -> str:
    """What the records of a prepared data set are stored as, such as "array_record"."""
    info = json.loads((folder / "dataset_info.json").read_text())
    return str(info.get("fileFormat"))


def _check_format(folder: Path, name: str) -> None:
    if (found := file_format(folder)) != READABLE:
        raise UnavailableError(
            f"{name} in {folder} was prepared as {found}, which only TensorFlow reads. "
            "Move that folder away and prepare it with file_format='array_record', as "
            "jaxal does."
        )


def image_and_label(tfds: Any, builder: Any, name: str) -> tuple[str, str]:
    """Names of the features that hold the image and its class.

    Args:
      tfds: the module.
      builder: a builder of TFDS, prepared or not.
      name: as the user gave it.

    Returns:
      (image, label): those of TFDS's supervised keys, else the only ones there are.

    Raises:
      ValueError: it is not a data set for image classification.
    """
    features = builder.info.features.items()
    images = [k for k, f in features if isinstance(f, tfds.features.Image)]
    labels = [k for k, f in features if isinstance(f, tfds.features.ClassLabel)]
    supervised = builder.info.supervised_keys or ()
    image = [k for k in supervised if k in images] or images
    label = [k for k in supervised if k in labels] or labels
    if len(image) != 1 or len(label) != 1:
        raise ValueError(
            f"{name} has images {images} and class labels {labels}; expected one of "
            "each: it is not a data set for image classification."
        )
    return image[0], label[0]


def _split_names(builder: Any, label: str, name: str) -> tuple[str, str | None]:
    """(train, test): a test split without labels gives way to validation."""
    splits = [s for s in builder.info.splits if builder.info.splits[s].num_examples]
    labelled = [s for s in splits if _record(builder, s)[label] >= 0]
    if len(labelled) == 1:
        return labelled[0], None
    test = next((s for s in ("test", "validation") if s in labelled), None)
    if "train" not in labelled or test is None:
        raise ValueError(
            f"{name} has labelled splits {labelled}, expected 'train' and 'test' or "
            "'validation', or a single one. Pass its images as a .npz file."
        )
    return "train", test


def _record(builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)[0]
    except Exception as error:  # array_record has no error type of its own
        raise _damaged(builder, error) from error


def _rows(builder: Any, split: str, image: str, label: str) -> Iterator[Row]:
    tqdm = require("tqdm", "decoding")
    try:
        records = builder.as_data_source(split=split)
        bar = tqdm.tqdm(total=len(records), desc=f"decoding {split}", disable=None)
        with bar:
            for start in range(0, len(records), CHUNK):
                stop = min(start + CHUNK, len(records))
                for i, record in enumerate(records.__getitems__(range(start, stop))):
                    name = record.get("id", f"{split}_{start + i:05d}")
                    name = name.decode() if isinstance(name, bytes) else str(name)
                    yield record[image], int(record[label]), name
                bar.update(stop - start)
    except Exception as error:
        raise _damaged(builder, error) from error


def _damaged(builder: Any, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the prepared data set in {builder.data_dir} cannot be read ({error}). Delete "
        "that folder, and it is prepared again."
    )
