"""The laws of `jaxal.testing`, for every strategy, on the device."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jaxal
from accelerator.crew import Job, answers
from accelerator.plan import Context, Row
from jaxal.testing import check_strategy

MARGIN = 3.0  # seconds before the end, to say what was not reached
# Programs run once on few rows: the best kernel for them is not worth a search.
_QUICK = "--xla_gpu_autotune_level=0"


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every strategy: the laws held, or the one that was broken."""
    checks = context.scale.checks
    names = checks.laws or in_order()
    for name, answer in in_small_programs(check, names, context):
        yield {"name": name, **answer}


def in_small_programs(
    job: Job, names: Sequence[str], context: Context
) -> Iterator[tuple[str, Row]]:
    """Yields a job's answers for every name, from processes that compile in haste."""
    with tempfile.TemporaryDirectory() as cache:
        env = {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {_QUICK}",
            # What is done eagerly is the same for all, and compiled once.
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        end = time.monotonic() + context.left() - MARGIN
        processes = context.scale.checks.processes
        yield from answers(job, names, processes=processes, end=end, env=env)


def in_order() -> list[str]:
    """Returns all strategies, those that most others are made of first."""
    first = ["margin", "badge", "coreset", "bald", "typiclust", "batch_bald", "random"]
    return first + [n for n in jaxal.strategy_names() if n not in first]


def check(name: str) -> Row:
    """Holds one strategy to the laws."""
    settings, abilities = _case(name)
    start = time.perf_counter()
    report = check_strategy(jaxal.strategy(name, **settings), **abilities)
    return {
        "seconds": time.perf_counter() - start,
        "held": len(report.checked),
        "not_asked": ", ".join(report.skipped),
    }


def _case(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is known of a strategy: settings for forty rows, and what it can."""
    try:
        from jaxal.registry import entry
    except ImportError:  # some take the square of the classes
        return {}, {"most_classes": 20}
    case = entry(name)
    abilities = ("is_deterministic", "most_classes")
    return dict(case.small), {ability: getattr(case, ability) for ability in abilities}
