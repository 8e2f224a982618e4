"""The benchmark of selection: what it asks of libraries, and what it says of them."""

import json
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "benchmarks" / "selection.py"


def run(folder, *arguments):
    """Runs it on a small pool and returns its races."""
    out = folder / "out.json"
    sizes = {"rows": 300, "features": 8, "classes": 3, "batch-size": 12, "labelled": 5}
    options = [f"--{name}={value}" for name, value in sizes.items()]
    command = [sys.executable, str(SCRIPT), *options, f"--json={out}", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=500)
    return json.loads(out.read_text())["races"]


@pytest.mark.slow
def test_libraries_do_the_same_work_or_are_said_not_to(tmp_path):
    badge, coreset = run(tmp_path, "--repeats", "2", "--peers", "numpy,torch,baal")
    for race in (badge, coreset):
        ours, numpy = race["results"]["jaxal"], race["results"]["numpy"]
        assert len(ours["seconds"]) == len(numpy["seconds"]) == 2
        assert ours["quality"]["distinct"] == numpy["quality"]["distinct"] == 12
        assert race["results"]["baal"]["status"] in {"not installed", "not offered"}
        assert race["floor_seconds"] > 0
        assert 1 <= ours["passes"] <= 12
    # Core-set has no chance in it once rows are labelled.
    spreads = [
        coreset["results"][name]["quality"]["spread"] for name in ("jaxal", "numpy")
    ]
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-5)


@pytest.mark.slow
def test_a_library_over_the_limit_is_stopped_and_said_so(tmp_path):
    (race,) = run(tmp_path, "coreset", "--peers", "numpy", "--limit", "0.05")
    for result in race["results"].values():
        assert result["status"] == "over the limit"
        assert result["seconds"] == []
