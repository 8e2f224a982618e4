"""The published archives of CIFAR and MNIST, read with the standard library.

Nothing is ever extracted to disk, so no member of an archive can escape a folder; one
that tries is still refused, because such an archive is not the published one.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxal.data.types import UnavailableError

Record = dict[str, Any]  # features of one example, "image" uint8 [H, W, C]


class Archive(NamedTuple):
    """What a data set's archives hold."""

    train: Iterator[Record]
    test: Iterator[Record]
    label_names: dict[str, list[str]]  # by feature; empty where TFDS knows them


def read_cifar10(files: Mapping[str, Path]) -> Archive:
    """CIFAR-10, binary version: a label byte and 3,072 bytes of image a row.

    Reference:
      Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
      https://www.cs.toronto.edu/~kriz/cifar.html
    """
    members = _members(files["cifar-10-binary.tar.gz"], "cifar-10-batches-bin")
    train = b"".join(_get(members, f"data_batch_{i}.bin") for i in range(1, 6))
    return Archive(
        _cifar_records(train, ["label"], "train"),
        _cifar_records(_get(members, "test_batch.bin"), ["label"], "test"),
        {"label": _names(members, "batches.meta.txt")},
    )


def read_cifar100(files: Mapping[str, Path]) -> Archive:
    """CIFAR-100, binary version: coarse label, label, image; see `read_cifar10`."""
    members = _members(files["cifar-100-binary.tar.gz"], "cifar-100-binary")
    labels = ["coarse_label", "label"]
    return Archive(
        _cifar_records(_get(members, "train.bin"), labels, "train"),
        _cifar_records(_get(members, "test.bin"), labels, "test"),
        {
            "coarse_label": _names(members, "coarse_label_names.txt"),
            "label": _names(members, "fine_label_names.txt"),
        },
    )


def read_mnist(files: Mapping[str, Path]) -> Archive:
    """MNIST and whatever shares its format: gzipped idx files.

    Reference:
      LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits,
      http://yann.lecun.com/exdb/mnist/
    """
    train, test = (
        _mnist_records(
            files[f"{prefix}-images-idx3-ubyte.gz"],
            files[f"{prefix}-labels-idx1-ubyte.gz"],
        )
        for prefix in ("train", "t10k")
    )
    return Archive(train, test, {})


READERS: dict[str, Callable[[Mapping[str, Path]], Archive]] = {
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "fashion_mnist": read_mnist,
    "mnist": read_mnist,
}


def _members(path: Path, folder: str) -> dict[str, bytes]:
    """The files of a `.tar.gz` that lie in `folder`, by name."""
    members = {}
    try:
        with tarfile.open(path, "r|gz") as tar:
            for member in tar:
                _refuse_escape(path, member)
                parent, _, name = member.name.removeprefix("./").rpartition("/")
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and parent == folder:
                    members[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UnavailableError(f"{path} is not a whole .tar.gz ({error}).") from error
    return members


def _refuse_escape(path: Path, member: tarfile.TarInfo) -> None:
    # Stricter than tarfile's "data" filter, which early releases of 3.11 lack.
    parts = member.name.replace("\\", "/").split("/")
    reaches_out = ".." in parts or parts[0] == "" or ":" in parts[0]
    if reaches_out or not (member.isfile() or member.isdir()):
        raise UnavailableError(
            f"{path} holds {member.name!r}, which is no plain file inside the archive. "
            "Delete the archive: it is not the published one."
        )


def _get(members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise UnavailableError(f"the archive has no {name}, only {sorted(members)}.")
    return members[name]


def _names(members: Mapping[str, bytes], name: str) -> list[str]:
    return [line for line in _get(members, name).decode().splitlines() if line]


def _cifar_records(data: bytes, labels: list[str], prefix: str) -> Iterator[Record]:
    width = len(labels) + 3 * 32 * 32
    if not data or len(data) % width:
        raise UnavailableError(
            f"the {prefix} part has {len(data)} bytes, expected rows of {width}."
        )
    for index, row in enumerate(np.frombuffer(data, np.uint8).reshape(-1, width)):
        yield {
            "id": f"{prefix}_{index:05d}",
            "image": row[len(labels) :].reshape(3, 32, 32).transpose(1, 2, 0),
            **{name: int(row[i]) for i, name in enumerate(labels)},
        }


def _mnist_records(images: Path, labels: Path) -> Iterator[Record]:
    pixels, numbers = _idx(images, 3), _idx(labels, 1)
    if len(pixels) != len(numbers):
        raise UnavailableError(
            f"{images} has {len(pixels)} images, {labels} {len(numbers)} labels."
        )
    for image, label in zip(pixels, numbers, strict=True):
        yield {"image": image[..., None], "label": int(label)}


def _idx(path: Path, rank: int) -> np.ndarray:
    """An idx file of bytes: magic number 0x0000_08_rank, sizes, values."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise UnavailableError(f"{path} is not a whole .gz ({error}).") from error
    header = 4 * (1 + rank)
    words = np.frombuffer(data[:header], ">i4")
    if len(words) != 1 + rank or words[0] != 0x0800 + rank:
        raise UnavailableError(f"{path} is not an idx file of {rank} axes of bytes.")
    shape = tuple(int(n) for n in words[1:])
    if len(data) != header + int(np.prod(shape)):
        raise UnavailableError(
            f"{path} holds {len(data) - header} values, its header says {list(shape)}."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
