"""Timing that means something, shared by every benchmark of the project.

Rules kept here so that no benchmark has to remember them: a timing ends when the result
is ready; the first call is reported apart; every repetition reads fresh random inputs;
contenders take turns on the same arrays (A B A B), so that a disturbance hits them all;
what is reported is the median and the quartiles; and every file names the machine and
what it can do, measured in the same run.
"""

import functools
import importlib.metadata
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MakeInputs = Callable[[np.random.Generator], tuple[Any, ...]]


class Contender(NamedTuple):
    """One way of computing something, in whichever library."""

    run: Callable[..., Any]  # returns when the result is ready
    prepare: Callable[..., tuple]  # host arrays -> arguments of `run`, not timed
    compile_seconds: float | None = None
    peak_bytes: int | None = None  # arguments, results and temporaries together


class Timing(NamedTuple):
    """Seconds of one contender."""

    median: float
    low: float  # lower quartile
    high: float  # upper quartile
    repeats: int
    status: str = ""  # why there are no more repeats, or none


def timing(seconds: Sequence[float]) -> Timing:
    """Summarises repeated measurements."""
    if not seconds:
        return Timing(math.nan, math.nan, math.nan, 0)
    low, high = np.quantile(seconds, [0.25, 0.75])
    return Timing(statistics.median(seconds), float(low), float(high), len(seconds))


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Returns a function's result and the seconds until it was ready."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - start


def on_device(*arrays: Any) -> tuple:
    """Moves host arrays to the device and waits until they are there."""
    return jax.block_until_ready(jax.device_put(arrays))


def jax_contender(
    function: Callable[..., Any], *arrays: Any, prepare: Callable = on_device
) -> Contender:
    """Compiles `function` for inputs like `arrays` and notes what that took.

    `peak_bytes` is the compiler's own count of arguments, results and temporaries of
    one execution, which is exact, repeatable and the same question on every backend.
    """
    args = prepare(*arrays)
    lowered, lowering = timed_call(jax.jit(function).lower, *args)
    compiled, compiling = timed_call(lowered.compile)

    def run(*args: Any) -> Any:
        return jax.block_until_ready(compiled(*args))

    return Contender(run, prepare, lowering + compiling, peak_bytes(compiled))


