"""Where a program's time goes: its kernels, as the profiler of JAX saw one call."""

import collections
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax

from accelerator.plan import Row

SHOWN = 12


def kernels(call: Callable[..., Any], *args: Any) -> Row:
    """Returns the longest kernels of one call, with how often and how long they ran.

    Times of kernels that run side by side add up, so the shares may exceed 1.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call(*args))
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    spent: collections.Counter[str] = collections.Counter()
    times: collections.Counter[str] = collections.Counter()
    ends = []
    for name, start, seconds in _events(data):
        spent[name] += seconds
        times[name] += 1
        ends += [start, start + seconds]
    found = [
        {"name": name, "calls": times[name], "seconds": seconds}
        for name, seconds in spent.most_common(SHOWN)
    ]
    span = max(ends) - min(ends) if ends else 0.0
    total = sum(spent.values())
    return {"kernels": found, "busy_s": total, "span_s": span}


def _events(data: Any) -> Iterator[tuple[str, float, float]]:
    """Yields name, start and seconds of what ran on the device."""
    planes = list(data.planes)
    devices = [p for p in planes if p.name.startswith("/device:")] or planes
    for plane in devices:
        for line in plane.lines:
            for event in line.events:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    stats = dict(event.stats)
                if "hlo_op" in stats and not event.name.startswith("end: "):
                    source = str(stats.get("tf_op", ""))[-80:]  # path in the program
                    name = f"{stats['hlo_op']} ({event.name[:60]}) {source}".rstrip()
                    yield name, event.start_ns * 1e-9, event.duration_ns * 1e-9
