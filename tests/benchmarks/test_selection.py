"""The benchmark of selection: what it asks of libraries, and what it says of them."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "selection.py"


def run(folder, *arguments):
    """Runs it on a small pool and returns its races."""
    out = folder / "new folder" / "out.json"
    subprocess.run(
        command(out, *arguments), check=True, capture_output=True, timeout=500
    )
    return json.loads(out.read_text())["races"]


def command(out, *arguments):
    sizes = {"rows": 300, "features": 8, "classes": 3, "batch-size": 12, "labelled": 5}
    options = [f"--{name}={value}" for name, value in sizes.items()]
    return [sys.executable, str(SCRIPT), *options, f"--json={out}", *arguments]


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


@pytest.mark.slow
def test_what_was_measured_before_an_interruption_is_kept(tmp_path):
    out = tmp_path / "out.json"
    works = ["ranked", "coreset", "--peers", "numpy", "--repeats", "100000"]
    process = subprocess.Popen(
        command(out, *works, "--limit", "60"), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("  numpy"):  # a turn of each has been
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    (race,) = json.loads(out.read_text())["races"]
    assert not race["is_whole"]
    assert race["results"]["numpy"]["seconds"]


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import tables

    return tables


def result(seconds, **more):
    facts = {"bytes_peak": 4e6, "bytes_before": 1e6, "seconds_to_prepare": 9.0}
    facts |= {"whole_runs_to_prepare": 0, "cpu_seconds": seconds, "seconds": seconds}
    return facts | more


def test_tables_leave_out_the_warm_up_and_say_who_stopped_when(tables):
    sizes = {"work": "badge", "rows": 1000, "features": 500, "classes": 3}
    race = {
        "workload": sizes | {"batch_size": 7, "labelled": 0, "clusters": 0},
        "rates": {"flops": 1e9, "bytes": 1e9},
        "floor_seconds": 0.5,
        "floor_cpu_seconds": 0.5,
        "copy_seconds": 0.1,
        "results": {
            "jaxal": result([99.0, 1.0, 2.0, 3.0], whole_runs_to_prepare=1, passes=4),
            "slow": result([50.0, 40.0], status="over the limit", why="more than 45 s"),
            "once": result([8.0]),
            "absent": result([], status="not installed", why="no slow"),
        },
    }
    lines = {
        line.split("|")[1].strip(): line
        for line in tables.table(race).split("\n")
        if line.startswith("|")
    }
    cells = {k: [c.strip() for c in line.split("|")] for k, line in lines.items()}
    heads = cells["library"]
    assert {len(line) for line in cells.values()} == {len(heads)}

    def cell(library, head):
        return cells[library][heads.index(head)]

    assert cell("jaxal", "turns") == "3" and cell("jaxal", "median s") == "2.000"
    assert cell("jaxal", "from - to") == "1.000 - 3.000"
    assert cell("jaxal", "load and compile s") == "7.0"  # nine less a whole run
    assert cell("jaxal", "peak over features") == "2.00"
    assert cell("slow", "turns") == "1, then over the limit"
    assert cell("slow", "jaxal is faster by") == "20.0"
    assert cell("once", "median s") == "8.000"
    assert cell("absent", "turns") == "not installed: no slow"


def test_a_peer_draws_no_labelled_row(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import numpy as np
    import peers

    rng = np.random.default_rng(0)
    arrays = {
        "features": rng.normal(size=(40, 4)).astype(np.float32),
        "logits": rng.normal(size=(40, 3)).astype(np.float32),
        "is_labelled": np.arange(40) % 2 == 0,
    }
    for name in ("numpy", "scikit-learn"):
        picks = peers.prepare(name, peers.Task("badge", arrays, 20))(0)
        assert sorted(picks) == list(range(1, 40, 2)), name
