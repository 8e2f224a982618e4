"""Preparing data sets in TFDS's layout, four of them without TensorFlow.

For cifar10, cifar100, mnist and fashion_mnist the builders are TFDS's own, so names,
versions, features and descriptions are its, and plain `tfds.data_source` reads the
result. Only the methods that open files, which call TensorFlow there, are replaced:
archives are read with the standard library, images handed over as PNG bytes.
"""

import contextlib
import importlib.util
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxal.data.archives import READERS, Archive, Record
from jaxal.data.downloading import Download, fetch
from jaxal.data.extras import quiet, require
from jaxal.data.locking import exclusive
from jaxal.data.reading import image_and_label
from jaxal.data.types import UnavailableError


def prepare(
    name: str,
    data_dir: Path,
    *,
    download: bool = True,
    downloads: Sequence[Download] | None = None,
) -> Path:
    """Downloads and prepares a data set, unless it is or another process just did.

    Args:
      name: a key of `READERS`, or any other name TFDS knows.
      data_dir: the folder of all data sets.
      download: whether that is allowed.
      downloads: where from, with size and checksum; by default what TFDS registers.
        For keys of `READERS` only.

    Returns:
      The folder with the prepared data set.

    Raises:
      ValueError: TFDS knows no such version or config, or it holds no labelled images.
      UnavailableError: no network, a broken transfer, a wrong checksum, a bad archive,
        no permission to write, downloading switched off. Nothing that could be taken
        for prepared is left behind.
      ImportError: TFDS is not installed, or preparing needs TensorFlow, which is not.
    """
    tfds = require("tensorflow_datasets", f"preparing {name}")
    # TFDS needs it to prepare, and does not say so.
    require("importlib_resources", f"preparing {name}")
    try:
        with quiet():
            builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(f"TFDS has no {name!r}: {error}") from error
    image_and_label(tfds, builder, name)  # before anything is downloaded
    folder = Path(builder.data_dir)
    if _is_prepared(folder):
        return folder
    if not download:
        raise UnavailableError(
            f"{name} is not prepared in {data_dir}, and downloading is switched off. "
            "Allow the download, or pass the data_dir where it is prepared."
        )
    lock = data_dir / "jaxal_cache" / f"prepare-{builder.name}.lock"
    try:
        with exclusive(lock, f"preparing {name}"), _on_stderr(tfds), quiet():
            if not folder.exists() and name in READERS:
                _prepare_known(tfds, name, folder, data_dir, downloads)
            elif not folder.exists():
                _prepare_with_tensorflow(builder, name, data_dir)
    except OSError as error:
        raise UnavailableError(
            f"{name} cannot be prepared in {data_dir} ({error})."
        ) from error
    if not _is_prepared(folder):
        raise UnavailableError(
            f"{folder} exists but was never completed. Delete it and try again."
        )
    return folder


def _is_prepared(folder: Path) -> bool:
    # TFDS writes next to the folder and renames, this file last of all.
    return (folder / "dataset_info.json").is_file()


@contextlib.contextmanager
def _on_stderr(tfds: Any) -> Iterator[None]:
    """TFDS tells its progress on stdout, which is for results."""
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _prepare_known(
    tfds: Any,
    name: str,
    folder: Path,
    data_dir: Path,
    downloads: Sequence[Download] | None,
) -> None:
    own = type(tfds.builder(name, data_dir=data_dir))
    if downloads is None:
        downloads = [
            Download(url, int(info.size), info.checksum, info.filename)
            for url, info in own.url_infos.items()
        ]
    store = data_dir / "downloads" / name
    files = {download.filename: fetch(download, store) for download in downloads}
    # A place of jaxal's own, where what a killed process left can only be that.
    staging = folder.parent / "jaxal_incomplete"
    shutil.rmtree(staging, ignore_errors=True)
    builder = _without_tensorflow(tfds, own, READERS[name](files))(
        data_dir=staging, file_format="array_record"
    )
    try:
        builder.download_and_prepare()
        Path(builder.data_dir).rename(folder)
    except UnavailableError:  # a damaged archive
        raise
    except RuntimeError as error:  # array_record has no error type of its own
        raise UnavailableError(
            f"{name} cannot be written to {data_dir} ({error}). Free some space, or "
            "choose another data_dir."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _without_tensorflow(tfds: Any, own: Any, archive: Archive) -> Any:
    """TFDS's builder class, with its examples taken from `archive`."""
    with tfds.core.registered.skip_registration():

        class Prepared(own):
            name = own.name
            pkg_dir_path = own.pkg_dir_path

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                del dl_manager  # the archive is already here and verified
                for feature, names in archive.label_names.items():
                    self.info.features[feature].names = names
                return {
                    "train": self._generate_examples(archive.train),
                    "test": self._generate_examples(archive.test),
                }

            def _generate_examples(
                self, records: Iterator[Record]
            ) -> Iterator[tuple[int, Record]]:
                # The position is TFDS's own key, and its order follows the key.
                for key, record in enumerate(records):
                    yield key, {**record, "image": _png(record["image"])}

    # Recorded in the prepared folder: where the features are defined.
    Prepared.__module__ = own.__module__
    return Prepared


def _png(image: Any) -> io.BytesIO:
    """An encoded image: TFDS takes bytes as they are, arrays only with TensorFlow."""
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    file = io.BytesIO()
    require("PIL.Image", "encoding images").fromarray(pixels).save(file, "png")
    file.seek(0)
    return file


def _prepare_with_tensorflow(builder: Any, name: str, data_dir: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            f"{name} is not prepared in {data_dir}. Preparing it needs TensorFlow "
            "(only this once, reading it does not): pip install 'jaxal[prepare]'"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever TFDS and its builders raise
        raise UnavailableError(f"TFDS cannot prepare {name}: {error}") from error
