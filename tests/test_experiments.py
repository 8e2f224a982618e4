"""The commands themselves, as processes: end to end, killed, and interrupted."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
CIFAR = [sys.executable, "experiments/cifar.py"]
DYING = [sys.executable, "-m", "tests.dying"]
SMOKE = ["--preset=smoke", "--strategy=badge"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts a process that shares compiled programs with the others of this file."""
    cache = tmp_path_factory.mktemp("compiled")

    def start(words, **kwargs):
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLA_FLAGS": "",
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **kwargs,
        )

    return start


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
def digits(start, tmp_path_factory):
    """An undisturbed run of the experiment on digits."""
    output = tmp_path_factory.mktemp("runs")
    words = [*CIFAR, "--dataset=digits", *SMOKE, f"--output={output}"]
    status, out, err = finish(start(words))
    assert status == 0, err
    return output / "digits-badge-smoke-seed0", err


def test_it_learns_and_leaves_a_plot(digits):
    folder, err = digits
    rounds = lines(folder / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [20, 40, 60]
    assert rounds[-1]["accuracy"] > rounds[0]["accuracy"] + 0.05
    assert rounds[-1]["accuracy"] > 0.6
    assert rounds[2]["compiles"] == 0
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
    assert sum(line.startswith("round ") for line in err.splitlines()) == 3
    assert "left" in err


@pytest.mark.parametrize(
    "moments",
    [[9, 20, 75], pytest.param([3, 14, 31, 48, 60, 66, 100], marks=pytest.mark.slow)],
)
def test_killed_for_real_it_ends_with_the_same_bits(start, digits, tmp_path, moments):
    words = ["run", "--dataset=digits", *SMOKE, f"--output={tmp_path}"]
    for at in moments:
        status, _, err = finish(start([*DYING, str(at), *words]))
        assert status == -signal.SIGKILL, err
    status, _, err = finish(start([*DYING, "100000", *words]))
    assert status == 0, err
    assert results(tmp_path / digits[0].name) == results(digits[0])


def test_ctrl_c_says_how_to_continue(start, digits, tmp_path):
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


def test_two_seeds_and_a_report(start, digits, tmp_path):
    output = digits[0].parent
    words = ["run", "--dataset=digits", "--preset=smoke", "--strategy=random"]
    cli = [
        sys.executable,
        "-c",
        "import sys; from jaxal.runs import cli; sys.exit(cli.main())",
    ]
    status, _, err = finish(
        start([*cli, *words, f"--output={output}", "--seeds", "0", "1"])
    )
    assert status == 0, err
    figure = tmp_path / "curves.png"
    report = [sys.executable, "-m", "jaxal.runs.report", str(output)]
    status, out, err = finish(start([*report, f"--figure={figure}"]))
    assert status == 0, err
    assert "| badge" in out
    assert "| random" in out
    assert figure.exists()
