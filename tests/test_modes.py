"""JAX's own modes are the user's to set: a loop runs under each, in a new process."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
WIDE = {"JAX_ENABLE_X64": "1"}
STRICT = {"JAX_NUMPY_DTYPE_PROMOTION": "strict"}
NANS = {"JAX_DEBUG_NANS": "1"}
LEAKS = {"JAX_CHECK_TRACER_LEAKS": "1"}
SLOW = pytest.mark.slow
ROUNDS = [
    pytest.param(WIDE, "mlp margin,badge wide unfit", id="64 bits, look"),
    pytest.param(STRICT, "linen margin,badge,bald unfit laplace", id="strict, look"),
    pytest.param(LEAKS, "linen margin", id="leaks, linen"),
    pytest.param({"JAX_DEFAULT_PRNG_IMPL": "rbg"}, "mlp margin", id="rbg", marks=SLOW),
    pytest.param(NANS, "linen margin,bald,badge unfit", id="nans, look", marks=SLOW),
    pytest.param(LEAKS, "linen bald,badge", id="leaks, linen, bald", marks=SLOW),
    pytest.param(LEAKS, "nnx bald", id="leaks, nnx", marks=SLOW),
    pytest.param(
        {"JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg"}, "mlp bald", id="unsafe rbg", marks=SLOW
    ),
    pytest.param({"JAX_DISABLE_JIT": "1"}, "mlp margin", id="no jit", marks=SLOW),
    pytest.param(WIDE, "mlp margin wide", id="64 bits, fit", marks=SLOW),
    pytest.param(STRICT, "linen margin", id="strict, fit", marks=SLOW),
    pytest.param(NANS, "linen margin", id="nans, fit", marks=SLOW),
]


@pytest.mark.parametrize(("mode", "what"), ROUNDS)
def test_a_loop_runs_under(mode, what):
    env = {**os.environ, **mode, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "modes_worker.py"), *what.split()]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == what.split()[1].split(",")
