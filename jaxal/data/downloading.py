"""Files from the network: whole and verified, or a clear error and nothing."""

import contextlib
import errno
import glob
import hashlib
import http.client
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, NamedTuple

from jaxal.data.extras import require
from jaxal.data.types import UnavailableError

OPEN_SECONDS = 10.0  # name look-up, connection and headers together
READ_SECONDS = 30.0  # without a byte
SLOWEST = 20_000  # bytes a second, over the whole of a file
BLOCK = 1 << 18


class Download(NamedTuple):
    """A file, where it is published, and what it must be."""

    url: str
    size: int  # bytes
    sha256: str  # hexadecimal
    filename: str


def fetch(download: Download, folder: Path) -> Path:
    """Downloads a file into `folder`, or finds it there.

    Args:
      download: what and where from.
      folder: made where absent; a file of that name in it is verified and used, so
        that people without a network can put it there by hand.

    Returns:
      The path of the verified file. It gets its name only once it is whole.

    Raises:
      UnavailableError: no connection, a broken transfer or one that would not end, a
        wrong size or checksum, no space left.
    """
    place = folder / download.filename
    for left in folder.glob(f"{glob.escape(download.filename)}.*.part"):
        with contextlib.suppress(OSError):  # of a process that was killed
            left.unlink()
    if place.exists():
        with place.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != download.sha256:
            raise UnavailableError(
                f"{place} has SHA-256 {got}, expected {download.sha256}: it is not the "
                "published file. Delete it, and it is downloaded again."
            )
        return place
    folder.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            got = _copy(download, file)
        if got != download.sha256:
            raise UnavailableError(
                f"{download.url} has SHA-256 {got}, expected {download.sha256}; "
                "nothing was kept. Try again later, or get the file another way and "
                f"put it at {place}."
            )
        part.replace(place)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(
                f"no space left in {folder} for {download.filename} "
                f"({download.size / 1e6:.0f} MB). Free some, or choose another "
                "data_dir."
            ) from error
        raise UnavailableError(
            f"{download.url} cannot be downloaded ({error}). Try again with a network, "
            f"or put the file at {place}."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return place


def _copy(download: Download, file: IO[bytes]) -> str:
    """Copies the body to `file`; returns its SHA-256."""
    tqdm = require("tqdm", "downloading")
    megabytes = download.size / 1e6
    print(f"jaxal: downloading {download.url} ({megabytes:.1f} MB)", file=sys.stderr)
    digest, done = hashlib.sha256(), 0
    bar = tqdm.tqdm(
        total=download.size,
        desc=download.filename,
        unit="B",
        unit_scale=True,
        disable=None,
    )
    limit = READ_SECONDS + download.size / SLOWEST
    end = time.monotonic() + limit
    with _open(download.url) as response, bar:
        # One byte too many is enough to know that it is another file; what has come is
        # looked at as it comes, or a byte now and then would never end.
        while done <= download.size and (block := response.read1(BLOCK)):
            if time.monotonic() > end:
                raise TimeoutError(f"{done} bytes within {limit:.0f} seconds: too slow")
            file.write(block)
            digest.update(block)
            done += len(block)
            bar.update(len(block))
    if done != download.size:
        raise OSError(f"got {done} bytes, expected {download.size}")
    return digest.hexdigest()


def _open(url: str) -> Any:
    """`urlopen` with a limit on the whole of it, name look-up included.

    A socket timeout does not cover the look-up, which can take minutes on a machine
    whose packets are dropped. The thread is a daemon: it never delays an exit.
    """
    result: list[Any] = []
    given_up = threading.Event()

    def run() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "jaxal"})
        try:
            result.append(urllib.request.urlopen(request, timeout=READ_SECONDS))
        except urllib.error.HTTPError as error:
            error.close()  # it is the response, too
            result.append(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            result.append(error)
        if given_up.is_set() and not isinstance(result[0], Exception):
            result[0].close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(OPEN_SECONDS)
    if not result:
        given_up.set()
        raise TimeoutError(f"no answer within {OPEN_SECONDS:.0f} seconds")
    if isinstance(result[0], Exception):
        raise OSError(str(result[0])) from result[0]
    return result[0]
