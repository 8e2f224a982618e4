"""Decoded arrays on disk: written once, memory-mapped ever after.

An entry is a folder `<data_dir>/jaxal_cache/<name>/` of `.npy` files and `entry.json`,
which holds a key (what it was decoded from), a checksum of every file and the content's
fingerprint. It is built under another name and renamed when complete, so whatever has
the right name, key and checksums is whole. Anything else is built again.
"""

import errno
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxal.data.images import RESIZE
from jaxal.data.locking import exclusive
from jaxal.data.naming import short
from jaxal.data.types import Content, Split, UnavailableError, fingerprint

FORMAT = 2  # raise it when what is decoded changes meaning
ENTRY = "entry.json"
Build = Callable[[Path], Content]


def cached(
    data_dir: Path, name: str, key: dict[str, Any], build: Build
) -> tuple[Content, str]:
    """The content that `build` decodes, from disk where it was decoded before.

    Args:
      data_dir: the folder of the data sets; the user's cache folder takes its place
        where it cannot be written.
      name: file name of the entry.
      key: JSON facts that change whenever the source does.
      build: given an empty folder, writes splits into it with `write_split` and returns
        the content. Called when there is no whole entry with this key.

    Returns:
      (content with read-only memory maps, its fingerprint).

    Raises:
      UnavailableError: the disk is full.
    """
    key = json.loads(json.dumps({"format": FORMAT, **key}))
    name = short(name)
    homes = [data_dir / "jaxal_cache", _user_cache() / _file_name(str(data_dir))]
    for home in homes:
        found = _read_entry(home / name, key)
        if found is not None:
            return found
    home = next((h for h in homes if _writable(h)), homes[0])
    with exclusive(home / f"{name}.lock", f"decoding {name}"):
        found = _read_entry(home / name, key)  # the other process may have built it
        if found is None:
            _build_entry(home / name, key, build)
            found = _read_entry(home / name, key)
    if found is None:
        raise UnavailableError(
            f"{home / name} was written but does not read back whole. Check the disk."
        )
    return found


def write_split(
    folder: Path,
    prefix: str,
    rows: Iterable[tuple[np.ndarray, int, str]],
    num_rows: int,
    what: str,
) -> Split:
    """Streams decoded rows into `.npy` files, never holding the images in memory.

    Args:
      folder: where; files are called `<prefix>_<field>.npy`.
      prefix: "train" or "test".
      rows: (image uint8 `[H, W, C]`, label, id) of each row.
      num_rows: how many there will be.
      what: what the user calls the source, for messages.

    Returns:
      The split, images memory-mapped.

    Raises:
      ValueError: images of several sizes, of another type, or fewer than promised.
    """
    labels, ids, shape = [], [], None
    # Plain writes: on a full disk a store into a memory map kills the process.
    with (folder / f"{prefix}_inputs.npy").open("wb") as file:
        for image, label, name in rows:
            if shape is None:
                shape = _start_npy(file, what, name, image, num_rows)
            if image.shape != shape:
                raise ValueError(
                    f"{what}: image {name} is {list(image.shape)}, those before it "
                    f"are {list(shape)}; images must have one size. {RESIZE}"
                )
            file.write(np.ascontiguousarray(image).data)
            labels.append(label)
            ids.append(name)
    if len(labels) != num_rows or not num_rows:
        raise ValueError(
            f"{what}, {prefix}: {len(labels)} images, expected {num_rows} (> 0)."
        )
    if len(set(ids)) < num_rows:  # names that repeat name nothing: count rows instead
        ids = [f"{prefix}_{row:05d}" for row in range(num_rows)]
    np.save(folder / f"{prefix}_labels.npy", np.asarray(labels, np.int32))
    np.save(folder / f"{prefix}_ids.npy", np.asarray(ids))
    return _read_split(folder, prefix)


def _start_npy(
    file: Any, what: str, name: str, image: np.ndarray, num_rows: int
) -> tuple[int, ...]:
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(
            f"{what}: image {name} is {image.dtype} {list(image.shape)}, expected "
            "uint8 [H, W, C]. Such images can be passed as a .npz file of float32."
        )
    descr = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, *image.shape)}
    np.lib.format.write_array_header_1_0(file, descr)
    return image.shape


def _read_split(folder: Path, prefix: str) -> Split:
    inputs, labels, ids = (folder / f"{prefix}_{field}.npy" for field in Split._fields)
    return Split(np.load(inputs, mmap_mode="r"), np.load(labels), np.load(ids))


def _build_entry(place: Path, key: dict[str, Any], build: Build) -> None:
    for left in place.parent.glob(f"{place.name}.tmp-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    folder = Path(tempfile.mkdtemp(prefix=f"{place.name}.tmp-", dir=place.parent))
    try:
        content = build(folder)
        entry = {
            "key": key,
            "class_names": content.class_names,
            "source": content.source,
            "fingerprint": fingerprint(
                content.class_names, content.train, content.test
            ),
            "files": {path.name: _checksum(path) for path in folder.iterdir()},
        }
        entry["entry"] = _entry_checksum(entry)
        (folder / ENTRY).write_text(json.dumps(entry, indent=1))
        if place.exists():  # stale or damaged; who has it mapped keeps their pages
            place.rename(folder / "replaced")
        folder.rename(place)
        shutil.rmtree(place / "replaced", ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(
                f"no space left in {place.parent} to decode {place.name}. Free some, "
                "or choose another data_dir."
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_entry(place: Path, key: dict[str, Any]) -> tuple[Content, str] | None:
    try:
        entry = json.loads((place / ENTRY).read_text())
        if entry["key"] != key or entry["entry"] != _entry_checksum(entry):
            return None
        if any(_checksum(place / f) != c for f, c in entry["files"].items()):
            return None
        has_test = "test_inputs.npy" in entry["files"]
        content = Content(
            train=_read_split(place, "train"),
            test=_read_split(place, "test") if has_test else None,
            class_names=tuple(entry["class_names"]),
            source=entry["source"],
        )
        return content, entry["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, torn or foreign: build it (again)


def _checksum(path: Path) -> str:
    """CRC-32 and size: ten times faster than SHA-256, and chance is the only enemy."""
    crc, size = 0, 0
    for block in _blocks(path):
        crc, size = zlib.crc32(block, crc), size + len(block)
    return f"{crc:08x}-{size}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            yield block


def _entry_checksum(entry: dict[str, Any]) -> str:
    rest = {name: value for name, value in entry.items() if name != "entry"}
    return f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxal"


def _file_name(text: str) -> str:
    return short(text.strip("/").replace("/", "-").replace(":", "-")) or "root"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
