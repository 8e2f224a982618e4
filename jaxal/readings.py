"""Readings: what a strategy looks at, as data; and strategies that are made of them.

Most strategies read some fields of a view, make something of them and hand that to a
selector. A `Reading` says which fields and what is made of them, so that a strategy is
one line, and what the loop has to compute follows from it:

    by_selector(k_center, features)                                  # Core-set
    by_selector(k_center, read(kl_embedding, logits))                # CDAL
"""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
from jax import Array

from jaxal import checks
from jaxal.doubts import check_apart
from jaxal.embeddings import (
    Dense,
    Embedding,
    as_embedding,
    gradient_embedding,
    random_projection,
)
from jaxal.embeddings.base import unit_rows
from jaxal.modes import any_promotion, held
from jaxal.pools.mapping import zeroed
from jaxal.types import Selection, Strategy, View, stateless


class Reading(NamedTuple):
    """Something that can be read off a view."""

    needs: frozenset[str]  # fields of the view
    of: Callable[[Any, View], Any]  # (key, view) -> what is read; a key where is_drawn
    is_drawn: bool = False  # whether the key matters
    reads_classes: bool = False  # whether outputs are read as logits of classes


def needs_of(readings: Iterable[Reading]) -> frozenset[str]:
    """Returns the fields of a view that readings need together."""
    return frozenset[str]().union(*(reading.needs for reading in readings))


def reads_classes(fn: Callable[..., Any], readings: Iterable[Reading]) -> bool:
    """Returns whether `fn` or what it is given reads outputs as logits of classes."""
    return checks.reads_classes(fn) or any(one.reads_classes for one in readings)


def read(fn: Callable[..., Any], *readings: Reading) -> Reading:
    """Returns what `fn` makes of other readings.

    Args:
      fn: of what the readings find, in their order.
      *readings: what it is given.

    Example:
      >>> from jaxal import entropy, read
      >>> from jaxal.readings import logits
      >>> sorted(read(entropy, logits).needs)
      ['logits']
    """

    def of(key: Any, view: View) -> Any:
        return fn(*(reading.of(key, view) for reading in readings))

    is_drawn = any(r.is_drawn for r in readings)
    return Reading(needs_of(readings), of, is_drawn, reads_classes(fn, readings))


def drawn(fn: Callable[..., Any], *readings: Reading) -> Reading:
    """Returns what `fn` makes of a key and other readings: a projection, a sample.

    Example:
      >>> from jaxal import drawn, random_projection
      >>> from jaxal.readings import features
      >>> drawn(lambda key, x: random_projection(key, x, 64), features).is_drawn
      True
    """

    def of(key: Array, view: View) -> Any:
        theirs, mine = key, key
        if any(r.is_drawn for r in readings):
            theirs, mine = jax.random.split(key)
        return fn(mine, *(reading.of(theirs, view) for reading in readings))

    return Reading(needs_of(readings), of, True, reads_classes(fn, readings))


def field(view: View, name: str) -> Array:
    """Returns one array of a view.

    Args:
      view: what may be seen of the pool.
      name: a field of `View`.

    Raises:
      ValueError: the view was made without it, it has other axes, or it is samples
        that all agree.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import View
      >>> from jaxal.readings import field
      >>> nobody = jnp.zeros(2, bool)
      >>> field(View(~nobody, nobody, logits=jnp.zeros([2, 3])), "logits").shape
      (2, 3)
    """
    value = getattr(view, name)
    if value is None:
        raise ValueError(
            f"The view has no {name}, which this strategy needs. Pass "
            f"View(is_available, is_labelled, {name}=...)."
        )
    if isinstance(value, np.ndarray):
        value = held(name, value, axis=int(name == "samples"), may_overflow=True)
    if name in checks.FIELDS:
        checks.check_field(name, value, view.is_available.shape[0])
    if name == "samples":
        is_used = view.is_available | view.is_labelled
        check_apart(value, is_used, view.is_labelled)
    return value


def masked(view: View) -> View:
    """Returns the view in which rows neither available nor labelled hold zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import View
      >>> from jaxal.readings import masked
      >>> free, known = jnp.array([True, False]), jnp.array([False, False])
      >>> masked(View(free, known, logits=jnp.full([2, 1], jnp.nan))).logits.tolist()
      [[nan], [0.0]]
    """
    is_used = view.is_available | view.is_labelled
    axes = {"logits": 0, "predictive": 0, "features": 0, "samples": 1, "rows": 0}
    kept: dict[str, Any] = {
        name: jax.tree.map(partial(zeroed, is_used, axis=axis), getattr(view, name))
        for name, axis in axes.items()
    }
    return view._replace(**kept)


def _whole(name: str) -> Reading:
    return Reading(frozenset({name}), lambda key, view: field(view, name))


logits, labels, samples = map(_whole, ("logits", "labels", "samples"))
features, inputs, predictive = map(_whole, ("features", "inputs", "predictive"))
is_labelled = Reading(frozenset(), lambda key, view: view.is_labelled)
is_used = Reading(frozenset(), lambda key, view: view.is_available | view.is_labelled)
unit_features = read(unit_rows, features)
gradients = read(jax.jit(gradient_embedding), logits, features)
gradients_with_bias = read(
    jax.jit(partial(gradient_embedding, bias=True)), logits, features
)
NAMED = {"logits": logits, "predictive": predictive, "samples": samples}
NAMED |= {"features": features, "unit_features": unit_features, "inputs": inputs}
NAMED |= {"gradients": gradients, "gradients_with_bias": gradients_with_bias}
"""Readings that settings and command lines can name."""


