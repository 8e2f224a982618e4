"""A user's own arrays, in a `.npz` file."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxal.data.types import Content
from jaxal.data.values import check_every_class, checked

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> Content:
    """Reads arrays that the user saved with `np.savez`.

    The keys are `x_train`, `y_train`, `x_test`, `y_test`; or `inputs` and `labels`, of
    which a fixed fifth becomes the test split. `class_names` is optional. Inputs are
    uint8 images `[N, H, W, C]` or `[N, H, W]`, or floating `[N, ...]`; labels are
    integers `0 .. C-1`, or strings. Every class needs an example to train on. Ids are
    positions in the file, such as "train_17".

    Args:
      path: the file.

    Returns:
      Its content.

    Raises:
      ValueError: a key is missing, or values that cannot be.
      TypeError: a wrong dtype.
    """
    arrays = _load_npz(path)
    if "inputs" in arrays and "labels" in arrays:
        pairs = {"": ("inputs", "labels")}
    elif all(key in arrays for key in KEYS):
        pairs = {"train": KEYS[:2], "test": KEYS[2:]}
    else:
        missing = [key for key in KEYS if key not in arrays]
        raise ValueError(
            f"{path} holds {sorted(arrays)}; missing {missing}. Expected "
            f"{', '.join(KEYS)}, or 'inputs' and 'labels'."
        )
    labels = {y: arrays[y] for _, y in pairs.values()}
    class_names, labels = _numbered(path, labels, arrays.get("class_names"))
    splits = []
    for prefix, (x, y) in pairs.items():
        inputs = arrays[x]
        if inputs.dtype == np.uint8 and inputs.ndim == 3:
            inputs = inputs[..., None]
        num_rows = len(np.atleast_1d(inputs))  # which is refused below, if it is none
        ids = np.array([f"{prefix or 'row'}_{i}" for i in range(num_rows)])
        what = f"{x} and {y} of {path}"
        splits.append(checked(what, inputs, labels[y], ids, len(class_names)))
    train, test = splits[0], splits[1] if len(splits) == 2 else None
    if test is not None and test.inputs.shape[1:] != train.inputs.shape[1:]:
        raise ValueError(
            f"{path}: x_train rows are {list(train.inputs.shape[1:])}, x_test rows are "
            f"{list(test.inputs.shape[1:])}; expected one shape."
        )
    if test is not None and test.inputs.dtype != train.inputs.dtype:
        raise TypeError(
            f"{path}: x_train is {train.inputs.dtype}, x_test is {test.inputs.dtype}; "
            "expected one dtype."
        )
    check_every_class(f"{path}", train, class_names)
    return Content(train, test, class_names, f"arrays of {path}")


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, or no plain one. Save one with np.savez."
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a whole .npz file. Save one with np.savez.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            # What is no array comes as bytes, and counts as missing.
            return {k: v for k, v in arrays.items() if isinstance(v, np.ndarray)}
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}). Save it again.") from error
    except MemoryError as error:
        raise ValueError(
            f"{path} does not fit into memory ({error}). Save fewer rows, or uint8."
        ) from error
    except Exception as error:  # headers are parsed as Python, which raises many
        raise ValueError(
            f"{path} cannot be read: {error} Save plain arrays, one dtype and shape "
            "each; pickled objects are never loaded."
        ) from error


def _numbered(
    path: Path, labels: dict[str, np.ndarray], given: np.ndarray | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names, and the labels as class numbers."""
    names = None if given is None else np.ravel(given).astype(str).tolist()
    if names is not None and len(set(names)) < len(names):
        raise ValueError(f"{path}: class_names {names} repeat; expected one a class.")
    kinds = {y.dtype.kind == "U" for y in labels.values()}
    if len(kinds) > 1:
        raise TypeError(f"{path}: {' and '.join(labels)} are strings and numbers.")
    everything = {label for y in labels.values() for label in np.ravel(y).tolist()}
    if kinds == {True}:
        known = sorted(everything) if names is None else names
        strange = sorted(everything - set(known))
        if strange:
            raise ValueError(f"{path}: labels {strange[:5]} are not in class_names.")
        number = {name: i for i, name in enumerate(known)}
        return tuple(number), {
            key: np.vectorize(number.__getitem__, otypes=[int])(y)
            for key, y in labels.items()
        }
    if names is not None:
        return tuple(names), labels
    # As many classes as there are distinct labels: then a gap is a label out of range.
    return tuple(str(c) for c in range(len(everything))), labels
