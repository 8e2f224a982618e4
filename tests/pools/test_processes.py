"""Several processes on one machine, each with its own rows, pick what one would."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from jaxal.embeddings import gradient_embedding
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool
from jaxal.pools.processes import (
    advice_on_lost_process,
    make_pool_from_process_data,
    process_rows,
    shard_process_rows,
)
from tests import process_worker as worker
from tests.toys import blobs

ROOT = pathlib.Path(__file__).parents[2]
NUM_ROWS = 1001  # neither two nor four processes divide it
FIRST_PORT = 65536 - 4096  # of those JAX derives from a SLURM job's number
FAST_COMPILE = "--xla_backend_optimization_level=0"
FAST_COMPILE += " --xla_llvm_disable_expensive_passes=true"


def free_port() -> int:
    for port in np.random.default_rng().integers(FIRST_PORT, 65536, 50):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", int(port))) != 0:
                return int(port)
    raise OSError("no free port")


def start(script, arguments, count, **extra) -> list[subprocess.Popen]:
    """Starts processes with the variables that srun would give them."""
    port = free_port()
    shared = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    shared |= {
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": str(port - FIRST_PORT),
        "SLURM_NTASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "XLA_FLAGS": FAST_COMPILE,
    }
    return [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            env=shared | extra | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def finish(processes, seconds=240) -> list[tuple[int, str, str]]:
    """Waits for all processes: exit status, output and errors of each."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def outputs(processes) -> list[str]:
    """What each process printed, all having succeeded."""
    results = finish(processes)
    assert [status for status, _, _ in results] == [0] * len(results), results
    return [output for _, output, _ in results]


def picks(folder, count, **extra) -> list[dict[str, list[int]]]:
    """What each process says that the selectors pick."""
    found = outputs(start(worker.__file__, (folder, NUM_ROWS), count, **extra))
    return [json.loads(output.splitlines()[-1]) for output in found]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with the pool's files, and what one process picks from them."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(NUM_ROWS, 6)).astype(np.float32)
    logits = rng.normal(size=(NUM_ROWS, 3)).astype(np.float32)
    is_labelled = rng.random(NUM_ROWS) < 0.02
    found = {
        "features": features,
        "residuals": np.asarray(gradient_embedding(logits, features).a),
        "scores": rng.normal(size=NUM_ROWS).astype(np.float32),
        "is_labelled": is_labelled,
        "is_available": ~is_labelled & (rng.random(NUM_ROWS) < 0.9),
    }
    for name, values in found.items():
        np.save(folder / f"{name}.npy", values)
    return folder, picks(folder, 1)[0]


@pytest.mark.sharded
@pytest.mark.parametrize(
    "count, left_out",
    # "dense" and "outer" share what takes long to compile.
    [
        (2, "outer"),
        pytest.param(2, "", marks=pytest.mark.slow),
        pytest.param(4, "dense", marks=pytest.mark.slow),
    ],
)
def test_several_processes_pick_what_one_does(rows, count, left_out):
    folder, expected = rows
    expected = {name: rows for name, rows in expected.items() if name != left_out}
    assert picks(folder, count, LEFT_OUT=left_out) == [expected] * count


@pytest.fixture
def program(tmp_path):
    """The program of docs/clusters.md, and data for it."""
    text = (ROOT / "docs" / "clusters.md").read_text()
    (tmp_path / "rounds.py").write_text(
        re.findall(r"```python\n(.*?)```", text, re.S)[0]
    )
    inputs, labels = blobs(80)
    np.save(tmp_path / "features.npy", inputs)
    np.save(tmp_path / "labels.npy", labels)
    return tmp_path


def labels_of(folder) -> list[int]:
    with np.load(folder / "saved.npz") as saved:
        return saved["labels"].tolist()


def wait_for_round(folder, process) -> None:
    """Returns once something has been saved, while the program is still running."""
    while not (folder / "saved.npz").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


TIMEOUT = 10  # seconds, of the runtime
# To notice at the next beat and to shut down, each within the timeout, and to end.
PATIENCE = 2 * TIMEOUT + 20
SHORT = {"TIMEOUT": str(TIMEOUT)}


@pytest.mark.slow
def test_the_documented_program_survives_the_death_of_a_process(program):
    command = program / "rounds.py", [program]
    processes = start(*command, 2, **SHORT)
    wait_for_round(program, processes[0])
    processes[1].kill()
    (status, first, errors), (killed, _, _) = finish(processes, PATIENCE)
    assert (status != 0, killed) == (True, -9)
    assert "start the same command again" in " ".join(errors.split())

    again, _ = outputs(start(*command, 2, **SHORT))
    shown = re.findall(r"round \d+", first + again)
    assert shown == [f"round {index}" for index in range(12)]
    resumed = labels_of(program)

    (program / "saved.npz").unlink()
    outputs(start(*command, 1))
    assert resumed == labels_of(program)
    assert sum(label >= 0 for label in resumed) == 12 * 5


@pytest.mark.slow
def test_a_silent_process_is_given_up_on_within_the_timeout(program):
    processes = start(program / "rounds.py", [program], 2, **SHORT)
    wait_for_round(program, processes[0])
    processes[1].send_signal(signal.SIGSTOP)  # its connections stay open
    try:
        _, errors = processes[0].communicate(timeout=PATIENCE)
    finally:
        for process in processes:
            process.kill()
    processes[1].communicate()
    assert processes[0].returncode != 0
    assert "stopped sending heartbeats" in errors
    assert len(labels_of(program)) == 80  # what was saved can be read


def test_one_process_makes_the_pool_that_make_pool_makes():
    inputs, labels = blobs(10)
    labels = np.where(np.arange(10) < 3, labels, -1)
    expected = make_pool(inputs, labels)
    found = make_pool_from_process_data(inputs, labels, num_rows=10)
    for field, theirs in zip(found, expected, strict=True):
        assert field.sharding.is_equivalent_to(theirs.sharding, field.ndim)
        np.testing.assert_array_equal(field, theirs)


def test_rows_are_refused_unless_they_are_those_of_the_process():
    with pytest.raises(ValueError, match=r"has 9 rows, expected 10.*process_rows\(10"):
        shard_process_rows(np.zeros([9, 2]), 10)
    with pytest.raises(ValueError, match="1 of 10 rows of inputs hold NaN"):
        inputs = np.where(np.arange(10) == 4, np.nan, 0.0)[:, None]
        make_pool_from_process_data(inputs, num_rows=10)
    assert process_rows(3, mesh=pool_mesh()) == slice(0, 3)


@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, ValueError])
@pytest.mark.parametrize(
    "count, message, is_advised",
    [
        (4, "UNKNOWN: connection closed by peer", True),
        (4, "DEADLINE_EXCEEDED: a barrier timed out", True),
        (1, "INTERNAL: out of cheese", False),
        (4, "labels has shape [3], expected [2]", False),
    ],
)
def test_errors_of_the_runtime_come_with_advice(
    monkeypatch, kind, count, message, is_advised
):
    monkeypatch.setattr(jax, "process_count", lambda: count)
    with pytest.raises(kind) as caught, advice_on_lost_process():
        raise kind(message)
    notes = getattr(caught.value, "__notes__", [])
    assert len(notes) == is_advised
    assert all("same command again" in note for note in notes)
