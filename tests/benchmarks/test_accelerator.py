"""The benchmark of an accelerator: its tiny scale, and what it says of failures."""

import functools
import json
import math
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def accelerator(monkeypatch):
    """Imports a module of the benchmark by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import importlib

    return lambda name: importlib.import_module(f"accelerator.{name}")


def test_the_tiny_scale_has_every_part(tmp_path, accelerator):
    data, page = tmp_path / "new folder" / "out.json", tmp_path / "out.md"
    script = str(FOLDER / "accelerator.py")
    command = [sys.executable, script, "--scale", "tiny", f"--json={data}"]
    command += [f"--markdown={page}", "--commit=abc"]
    done = subprocess.run(command, capture_output=True, timeout=580, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found, text = json.loads(data.read_text()), page.read_text()
    assert [part["name"] for part in found["parts"]] == [
        part.name for part in accelerator("plan").PARTS
    ]
    for part in found["parts"]:
        assert part["status"] == "done", part.get("traceback", part)
        assert part["rows"], part
        assert f"## {part['what']}\n" in text
    rows = {part["name"]: part["rows"] for part in found["parts"]}
    assert {"copy", "float32", "bfloat16"} <= set(found["floors"])
    assert all(row["of_floor"] > 0 for row in rows["scores"])
    assert all(row["compile_s"] > 0 for row in rows["selections"])
    assert "synthetic" in rows["fit"][0]["data"]
    assert [row["name"] for row in rows["labels"]] == [
        "random, 24 labels",
        "badge, 16 labels",
        "badge, 24 labels",
        "random, 16 labels",
    ]
    assert found["machine"]["backend"] == "cpu" and found["commit"] == "abc"
    assert "Measured on a CPU" in text


@pytest.fixture
def measured(accelerator, tmp_path, monkeypatch):
    """Runs parts in this process, in place of some of them functions given."""
    command = accelerator("command")

    def run(*arguments, **replaced):
        for name, function in replaced.items():
            monkeypatch.setattr(accelerator(f"parts.{name}"), "measure", function)
        data = tmp_path / "out.json"
        how = ["--scale=tiny", "--here", f"--json={data}", "--commit=abc", *arguments]
        command.measure(command.parse("", how))
        found = json.loads(data.read_text())
        return {part["name"]: part for part in found["parts"]}

    return run


def quick(context):
    yield {"name": "quick", "seconds": 1.0, "facts": {"copy": 8.0}}


def broken(context):
    yield {"name": "before", "seconds": 2.0, "bytes": 8}
    raise MemoryError("no room left")


def test_a_part_that_fails_is_recorded_and_the_rest_goes_on(measured, capsys):
    only = ["--only", "scores", "study"]
    parts = measured(*only, floors=quick, scores=broken, study=quick)
    failed = parts["scores"]
    assert failed["status"] == "failed" and "no room left" in failed["why"]
    assert "in broken" in failed["traceback"]
    assert failed["rows"][0]["of_floor"] == 0.5  # 8 bytes at 8 a second, in 2 seconds
    assert parts["study"]["status"] == "done"
    printed = capsys.readouterr().out
    assert "MemoryError: no room left" in printed
    assert "Not asked for: selections, imagenet" in printed


def test_only_what_is_asked_for_is_measured(measured):
    parts = measured("--only", "study", floors=quick, study=quick)
    done = {name for name, part in parts.items() if part["status"] == "done"}
    assert done == {"floors", "study"}
    assert {parts[name]["status"] for name in parts.keys() - done} == {"not asked for"}


def test_time_that_runs_out_is_said(measured):
    skipped = measured("--seconds=0")
    assert {part["status"] for part in skipped.values()} == {"skipped"}
    assert "time" in skipped["fit"]["why"]

    def slow(context):
        while True:
            yield {"name": "a row", "left": context.left()}
            time.sleep(0.02)

    parts = measured("--only=study", "--part-seconds=0.2", floors=quick, study=slow)
    assert parts["study"]["status"] == "stopped"
    assert parts["study"]["rows"][0]["left"] > 0


PROCESS = """
import json, os, sys, time
say = lambda message: print("@" + json.dumps(message), flush=True)
say({"machine": {"pid": os.getpid()}})
for line in sys.stdin:
    part = json.loads(line)["part"]
    say({"row": {"name": part}})
    if part == "hangs":
        time.sleep(600)
    if part == "dies":
        sys.exit("out of memory")
    say({"end": {"status": "done"}})
