"""The files of a run: whole JSON files, lines, and the lock of its folder."""

import contextlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxal.data.locking import exclusive
from jaxal.runs import durable
from jaxal.runs.errors import RunError

Record = dict[str, Any]


class RunFiles(NamedTuple):
    """Where the parts of one run lie."""

    folder: Path

    @property
    def config(self) -> Path:
        """Everything that decides the result."""
        return self.folder / "config.json"

    @property
    def rounds(self) -> Path:
        """One line a round."""
        return self.folder / "rounds.jsonl"

    @property
    def queries(self) -> Path:
        """One line a label."""
        return self.folder / "queries.jsonl"

    @property
    def asked(self) -> Path:
        """What people have been asked and not answered yet."""
        return self.folder / "asked.json"

    @property
    def checkpoint(self) -> Path:
        """The state after the last complete rounds."""
        return self.folder / "checkpoint"

    @property
    def figures(self) -> Path:
        """Pictures."""
        return self.folder / "figures"


def encode(value: Any) -> str:
    """Returns `value` as one line of strict JSON; what is not finite becomes null.

    Args:
      value: dicts, lists, strings, numbers, None, and NumPy or JAX scalars.

    Returns:
      One line without its end. A float32 is written so that reading gives it back.

    Example:
      >>> import numpy as np
      >>> from jaxal.runs.store import encode
      >>> encode({"round": np.int32(1), "nll": float("nan")})
      '{"round": 1, "nll": null}'
    """
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)


def write_json(path: Path, value: Any) -> None:
    """Replaces the file by `value` such that a reader finds the old or the new one.

    Args:
      path: the file.
      value: as for `encode`.

    Raises:
      RunError: the disk is full or the folder cannot be written.
    """
    text = json.dumps(json.loads(encode(value)), indent=2, ensure_ascii=False) + "\n"
    durable.replace_file(path, text.encode())


def append_lines(path: Path, records: Sequence[Record]) -> None:
    """Appends one JSON line a record; on return they are on disk.

    Killed halfway, the file ends in a torn line, which `repair_lines` removes.

    Args:
      path: the file, made when it does not exist.
      records: as for `encode`, one line each.

    Raises:
      RunError: the disk is full; the file is as it was before the call.
    """
    try:
        content = "".join(encode(record) + "\n" for record in records).encode()
    except UnicodeEncodeError as error:
        raise RunError(
            f"{path} cannot hold half a character, such as that after "
            f"{error.object[max(error.start - 40, 0) : error.start]!r}. "
            "Nothing was written down; mend it where it comes from."
        ) from None
    durable.append(path, content)


def read_lines(path: Path) -> list[Record]:
    """Returns the complete lines of a file, a torn last one left out.

    Args:
      path: the file; one that does not exist has no lines.

    Raises:
      RunError: a line that is not the last is damaged, or the file cannot be read.
    """
    lines = _whole(durable.content_of(path)).splitlines()
    return [_decode(path, number, line) for number, line in enumerate(lines, start=1)]


def repair_lines(path: Path) -> list[Record]:
    """Cuts off a torn last line, ends a whole one, and returns the lines that are."""
    content = durable.content_of(path)
    if (whole := _whole(content)) != content:
        durable.replace_file(path, whole)
    return read_lines(path)


def rewrite_lines(path: Path, records: Sequence[Record]) -> None:
    """Replaces the lines of a file as a whole, see `append_lines`."""
    content = "".join(encode(record) + "\n" for record in records)
    durable.replace_file(path, content.encode())


def read_json(path: Path) -> Any:
    """Returns what `write_json` wrote.

    Raises:
      RunError: there is no such file, or it is not JSON.
    """
    if not path.exists():
        raise RunError(f"{path} does not exist. Is this the folder of a run?")
    try:
        return _parsed(durable.content_of(path))
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}). Use --overwrite or another --name."
        ) from None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of the same run; a killed process leaves no lock.

    Args:
      folder: the run's folder, made when it does not exist.

    Raises:
      RunError: another process holds it, or the folder cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder / ".lock", f"{folder}", wait=False))
        except BlockingIOError:
            raise RunError(
                f"{folder} is being run by another process. "
                "Wait for it, or choose another --name."
            ) from None
        except OSError as error:
            raise RunError(
                f"{folder} cannot be written: {error.strerror or error}. Choose "
                "another --output, or make this one writable."
            ) from error
        yield


def clear(files: RunFiles) -> None:
    """Removes what a run wrote, and nothing else; the config goes last.

    A kill in between leaves a folder that still says whose it is.
    """
    shutil.rmtree(files.checkpoint, ignore_errors=True)
    shutil.rmtree(files.figures, ignore_errors=True)
    for path in (files.rounds, files.queries, files.asked, files.config):
        with durable.explained(path):
            path.unlink(missing_ok=True)
    durable.sync_folder(files.folder)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _decode(path: Path, number: int, line: bytes) -> Record:
    try:
        return _parsed(line)
    except ValueError:
        raise RunError(
            f"Line {number} of {path} is damaged. Restore the file from a copy, or "
            "start again with --overwrite."
        ) from None


def _parsed(content: bytes) -> Any:
    """What JSON says; half a character, which could not be written, is refused."""
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _whole(content: bytes) -> bytes:
    """The lines that were written to their end; a record may lack the line's alone."""
    last = content[content.rfind(b"\n") + 1 :]
    with contextlib.suppress(ValueError):
        if isinstance(_parsed(last), dict):
            return content + b"\n"
    return content.removesuffix(last)
