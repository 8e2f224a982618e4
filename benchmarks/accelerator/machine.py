"""The header of the results: which device, which versions, which driver."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from typing import Any

import harness
import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "chex", "numpy", "torch")
_ASKED = ("name", "driver_version", "memory.total")


def header() -> dict[str, Any]:
    """Returns what a number is worth nothing without."""
    device = jax.devices()[0]
    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 0))(0)
    return {
        "device": device.device_kind,
        "backend": jax.default_backend(),
        "devices": jax.device_count(),
        "memory_gb": _memory(device),
        "nvidia_smi": _nvidia_smi(),
        "cpu": harness._cpu_name(),
        "cores": len(cores),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: v for name in _PACKAGES if (v := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        # With one, compile times are those of reading what was compiled before.
        "compilation_cache": jax.config.jax_compilation_cache_dir,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def peak_memory() -> dict[str, float]:
    """Returns the most memory held so far, by the device's arrays and this process."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    found = {"host_peak_mb": peak}
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        found["device_peak_mb"] = stats["peak_bytes_in_use"] / 1e6
    return found


def _memory(device: Any) -> float | None:
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] / 1e9 if "bytes_limit" in stats else None


def _nvidia_smi() -> dict[str, str] | None:
    if not shutil.which("nvidia-smi"):
        return None
    query = f"--query-gpu={','.join(_ASKED)}"
    command = ["nvidia-smi", query, "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first = (done.stdout.splitlines() or [""])[0]
    return dict(zip(_ASKED, map(str.strip, first.split(",")), strict=False))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