"""


def test_a_process_that_hangs_or_dies_is_replaced(accelerator, monkeypatch):
    asking = accelerator("asking")
    monkeypatch.setattr(asking, "GRACE", 0.5)
    worker = asking.Worker([sys.executable, "-c", PROCESS])
    first = worker.machine()["pid"]

    def ask(part, seconds=30.0):
        return list(worker.ask({"part": part, "seconds": seconds}))

    try:
        assert ask("works")[-1] == {"end": {"status": "done"}}
        assert worker.machine()["pid"] == first
        with pytest.raises(asking.StoppedError, match="time was up"):
            ask("hangs", 2.0)
        assert ask("works")[0] == {"row": {"name": "works"}}
        assert worker.machine()["pid"] != first
        with pytest.raises(asking.StoppedError, match="out of memory"):
            ask("dies")
        assert ask("works")
    finally:
        worker.stop()


def test_small_jobs_are_shared_out_and_none_is_forgotten(accelerator):
    crew, later = accelerator("crew"), time.monotonic() + 100
    for processes in (0, 1):
        how = {"processes": processes, "end": later}
        assert dict(crew.answers(dict.fromkeys, ["a", "b"], **how)) == {
            "a": {"a": None},
            "b": {"b": None},
        }
    (_, answer), *_ = crew.answers(int, ["no number"], processes=0, end=later)
    assert answer["status"].startswith("ValueError")
    late = crew.answers(dict.fromkeys, ["a"], processes=0, end=0.0)
    assert list(late) == [("a", {"status": crew.NOT_REACHED})]


def test_picks_are_the_same_or_tie_or_differ(accelerator):
    picks = accelerator("parts.picks")
    rows, scores = np.array([4, 2, 7]), np.array([3.0, 2.0, 1.0])
    verdict = functools.partial(picks.verdict, (rows, scores))
    assert verdict((rows, scores + 1e-6))["picks"] == "same"
    tie = verdict((np.array([4, 9, 7]), np.array([3.0, 2.00001, 1.0])))
    assert tie["picks"] == "tie from pick 2 on" and tie["shared"] == "2 of 3"
    differ = verdict((np.array([4, 9, 7]), np.array([3.0, 1.9, 1.0])))
    assert differ["picks"] == "differ from pick 2 on"
    assert differ["gap"] == pytest.approx(0.05)


def test_precision_is_read_off_the_program(accelerator):
    picks, pool = accelerator("parts.picks"), accelerator("scales").TINY.checks.pool
    import jaxal

    def score(features):
        def step(_, x):
            return features @ (features.T @ x)

        return jax.lax.fori_loop(0, 2, step, features[:, 0])

    strategy = jaxal.by_score(score, "features")
    view = accelerator("subjects.arrays").view_of(strategy, pool)
    assert picks.precisions(strategy, view, pool) == "2 nothing"
    badge = jaxal.strategy("badge")
    view = accelerator("subjects.arrays").view_of(badge, pool)
    assert "HIGHEST" in picks.precisions(badge, view, pool)


def test_pools_hold_what_a_strategy_names(accelerator):
    import jaxal

    pool = accelerator("scales").TINY.pools[0]
    view = accelerator("subjects.arrays").view_of(jaxal.strategy("batch_bald"), pool)
    assert view.samples.shape == (pool.samples, pool.rows, pool.classes)
    assert view.features is None
    assert int(view.is_labelled.sum()) == pool.labelled
    np.testing.assert_array_equal(view.is_available, ~view.is_labelled)


def test_images_come_from_a_file_or_are_said_to_be_synthetic(accelerator, tmp_path):
    images, plan = accelerator("subjects.images"), accelerator("plan")
    scale = accelerator("scales").TINY
    shown = np.arange(70 * 8 * 8 * 3, dtype=np.uint8).reshape(70, 8, 8, 3)
    arrays = {"x_train": shown, "x_test": shown}
    arrays |= {f"y_{split}": np.arange(70)[:, None] % 10 for split in ("train", "test")}
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    data = images.load(plan.Context(scale, str(path), {}, math.inf))
    assert data.train[0].shape == (64, 8, 8, 3) and data.train[1].shape == (64,)
    assert data.train[1].dtype == np.int32 and "images.npz" in data.name
    np.savez(path, x_train=shown)
    with pytest.raises(ValueError, match="y_train"):
        images.load(plan.Context(scale, str(path), {}, math.inf))
    assert "synthetic" in images.load(plan.Context(scale, None, {}, math.inf)).name
    cropped = images.crop_flip(jax.random.key(0), shown)
    assert cropped.shape == shown.shape and cropped.dtype == shown.dtype


def test_a_resnet_18_costs_what_its_convolutions_cost(accelerator):
    networks, scales = accelerator("subjects.networks"), accelerator("scales")
    flops = networks.forward_flops(scales.FULL.training)
    assert flops == pytest.approx(
        2 * 0.5557e9, rel=1e-3
    )  # as counted in the literature
    assert networks.forward_flops(scales.TINY.training) == 0
    assert networks.unit_of(scales.FULL.training) == "bfloat16"


def test_full_size_wants_an_accelerator(accelerator, monkeypatch):
    command = accelerator("command")
    with pytest.raises(SystemExit, match="--scale cpu"):
        command.measure(command.parse("", ["--here", "--commit=abc"]))
