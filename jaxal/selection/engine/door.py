"""The door of every selector: what is checked, cleaned and blanked for all of them.

A selector says only what it does with rows that are sound. Its arguments are known by
their names: the door checks their types and shapes, finds the mesh, refuses rows that
are no numbers, and puts rows that are neither available nor labelled to zero, so that
nothing they hold can reach a sum. What it returns is blanked where it is not valid.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import checks
from jaxal.embeddings import Embedding, as_embedding
from jaxal.embeddings.compositions import unmasked
from jaxal.modes import any_promotion, held
from jaxal.pools.mesh import find_mesh
from jaxal.selection.engine.sound import FACTORS, row_axis, sound_rows
from jaxal.types import Selection

P = ParamSpec("P")
R = TypeVar("R")

_MASKS = ("is_available", "is_labelled", "is_used", "is_candidate")
_CLASSES = ("labels", "predictions", "assumed")  # whole numbers: nothing to clean
_SHAPES = {  # of arguments with an entry for each row
    "scores": "[N]",
    "log_weights": "[N]",
    "weights": "[N]",
    "uncertainty": "[N]",
    "fallback": "[N]",
    "logits": "[N, C]",
    "sample_logits": "[S, N, C]",
} | dict.fromkeys(_CLASSES, "[N]")
_SETS = ("query", "private")  # rows beside the pool


class Rows(NamedTuple):
    """What a selector is given of the rows of the pool."""

    embedding: Embedding  # [N]
    is_available: Array  # [N]
    is_labelled: Array | None  # [N]

    @property
    def is_used(self) -> Array:
        """Rows that are available or labelled, `[N]` bool."""
        if self.is_labelled is None:
            return self.is_available
        return self.is_available | self.is_labelled

    @property
    def is_centre(self) -> Array:
        """Labelled rows, `[N]` bool, where None stands for no such rows."""
        if self.is_labelled is None:
            return jnp.zeros_like(self.is_available)
        return self.is_labelled


def pool_rows(
    embedding: Array | Embedding, is_available: Array, is_labelled: Array | None = None
) -> Rows:
    """Returns the rows of arguments that have come through the door."""
    return Rows(as_embedding(embedding), is_available, is_labelled)


def selector(fn: Callable[P, R]) -> Callable[P, R]:
    """Returns a selector that checks its arguments, and blanks what is not valid.

    Rows that are available or labelled and hold NaN or infinity are refused where
    values are known; where they are traced, the whole selection is invalid. (-inf is a
    score, and the logit of a class of probability 0.) Rows that are neither read as
    zero. Invalid picks have index `N`, of int32, and score -inf.

    Args:
      fn: finds checked arrays in `embedding` or what else it is given of the rows (an
        `Embedding` in `embedding`, all rows in an `is_used` of None, the mesh in
        `mesh`), and need not look at them again.

    Returns:
      A function of the same signature.
    """
    signature = inspect.signature(fn)

    @functools.wraps(fn)
    @any_promotion
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return fn(*args, **kwargs)  # says what is missing in Python's words
        num_rows, is_sound = _admit(bound.arguments, signature.parameters)
        found = fn(*bound.args, **bound.kwargs)
        blank = functools.partial(_blanked, is_sound=is_sound, num_rows=num_rows)
        return jax.tree.map(blank, found, is_leaf=_is_selection)

    return guarded


def within(fn: Callable[P, R]) -> Callable[P, R]:
    """Returns a selector without its door, for what has come through one already."""
    return inspect.unwrap(fn)


def _admit(given: dict[str, Any], parameters: Any) -> tuple[int, Array | None]:
    """Checks and cleans the arguments; returns `N`, and whether all is sound."""
    with jax.ensure_compile_time_eval():  # what is known is so within a trace too
        given |= {n: _held(n, v) for n, v in given.items() if _is_on_host(n, v)}
    if "key" in parameters:
        checks.check_key(given["key"])
    rows = {n: _as_rows(n, v) for n, v in given.items() if _is_of_rows(n, v)}
    sizes = {name: _num_rows(name, value) for name, value in rows.items()}
    num_rows = next(iter(sizes.values()))
    if given.get("is_used") is None and "is_used" in parameters:
        given["is_used"] = jnp.ones(num_rows, bool)
    masks = {name: given[name] for name in _MASKS if given.get(name) is not None}
    for name, mask in masks.items():
        checks.check_mask(name, mask, num_rows)
        given[name] = masks[name] = jnp.asarray(mask)
    if "batch_size" in parameters:
        checks.check_batch_size(given["batch_size"], num_rows)
    for name, size in sizes.items():
        _check_size(name, rows[name], size, num_rows)
    rows |= _like_the_rows(rows)
    if "mesh" in parameters:
        given["mesh"] = find_mesh(given.get("mesh"), (rows, masks))
    given |= rows
    real = {name: value for name, value in rows.items() if name not in _CLASSES}
    cleaned, is_sound = sound_rows(real, _used(given))
    given |= cleaned
    for name in _SETS:
        is_sound = _admit_set(given, name, is_sound)
    return num_rows, is_sound


def _admit_set(
    given: dict[str, Any], name: str, is_sound: Array | None
) -> Array | None:
    """Does for rows beside the pool what is done for it."""
    if given.get(name) is None:
        return is_sound
    rows, mask = as_embedding(given[name]), given.get(f"is_{name}")
    mask = jnp.ones(rows.num_rows, bool) if mask is None else mask
    checks.check_mask(f"is_{name}", mask, rows.num_rows)
    found, is_fine = sound_rows({name: rows}, jnp.asarray(mask))
    given |= {name: unmasked(found[name]), f"is_{name}": jnp.asarray(mask)}
    if is_sound is None or is_fine is None:
        return is_fine if is_sound is None else is_sound
    return is_sound & is_fine


def _is_on_host(name: str, value: Any) -> bool:
    is_list = isinstance(value, list) and name in ("embedding", *_MASKS, *_SHAPES)
    return is_list or isinstance(value, np.ndarray)


def _held(name: str, value: Any) -> Array:
    value = np.asarray(value)
    return jnp.asarray(held(name, value, axis=row_axis(name), may_overflow=True))


def _is_of_rows(name: str, value: Any) -> bool:
    return value is not None and name in ("embedding", "fisher", *_SHAPES)


def _as_rows(name: str, value: Any) -> Any:
    if name == "embedding":
        return as_embedding(value)
    if name == "fisher":
        return value
    value, shape = jnp.asarray(value), _SHAPES[name]
    rank = shape.count(",") + 1
    checks.check_rank(name, value, rank, shape, "Pass what belongs to each row.")
    if name in _CLASSES:
        checks.check_whole(name, value)
        return value.astype(jnp.int32)
    if name != "fallback":
        checks.check_floating(name, value, "Cast it, to float32 for example.")
    if name in ("logits", "sample_logits"):
        checks.check_has_classes(name, value)
    return value


def _like_the_rows(rows: dict[str, Any]) -> dict[str, Array]:
    """Returns factors in the dtype of what they multiply, or loops would widen."""
    if "embedding" not in rows:
        return {}
    dtype = rows["embedding"].dtype
    return {name: rows[name].astype(dtype) for name in FACTORS if name in rows}


def _num_rows(name: str, value: Any) -> int:
    return int(jax.tree.leaves(value)[0].shape[row_axis(name)])


def _check_size(name: str, value: Any, size: int, num_rows: int) -> None:
    if size != num_rows:
        shape = list(jnp.shape(jax.tree.leaves(value)[0]))
        raise ValueError(
            f"{name} has shape {shape}, expected {_SHAPES.get(name, '[N]')} with N = "
            f"{num_rows}: one number for each row of the pool."
        )


def _used(given: dict[str, Any]) -> Array:
    """Returns the rows that count: available or labelled, `[N]` bool."""
    if "is_used" in given:
        return given["is_used"]
    if given.get("is_labelled") is not None:
        return given["is_available"] | given["is_labelled"]
    if "labels" in given:
        return given["is_available"] | (given["labels"] >= 0)
    return given["is_available"]


def _is_selection(value: Any) -> bool:
    return isinstance(value, Selection)


def _blanked(found: Any, *, is_sound: Array | None, num_rows: int) -> Any:
    return blank(found, is_sound, num_rows) if _is_selection(found) else found


@functools.partial(jax.jit, static_argnums=2)
def blank(found: Selection, is_sound: Array | None, num_rows: int) -> Selection:
    """Returns a selection, blanked where it is not valid, or not sound at all."""
    is_valid = found.is_valid if is_sound is None else found.is_valid & is_sound
    return Selection(
        indices=jnp.where(is_valid, found.indices, num_rows).astype(jnp.int32),
        scores=jnp.where(is_valid, found.scores, -jnp.inf),
        is_valid=is_valid,
    )
