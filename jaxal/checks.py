"""Refusals of what can be known at trace time; every message names the cure."""

import difflib
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal.doubts import warn_of_probabilities

F = TypeVar("F", bound=Callable[..., Any])
FOR_REGRESSION = (
    "For a regression ask by_score(predictive_variance, 'samples'), bait_regression, "
    "coreset, lcmd(of='features') or max_det(of='features'); `jaxal strategies` says "
    "which read classes."
)

_MOST_ROWS = 2**31 - 1
FIELDS = {
    "labels": "[N]",
    "logits": "[N, C]",
    "predictive": "[N, C]",
    "samples": "[S, N, C]",
    "features": "[N, D]",
}
"""Axes of the arrays of a view, `N` being its rows."""
_CURES = {
    "samples": "Put the samples first, jnp.moveaxis(samples, axis, 0), and join the "
    "draws of several chains: samples.reshape(-1, N, C).",
    "features": "Make them one vector a row: features.mean((1, 2)) of an image's, or "
    "features.reshape(N, -1).",
}


def check_rank(name: str, array: Array, rank: int, shape: str, cure: str) -> None:
    """Raises ValueError unless `array` has exactly `rank` axes.

    Args:
      name: what the caller calls the array.
      array: anything with a shape.
      rank: the number of axes expected.
      shape: the expected shape in letters, such as "[N, C]".
      cure: what to do about it, a full sentence.

    Raises:
      ValueError: `array` has another number of axes.
    """
    if jnp.ndim(array) != rank:
        got = list(jnp.shape(array))
        raise ValueError(f"{name} has shape {got}, expected {shape}. {cure}")


def check_field(name: str, array: Array, num_rows: int) -> None:
    """Raises unless an array of a view, or of a model, has one entry for each row.

    Args:
      name: one of `FIELDS`.
      array: anything with a shape.
      num_rows: of the view, or what the model was asked about.

    Raises:
      ValueError: it has other axes.
    """
    shape, got = FIELDS[name], list(jnp.shape(array))
    letters = shape.strip("[]").split(", ")
    if len(got) != len(letters) or got[letters.index("N")] != num_rows:
        cure = _CURES.get(name, "Pass one entry for each row.")
        raise ValueError(
            f"{name} has shape {got}, expected {shape} with N = {num_rows} rows. {cure}"
        )


def check_min_rank(name: str, array: Array, rank: int, shape: str, cure: str) -> None:
    """Raises ValueError unless `array` has at least `rank` axes, see `check_rank`."""
    if jnp.ndim(array) < rank:
        got = list(jnp.shape(array))
        raise ValueError(f"{name} has shape {got}, expected {shape}. {cure}")


def check_has_classes(name: str, array: Array) -> None:
    """Raises ValueError where the last axis, that of the classes, has less than two.

    Warns where known numbers look like probabilities.
    """
    if (num := jnp.shape(array)[-1]) < 2:
        raise ValueError(
            f"{name} has shape {list(jnp.shape(array))}, expected a column for each "
            f"class on the last axis, at least 2: {num} has no classes to doubt. Check "
            "num_classes of the model. For a sigmoid's logit z pass the two columns "
            f"[0, z]. {FOR_REGRESSION}"
        )
    warn_of_probabilities(name, array)


def check_last_layer(logits: Array, features: Array) -> None:
    """Raises unless these are floating point logits `[N, C]` and features `[N, D]`."""
    cure = "Pass what the last layer gives and what it sees, a row for each example."
    for name, array, shape in (
        ("logits", logits, "[N, C]"),
        ("features", features, "[N, D]"),
    ):
        check_rank(name, array, 2, shape, cure)
        check_floating(name, array, "Cast them, to float32 for example.")
    check_has_classes("logits", logits)
    if logits.shape[0] != features.shape[0]:
        raise ValueError(
            f"logits have {logits.shape[0]} rows and features {features.shape[0]}, "
            f"expected as many. {cure}"
        )


def of_classes(fn: F) -> F:
    """Marks a function that reads outputs as logits of classes, and labels as such."""
    fn.reads_classes = True  # type: ignore[attr-defined]
    return fn


