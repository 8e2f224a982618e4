"""Values are checked once, where they enter from outside."""

import numpy as np

from jaxal.data.types import Split


def checked(
    what: str,
    inputs: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    num_classes: int,
) -> Split:
    """A split of checked values.

    Args:
      what: what the user calls it, such as "x_train of pool.npz".
      inputs: `[N, ...]`, uint8 or floating.
      labels: `[N]`, whole numbers in `0 .. num_classes-1`.
      ids: `[N]`, distinct.
      num_classes: C.

    Returns:
      The split, inputs uint8 or float32, labels int32.

    Raises:
      TypeError: a dtype that is neither.
      ValueError: lengths that differ, labels out of range, NaN or infinite inputs.
    """
    inputs, labels = checked_inputs(what, inputs), _labels(what, labels, num_classes)
    if not len(inputs) == len(labels) == len(ids):
        raise ValueError(
            f"{what}: {len(inputs)} inputs, {len(labels)} labels and {len(ids)} ids; "
            "expected one label and one id for each input."
        )
    if len(np.unique(ids)) != len(ids):
        raise ValueError(f"{what}: ids repeat; expected one name for each row.")
    return Split(inputs, labels, ids)


def checked_inputs(what: str, inputs: np.ndarray) -> np.ndarray:
    """`inputs` as uint8 or finite float32, at least `[N, D]`; see `checked`."""
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise ValueError(
            f"{what}: inputs have shape {list(inputs.shape)}, expected [N, D] features "
            "or [N, H, W, C] images, none of them empty."
        )
    if inputs.dtype == np.uint8:
        if inputs.ndim not in (2, 4):
            raise ValueError(
                f"{what}: inputs are uint8 {list(inputs.shape)}, expected [N, H, W, C] "
                "images or [N, D] bytes. Reshape them, or pass float32 if they are "
                "neither."
            )
        return inputs
    if not np.issubdtype(inputs.dtype, np.floating):
        raise TypeError(
            f"{what}: inputs have dtype {inputs.dtype}, expected uint8 (images in 0 .. "
            "255) or floating point. Convert them with .astype(np.uint8) or "
            ".astype(np.float32)."
        )
    with np.errstate(over="ignore"):  # an overflow is counted just below
        inputs = inputs.astype(np.float32)
    num_nan, num_inf = int(np.isnan(inputs).sum()), int(np.isinf(inputs).sum())
    if num_nan or num_inf:
        rows = int((~np.isfinite(inputs)).reshape(len(inputs), -1).any(1).sum())
        raise ValueError(
            f"{what}: {num_nan} NaN and {num_inf} infinite values (as float32) in "
            f"{rows} of {len(inputs)} rows. Remove or repair these rows."
        )
    return inputs


def _labels(what: str, labels: np.ndarray, num_classes: int) -> np.ndarray:
    if labels.ndim != 1:
        raise ValueError(
            f"{what}: labels have shape {list(labels.shape)}, expected [N] class "
            "numbers. Use .ravel() on a column, .argmax(1) on one-hot rows."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"{what}: labels have dtype {labels.dtype}, expected integers 0 .. "
            f"{num_classes - 1}. Convert them with .astype(np.int32)."
        )
    bad = (labels < 0) | (labels >= num_classes)
    if bad.any():
        raise ValueError(
            f"{what}: {int(bad.sum())} of {len(labels)} labels lie outside 0 .. "
            f"{num_classes - 1}, the first at row {int(bad.argmax())}: "
            f"{int(labels[bad.argmax()])}. Count classes from 0, without gaps."
        )
    return labels.astype(np.int32)


def check_every_class(what: str, split: Split, class_names: tuple[str, ...]) -> None:
    """Raises ValueError naming the classes that have no example in `split`."""
    counts = np.bincount(split.labels, minlength=len(class_names))
    empty = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"{what}: no example of class {', '.join(empty)} among "
            f"{len(split.labels)} rows. Add examples, or leave the class out."
        )