def timed_call(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Like `timed`, for results that are not arrays."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def peak_bytes(compiled: Any) -> int | None:
    """Memory of one execution of a compiled function, or None where unknown."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def numpy_contender(
    function: Callable[..., Any], prepare: Callable[..., tuple] = lambda *x: x
) -> Contender:
    """A function of host arrays."""
    return Contender(function, prepare)


def torch_contender(function: Callable[..., Any]) -> Contender:
    """A function of PyTorch tensors on the CPU, which share memory with the arrays."""
    import torch

    def run(*tensors: Any) -> Any:
        with torch.inference_mode():
            return function(*tensors)

    return Contender(run, lambda *arrays: tuple(map(torch.from_numpy, arrays)))


def compare(
    contenders: Mapping[str, Contender],
    make_inputs: MakeInputs,
    *,
    repeats: int = 7,
    warmup: int = 1,
    seed: int = 0,
    limit: float = math.inf,
) -> dict[str, Timing]:
    """Times contenders in turns on the same fresh inputs.

    One that raises, or whose turns exceed `limit`, has no more turns, and says so.

    Args:
      contenders: what to time, by name.
      make_inputs: host arrays from a generator, called anew for every repetition.
      repeats: timed repetitions.
      warmup: repetitions before them, not counted.
      seed: of the generator.
      limit: seconds a contender may take, warming up included.
    """
    rng = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    status = dict.fromkeys(contenders, "")
    for repeat in range(-warmup, repeats):
        arrays = make_inputs(rng)
        for name, contender in contenders.items():
            if status[name]:
                continue
            try:
                args = contender.prepare(*arrays)
                _, taken = timed_call(contender.run, *args)
            except Exception as error:  # whatever a library raises is its result
                status[name] = failure(error)
                continue
            spent[name] += taken
            if repeat >= 0:
                seconds[name].append(taken)
            if spent[name] > limit and repeat + 1 < repeats:
                status[name] = f"over the limit of {limit:g} s"
    return {
        name: timing(taken)._replace(status=status[name])
        for name, taken in seconds.items()
    }


def failure(error: Exception) -> str:
    """What a table says of a contender that raised."""
    reason = " ".join(str(error).split())
    return f"failed: {type(error).__name__}: {reason}"[:200]


def normal(*shape: int, scale: float = 3.0) -> MakeInputs:
    """Inputs of one float32 array of normal logits."""

    def make(rng: np.random.Generator) -> tuple[np.ndarray]:
        return (scale * rng.standard_normal(shape, dtype=np.float32),)

    return make


def copy_bandwidth(num_bytes: int | None = None) -> float:
    """GB/s read and written by an in-place update of a large array.

    On a CPU this is what one device of XLA reaches, with one core.
    """
    if num_bytes is None:
        num_bytes = 2**27 if jax.default_backend() == "cpu" else 2**30
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jax.block_until_ready(step(jnp.zeros(num_bytes // 4, jnp.float32)))
    seconds = []
    for _ in range(7):
        x, taken = timed(step, x)
        seconds.append(taken)
    return 2 * num_bytes / statistics.median(seconds) / 1e9


def threaded_copy_bandwidth(num_threads: int, num_bytes: int = 2**27) -> float:
    """GB/s read and written where threads copy a part of host memory each."""
    source = np.ones(num_bytes // 4, np.float32)
    target = np.zeros_like(source)
    parts = [np.array_split(array, num_threads) for array in (target, source)]
    seconds = []
    with ThreadPoolExecutor(num_threads) as pool:
        for _ in range(8):
            copies = lambda: list(pool.map(np.copyto, *parts))  # noqa: E731
            seconds.append(timed_call(copies)[1])
    return 2 * num_bytes / statistics.median(seconds[1:]) / 1e9


def matmul_rate(size: int | None = None) -> float:
    """GFLOP/s of a square float32 matrix product that is one, not TF32."""
    if size is None:
        size = 2048 if jax.default_backend() == "cpu" else 8192
    make_inputs = normal(size, size, scale=1.0)
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    contender = jax_contender(product, *(2 * make_inputs(np.random.default_rng(0))))
    rng = np.random.default_rng(1)
    args = contender.prepare(*make_inputs(rng), *make_inputs(rng))
    seconds = [timed_call(contender.run, *args)[1] for _ in range(5)]
    return 2 * size**3 / statistics.median(seconds) / 1e9


def machine() -> dict[str, Any]:
    """The header of every result: where it ran, on what, and what that can do."""
    header: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "numpy": np.__version__,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        # Other people's work on the machine: above the number of cores, distrust.
        "load_average": round(os.getloadavg()[0], 2)
        if hasattr(os, "getloadavg")
        else None,
    }
    header["copy_gb_per_s"] = round(copy_bandwidth(), 2)
    if header["backend"] == "cpu" and header["cores"]:
        # XLA copies with one core: what all of them reach bounds every library.
        threads = min(header["cores"], 8)
        header["copy_threads"] = threads
        header["copy_gb_per_s_threads"] = round(threaded_copy_bandwidth(threads), 2)
    header["matmul_gflop_per_s"] = round(matmul_rate(), 1)
    return header


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def print_header(header: Mapping[str, Any]) -> None:
    """Prints the machine, one fact a line."""
    for name, value in header.items():
        print(f"# {name}: {value}")


def print_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    heading: bool = True,
    widths: Mapping[str, int] | None = None,
) -> None:
    """Prints rows of equal keys in columns.

    Args:
      rows: what to print.
      heading: whether the keys come first.
      widths: least width of a column, so that rows printed later line up.
    """
    if not rows:
        return
    names = list(rows[0])
    cells = [names] + [[_cell(row[name]) for name in names] for row in rows]
    least = [(widths or {}).get(name, 10) for name in names]
    for i in range(len(names)):
        least[i] = max(least[i], *(len(line[i]) for line in cells))
    for line in cells if heading else cells[1:]:
        padded = [text.rjust(width) for text, width in zip(line, least, strict=True)]
        print("  ".join(padded).rstrip(), flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def write_json(
    path: str | Path, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Writes a result file: the machine and the measurements."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": dict(header), "results": [dict(row) for row in rows]}
    path.write_text(json.dumps(result, indent=2) + "\n")
