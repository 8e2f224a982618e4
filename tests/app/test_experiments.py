"""The commands themselves, as processes: end to end, killed, and interrupted."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CIFAR = [sys.executable, "experiments/cifar.py"]
DYING = [sys.executable, "-m", "tests.dying"]
SMOKE = ["--preset=smoke", "--strategy=badge"]


def start(words):
    """Starts a process on one device, as a user would."""
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(folder):
    rounds = lines(folder / "rounds.jsonl")
    for record in rounds:
        del record["seconds"], record["compiles"]
    return rounds, (folder / "queries.jsonl").read_text()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """An undisturbed run of the experiment on digits."""
    output = tmp_path_factory.mktemp("runs")
    words = [*CIFAR, "--dataset=digits", *SMOKE, f"--output={output}"]
    status, _, err = finish(start([*words, "--seeds", "0", "1"]))
    assert status == 0, err
    return output / "digits-badge-smoke-seed0", err


def test_it_learns_and_leaves_a_plot(digits):
    folder, err = digits
    rounds = lines(folder / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [20, 40, 60]
    assert rounds[-1]["accuracy"] > rounds[0]["accuracy"] + 0.05
    assert rounds[-1]["accuracy"] > 0.6
    assert [record["compiles"] for record in rounds[1:]] == [0, 0]
    png = (folder / "figures" / "learning_curve.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(lines(folder / "queries.jsonl")) == 60


def test_the_data_set_is_said_everywhere(digits):
    folder, err = digits
    assert "DIGITS" in err.splitlines()[0]
    assert "preset smoke (cpu" in err
    settings = json.loads((folder / "config.json").read_text())["settings"]
    for record in (settings, *lines(folder / "rounds.jsonl")):
        assert record["dataset"] == "digits"
        assert record["preset"] == "smoke"
        assert "scikit-learn" in record["source"]
    assert all(q["dataset"] == "digits" for q in lines(folder / "queries.jsonl"))


def test_it_is_quiet_without_a_terminal(digits):
    _, err = digits
    assert "\r" not in err
    assert "Traceback" not in err
    assert sum(line.startswith("round ") for line in err.splitlines()) == 6
    assert "left" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "moments",
    [[20, 31], [3, 9, 14, 31, 20, 12]],
)
def test_killed_for_real_it_ends_with_the_same_bits(digits, tmp_path, moments):
    words = ["run", "--dataset=digits", *SMOKE, f"--output={tmp_path}"]
    for at in moments:
        status, _, err = finish(start([*DYING, str(at), *words]))
        assert status == -signal.SIGKILL, err
    status, _, err = finish(start([*DYING, "100000", *words]))
    assert status == 0, err
    assert results(tmp_path / digits[0].name) == results(digits[0])


def test_ctrl_c_says_how_to_continue(digits, tmp_path):
    words = [*CIFAR, "--dataset=digits", *SMOKE, f"--output={tmp_path}", "--overwrite"]
    process = start(words)
    for line in process.stderr:
        if line.startswith("round 0"):
            process.send_signal(signal.SIGINT)
            break
    status, _, err = finish(process)
    assert status == 130, err
    assert "Traceback" not in err
    command = err.strip().splitlines()[-1].strip()
    assert command == (
        "python experiments/cifar.py --dataset=digits --preset=smoke --strategy=badge "
        f"--output={tmp_path}"
    )
    status, _, err = finish(start([sys.executable, *command.split()[1:]]))
    assert status == 0, err
    assert results(tmp_path / digits[0].name) == results(digits[0])


def test_a_report_on_both_seeds(digits, tmp_path):
    report = [sys.executable, "-m", "jaxal.report", str(digits[0].parent)]
    status, out, err = finish(start([*report, f"--out={tmp_path}"]))
    assert status == 0, err
    row = next(line for line in out.splitlines() if line.startswith("| badge"))
    assert row.split("|")[2].strip() == "2"
    assert "±" in row
    assert (tmp_path / "curves.png").exists()


def test_seeds_differ(digits):
    first, second = (digits[0].with_name(f"digits-badge-smoke-seed{k}") for k in (0, 1))
    assert results(first)[1] != results(second)[1]
    # The second seed uses what was compiled for the first.
    assert lines(first / "rounds.jsonl")[0]["compiles"] > 0
    assert lines(second / "rounds.jsonl")[0]["compiles"] == 0