def reads_classes(fn: Any) -> bool:
    """Returns whether a function is marked `of_classes`, under whatever wraps it."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    inner = getattr(fn, "__wrapped__", None)
    is_marked = getattr(fn, "reads_classes", False)
    return is_marked or (inner is not None and reads_classes(inner))


def check_floating(name: str, array: Array, cure: str) -> None:
    """Raises TypeError unless `array` is floating point."""
    dtype = jnp.result_type(array)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {dtype}, expected floating point. {cure}")


def check_whole(name: str, array: Array) -> None:
    """Raises TypeError unless `array` holds integers, the numbers of classes."""
    dtype = jnp.result_type(array)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"{name} has dtype {dtype}, expected integers: class numbers from 0, and "
            "-1 where nobody has answered. jaxal.label_names makes them."
        )


def check_mask(name: str, mask: Array, num_rows: int) -> None:
    """Raises unless `mask` is a bool array of shape `[num_rows]`."""
    dtype = jnp.result_type(mask)
    if dtype != jnp.bool_:
        raise TypeError(
            f"{name} has dtype {dtype}, expected bool. "
            "Pass a mask with one entry a row, not a list of indices."
        )
    if jnp.shape(mask) != (num_rows,):
        raise ValueError(
            f"{name} has shape {list(jnp.shape(mask))}, expected [{num_rows}]: "
            "one entry for each row of the pool."
        )


def check_key(key: Array) -> None:
    """Raises TypeError unless `key` is one typed key, as `jax.random.key` makes."""
    is_typed = isinstance(key, jax.Array) and jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    if not is_typed:
        raise TypeError(
            f"key is {type(key).__name__}, expected a typed key. "
            "Make one with jax.random.key(seed); wrap an old one with "
            "jax.random.wrap_key_data(key)."
        )
    if key.shape != ():
        raise ValueError(
            f"key has shape {list(key.shape)}, expected one key. "
            "Index the array of keys, or use jax.vmap over it."
        )


def check_rows(name: str, rows: Any, num_rows: int) -> None:
    """Raises unless known `rows` `[K]` are distinct integers in `0 .. num_rows - 1`."""
    if rows.ndim != 1 or not (np.issubdtype(rows.dtype, np.integer) or not rows.size):
        raise ValueError(
            f"{name} has dtype {rows.dtype} and shape {list(rows.shape)}, expected "
            "integers [K]: numbers of rows."
        )
    if (bad := rows[(rows < 0) | (rows >= num_rows)]).size:
        raise ValueError(
            f"{name} names {bad.tolist()}, expected rows 0 to {num_rows - 1} of the "
            "pool. Nothing was written down."
        )
    found, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{name} names {found[counts > 1].tolist()} more than once, expected each "
            "row once. Let one answer stand for several, such as that of the majority."
        )


def check_classes(name: str, labels: Any, num_classes: int, cure: str) -> None:
    """Raises ValueError unless known `labels` are in `0 .. num_classes - 1`."""
    labels = np.asarray(labels)
    if not (labels.dtype == bool or np.issubdtype(labels.dtype, np.integer)):
        raise ValueError(
            f"{name} has dtype {labels.dtype}, expected classes 0 to "
            f"{num_classes - 1} as integers. {cure}"
        )
    is_odd = (labels < 0) | (labels >= num_classes)
    if is_odd.any():
        raise ValueError(
            f"{name} holds {np.unique(labels[is_odd])[:5].tolist()}, expected classes "
            f"0 to {num_classes - 1}. {cure}"
        )


def check_batch_size(batch_size: int, num_rows: int) -> None:
    """Raises unless `batch_size` is a Python int in `1 .. num_rows`."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise TypeError(
            f"batch_size is {type(batch_size).__name__}, expected a Python int: it "
            "sets an output shape, so under jax.jit it must be a static argument. Pass "
            "int(batch_size)."
        )
    check_countable(num_rows)
    if not 1 <= batch_size <= num_rows:
        raise ValueError(
            f"batch_size is {batch_size}, expected 1 to {num_rows}, the number of "
            "rows. Ask for fewer picks, or pass a larger pool."
        )


def check_countable(num_rows: int) -> None:
    """Raises ValueError for more rows than int32 has numbers for."""
    if num_rows > _MOST_ROWS:
        raise ValueError(
            f"The pool has {num_rows} rows, expected at most {_MOST_ROWS}: rows are "
            "numbered in int32. Choose from a random part of it, or part by part."
        )


def check_positive(**numbers: float) -> None:
    """Raises ValueError unless every number is at least 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}, expected at least 1.")


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'this'?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""
