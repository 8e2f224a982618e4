"""Files whose content is on disk once a call returns, and never half of it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from jaxal.runs.errors import RunError


def replace_file(path: Path, content: bytes) -> None:
    """Replaces a file as a whole, durably: the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with explained(path):
        try:
            with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
                _write_all(file, content)
                os.fsync(file)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
    """Appends to a file, made when it does not exist; on return it is on disk.

    Raises:
      RunError: the disk is full; the file is as it was before the call.
    """
    is_new = not path.exists()
    with (
        explained(path),
        _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file,
    ):
        size = os.fstat(file).st_size
        try:
            _write_all(file, content)
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):  # /dev/full and pipes have no length
                os.ftruncate(file, size)
            raise
    if is_new:
        sync_folder(path.parent)


def content_of(path: Path) -> bytes:
    """What is in a file, nothing where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(
            f"{path} cannot be read: {error.strerror or error}. Restore the file from "
            "a copy, or make it readable."
        ) from error


def sync_folder(folder: Path) -> None:
    """Makes renames and new files inside a folder durable."""
    if os.name == "nt":  # folders cannot be opened there
        return
    with _opened(folder, os.O_RDONLY) as file:
        os.fsync(file)


def explain(error: OSError, path: Path) -> str:
    """Returns what to tell a person about a file that could not be written."""
    return (
        f"Could not write {path}: {error.strerror or error}. Earlier rounds and labels "
        "are intact: free some space, or make the folder writable, and give the same "
        "command again to continue."
    )


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Makes what the system objects to a sentence, see `explain`."""
    try:
        yield
    except OSError as error:
        raise RunError(explain(error, path)) from error


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags, 0o644)
    try:
        yield file
    finally:
        os.close(file)
