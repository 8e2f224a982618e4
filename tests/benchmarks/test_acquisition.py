"""The benchmarks of scores and of rounds: what they cover, and that they run."""

import json
import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def contents(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import contents

    return contents


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import harness

    return harness


def test_every_score_and_selector_has_a_row_or_a_reason(contents):
    exported = set(contents.exported())
    named = {entry.of or entry.name for entry in contents.ENTRIES}
    assert named | set(contents.EXCLUDED) <= exported  # and no others
    assert not named & set(contents.EXCLUDED)
    assert all(contents.EXCLUDED.values())
    assert contents.missing(["entropy", "of_tomorrow", "bald_stream"]) == [
        "of_tomorrow"
    ]
    assert not contents.missing()


def test_inputs_are_new_every_time_and_of_the_size_asked_for(contents):
    sizes = {"scores": (30, 4), "samples": (3, 30, 4), "selectors": (30, 5, 2)}
    for entry in contents.ENTRIES:
        make = contents.inputs_of(entry, sizes[contents.READS[entry.reads].sizes])
        rng = np.random.default_rng(0)
        one, other = make(rng), make(rng)
        arrays = one[1:] if entry.is_selector else one
        assert all(30 in array.shape or 100 in array.shape for array in arrays)
        assert (np.asarray(one[-1]) != np.asarray(other[-1])).any()


def test_what_fails_or_takes_too_long_is_said_and_stops_nobody(harness, monkeypatch):
    now, calls = [0.0], {"fine": 0, "broken": 0, "slow": 0}
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def fine(x):
        calls["fine"] += 1

    def broken(x):
        calls["broken"] += 1
        if calls["broken"] == 3:
            raise MemoryError("too much")

    def slow(x):
        calls["slow"] += 1
        now[0] += 2

    contenders = {
        function.__name__: harness.numpy_contender(function)
        for function in (fine, broken, slow)
    }
    found = harness.compare(contenders, harness.normal(2), repeats=4, limit=3)
    assert found["fine"].repeats == 4 and found["fine"].status == ""
    assert found["broken"].status == "failed: MemoryError: too much"
    assert found["broken"].repeats == 1  # after the warm-up
    assert found["slow"].status == "over the limit of 3 s"
    assert found["slow"].median == 2
    assert calls == {"fine": 5, "broken": 3, "slow": 2}
    never = {"never": harness.numpy_contender(lambda x: 1 / 0)}
    assert math.isnan(harness.compare(never, harness.normal(2))["never"].median)


def run(script, folder, *arguments):
    """Runs a script on small sizes and returns what it wrote."""
    out = folder / "new folder" / "out.json"
    command = [sys.executable, str(FOLDER / script), f"--json={out}", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=580, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())


@pytest.mark.slow
def test_scores_and_selectors_are_timed(contents, tmp_path):
    sizes = ["--sizes", "60x3", "--sample-sizes", "4x60x3", "--selector-sizes"]
    how = ["--repeats", "2", "--peers", "numpy", "baal"]
    found = run("acquisition.py", tmp_path, *sizes, "50x4x3", *how)
    rows = {(row["name"], row["library"]): row for row in found["results"]}
    assert {name for name, _ in rows} == {entry.name for entry in contents.ENTRIES}
    for row in rows.values():
        assert not row["status"], row
        assert row["repeats"] == 2 and row["ms"] > 0
    assert rows["entropy", "numpy"]["vs_jaxal"] > 0
    assert rows["bald", "jaxal"]["of_threads"] > 0
    assert "baal" in found["machine"]["peers"]


@pytest.mark.slow
def test_rounds_are_timed(tmp_path):
    sizes = {"rows": 64, "test-rows": 32, "side": 8, "initial": 16, "batch-size": 8}
    sizes |= {"rounds": 2, "epochs": 1}
    options = [f"--{name}={value}" for name, value in sizes.items()]
    model = ["--model", "mlp", "--strategies", "margin"]
    first, later = run("round.py", tmp_path, *options, *model)["results"]
    assert first["compiled"] > 0 and later["compiled"] == 0
    assert first["total"] > later["total"] > 0
