"""Scores of many rows: entropy, margin, BALD."""

import math
from collections.abc import Iterator

import jax

import jaxal
from accelerator.measuring import best, compiled, timed_calls
from accelerator.plan import Context, Row

SCORES = {"entropy": jaxal.entropy, "margin": jaxal.margin, "bald": jaxal.bald}
_CACHE = 2**28  # bytes, more than any device caches: inputs of a few calls fill it


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every score and size."""
    for size in context.scale.scores:
        for name in ("entropy", "margin"):
            yield _score(name, size, context)
    yield _score("bald", context.scale.samples, context)


def about(name: str, size: tuple[int, ...]) -> Row:
    """Returns what is known before: the name, the size, and the fewest bytes."""
    return {
        "name": name,
        "size": " x ".join(f"{length:,}" for length in size),
        "bytes": 4 * (math.prod(size) + size[-2]),  # logits read, scores written
    }


def num_inputs(size: tuple[int, ...]) -> int:
    """Returns how many inputs take turns, so that none is still in a cache."""
    return max(2, min(8, math.ceil(_CACHE / (4 * math.prod(size)))))


def with_rate(row: Row, size: tuple[int, ...]) -> Row:
    """Returns a row that says how many rows of a pool a second that is."""
    return row | {"rows_per_s": size[-2] / best(row)}


def _score(name: str, size: tuple[int, ...], context: Context) -> Row:
    keys = jax.random.split(jax.random.key(0), num_inputs(size))
    inputs = [(3 * jax.random.normal(key, size),) for key in keys]
    program = compiled(SCORES[name], *inputs[0])
    row = timed_calls(program.call, inputs, repeats=context.scale.repeats)
    return with_rate(about(name, size) | row | program.facts(context, *inputs[0]), size)
