"""A pool several times larger than the memory it is allowed."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.peak_memory import IS_KNOWN

ROWS, WIDE, NARROW, PICKS = 240_000, 256, 4, 32
ALLOWED = 59 << 20  # bytes


def feature_files(folder):
    rng = np.random.default_rng(0)
    paths = []
    for name, width in (("a", NARROW), ("h", WIDE)):
        path = folder / f"{name}.npy"
        out = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, width))
        for rows in np.split(out, 12):
            rows[...] = rng.random(rows.shape, np.float32)
        out.flush()
        paths.append(str(path))
    return paths


def run(how, paths):
    command = [sys.executable, "-m", "tests.streaming_worker", how, *paths, str(PICKS)]
    environment = {**os.environ, "XLA_FLAGS": ""}
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.skipif(not IS_KNOWN, reason="resident memory is read from /proc")
def test_a_pool_four_times_the_allowance_gives_the_picks_of_memory(tmp_path):
    paths = feature_files(tmp_path)
    pool_bytes = 4 * ROWS * (WIDE + NARROW)
    assert pool_bytes >= 4 * ALLOWED
    streamed = run("streamed", paths)
    whole = run("whole", paths)
    assert streamed["far"] == whole["far"]
    assert streamed["drawn"] == whole["drawn"]
    assert streamed["passes"] <= PICKS  # two selections, not a pass a pick
    # The measure is able to see a pool: the same work in memory takes all of it.
    assert whole["bytes"] > pool_bytes
    assert streamed["bytes"] < ALLOWED