def reading(of: str | Reading) -> Reading:
    """Returns a reading by its name, and one that is given as it is.

    Raises:
      ValueError: there is none of that name.

    Example:
      >>> from jaxal.readings import reading
      >>> sorted(reading("gradients").needs)
      ['features', 'logits']
    """
    if isinstance(of, Reading):
        return of
    if of not in NAMED:
        raise ValueError(f"of is {of!r}, expected one of {', '.join(NAMED)}.")
    return NAMED[of]


def projected(of: str | Reading, num_dims: int) -> Reading:
    """Returns rows written out: as they are, or a few random coordinates of each."""
    return drawn(partial(_written_out, num_dims), reading(of))


@partial(jax.jit, static_argnums=0)
def _written_out(num_dims: int, key: Array, rows: Array | Embedding) -> Embedding:
    rows = as_embedding(rows)
    return rows if isinstance(rows, Dense) else random_projection(key, rows, num_dims)


def by_selector(
    selector: Callable[..., Selection], *readings: Reading | str, **settings: Any
) -> Strategy:
    """Returns the strategy that hands readings to a selector.

    Args:
      selector: `(key, embedding, is_available, is_labelled, *, batch_size, ...)`, such
        as `k_center`; one without `is_labelled` is not told what is labelled.
      *readings: what it is given before the masks; features by default.
      **settings: passed on; a `Reading` among them is read first. `is_labelled=None`
        hides the labelled rows.

    Returns:
      A `Strategy` that needs what is read.

    Example:
      >>> from jaxal import by_selector, k_means_plus_plus
      >>> from jaxal.readings import gradients
      >>> badge = by_selector(
      ...     k_means_plus_plus, gradients, is_labelled=None, first="largest_norm")
      >>> sorted(badge.needs)
      ['features', 'logits']
    """
    given = tuple(map(reading, readings)) or (features,)
    if "is_labelled" in inspect.signature(selector).parameters:
        settings = {"is_labelled": is_labelled, **settings}
    read_too = {k: v for k, v in settings.items() if isinstance(v, Reading)}
    fixed = {k: v for k, v in settings.items() if k not in read_too}
    everything = (*given, *read_too.values())

    @any_promotion
    def select(key: Array, view: View, batch_size: int) -> Selection:
        key_reading = key
        if any(one.is_drawn for one in everything):
            key_reading, key = jax.random.split(key)  # no key is consumed twice
        return selector(
            key,
            *(one.of(key_reading, view) for one in given),
            is_available=view.is_available,
            batch_size=batch_size,
            **{name: one.of(key_reading, view) for name, one in read_too.items()},
            **fixed,
        )

    of_classes = reads_classes(selector, everything)
    return stateless(needs_of(everything), select, reads_classes=of_classes)


def composed(
    selector: Callable[..., Selection],
    of: str | None = "features",
    *readings: Reading,
    **fixed: Any,
) -> Callable[..., Strategy]:
    """Returns the factory of `by_selector` whose settings are the selector's own.

    Args:
      selector: as for `by_selector`; its docstring describes the strategy.
      of: name of the reading that is its embedding, a setting that can be changed; None
        where `readings` say it all.
      *readings: what else it is given before the masks.
      **fixed: settings that cannot be changed.

    Returns:
      A function of keyword settings to a `Strategy`; defaults are the selector's.

    Example:
      >>> import inspect
      >>> from jaxal import max_herding
      >>> from jaxal.readings import composed
      >>> list(inspect.signature(composed(max_herding)).parameters)
      ['of', 'kernel', 'bandwidth', 'is_normalized', 'num_targets']
    """

    def make(**settings: Any) -> Strategy:
        first = settings.pop("of", of)
        given = readings if first is None else (reading(first), *readings)
        return by_selector(selector, *given, **settings, **fixed)

    left_out = {"batch_size", "mesh", "num_candidates", *fixed}
    one = inspect.Parameter("of", inspect.Parameter.KEYWORD_ONLY, default=of)
    extra = [] if of is None else [one.replace(annotation=str)]
    return derived(make, selector, left_out, extra)


def derived(
    make: Callable[..., Strategy],
    method: Callable[..., Any],
    left_out: Iterable[str] = (),
    extra: Iterable[inspect.Parameter] = (),
) -> Callable[..., Strategy]:
    """Returns a factory with the docstring of a method, and its settings as its own.

    Settings are the method's keyword-only parameters, less those that take arrays.

    Args:
      make: from keyword settings to a strategy.
      method: a selector or a score.
      left_out: parameters that are no settings.
      extra: settings besides.
    """
    parameters = [
        p
        for p in inspect.signature(method).parameters.values()
        if p.kind is p.KEYWORD_ONLY
        and p.name not in left_out
        and not (p.default is None and Array in get_args(p.annotation))
    ]
    make.__signature__ = inspect.Signature([*extra, *parameters])  # type: ignore[attr-defined]
    make.__name__, make.__doc__ = method.__name__, method.__doc__
    make.__module__ = method.__module__
    return make
