"""Seconds from starting Python to the first pick, each in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

from accelerator.plan import Context, Row

_SCRIPT = pathlib.Path(__file__).parents[1] / "subjects" / "pick_once.py"


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for every strategy, on the smallest pool of the selections."""
    size = context.scale.pools[0]
    sizes = (size.rows, size.features, size.classes, size.batch_size)
    for name in context.scale.first:
        command = [sys.executable, str(_SCRIPT), name, *map(str, sizes)]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=_without_cache(),
            timeout=max(1.0, context.left()),
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.strip()[-2000:]}")
        said = json.loads(done.stdout.strip().splitlines()[-1])
        yield {"name": name, "size": str(size), "seconds": seconds, "calls": 1, **said}


def _without_cache() -> dict[str, str]:
    """An environment in which nothing was compiled before."""
    path = os.pathsep.join(path for path in sys.path if path)
    env = {**os.environ, "PYTHONPATH": path}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    return env
