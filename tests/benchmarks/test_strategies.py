"""The benchmark of strategies: what it measures, and what it says of failures."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "strategies.py"
SIZES = "--rows 300 --features 8 --classes 3 --samples 4 --labelled 5 --clusters 3"


def run(folder, *arguments):
    """Runs it on a small pool; returns its rows by strategy and K, and its page."""
    out, page = folder / "out.json", folder / "out.md"
    command = [sys.executable, str(SCRIPT), *SIZES.split(), *arguments]
    command += [f"--json={out}", f"--markdown={page}"]
    subprocess.run(command, check=True, capture_output=True, timeout=500)
    rows = json.loads(out.read_text())["results"]
    return {(row["strategy"], row["batch_size"]): row for row in rows}, page.read_text()


@pytest.mark.slow
def test_calls_are_timed_and_failures_are_said(tmp_path):
    names = ("margin", "bald", "no_such_strategy")
    rows, page = run(tmp_path, *names, "--batch-size=4,12", "--repeats=2")
    assert len(rows) == 6
    for name in names[:2]:
        for batch_size in (4, 12):
            row = rows[name, batch_size]
            assert row["status"] == "ok"
            assert len(row["seconds"]) == len(row["cpu_seconds"]) == 2
            assert row["first_seconds"] > max(row["seconds"])  # it compiles
            assert row["first_bytes_peak"] >= row["first_bytes_before"] > 0
    failed = rows["no_such_strategy", 4]
    assert failed["status"] == "failed"
    assert "Unknown strategy" in failed["why"]
    assert "## K = 12" in page and "failed: ValueError: Unknown strategy" in page


@pytest.mark.slow
def test_a_strategy_over_the_limit_is_stopped_and_said_so(tmp_path):
    rows, page = run(tmp_path, "coreset", "--batch-size=4", "--limit=0.2")
    assert rows["coreset", 4]["status"] == "over the limit"
    assert "over the limit: more than 0.2 s" in page
