"""A hostile environment: several devices, no silent broadcasting, no warnings."""

import gc
import os
import signal
import subprocess
import sys
import tempfile

NUM_DEVICES = int(os.environ.get("JAXAL_TEST_DEVICES", "4"))
DEVICES = f"--xla_force_host_platform_device_count={NUM_DEVICES}"
# Most of the time goes into compiling programs that run once, for a moment.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)
GIVEN = "JAXAL_TEST_XLA_FLAGS"  # "" to compile as users do


def quick_flags() -> str:
    """Flags for quick compiling, or none where this XLA would refuse to start."""
    if GIVEN not in os.environ:
        env = {**os.environ, "XLA_FLAGS": QUICK, "JAX_PLATFORMS": "cpu"}
        probe = [sys.executable, "-c", "import jax; jax.devices()"]
        is_known = subprocess.run(probe, env=env, capture_output=True).returncode == 0
        os.environ[GIVEN] = QUICK if is_known else ""  # processes started here inherit
    return os.environ[GIVEN]


# Flags are read when the first backend starts, so before jax is used.
if DEVICES not in os.environ.get("XLA_FLAGS", ""):
    given = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{given} {DEVICES} {quick_flags()}"

# Whoever starts tests in the background has Ctrl-C ignored, also by what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads that wait for each other's tiny matrices take five times what one takes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests compile the same small programs over and over, each in a closure of its own;
# subprocesses share the cache too. Tracing, which tests count, is not cached.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "jaxal-test-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Tracing makes millions of objects that live: looking for dead ones is a tenth of it.
gc.set_threshold(200_000, 20, 100)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_traceback_in_locations_limit", 0)  # frames nobody reads


class OwnRegistry:
    """What a test or a doctest registers goes with it, else later tables name it."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        from jaxal import registry

        registry.strategy_names()  # those of the library itself stay
        before = dict(registry._ENTRIES)
        try:
            return (yield)
        finally:
            registry._ENTRIES.clear()
            registry._ENTRIES.update(before)


def pytest_configure(config):
    config.pluginmanager.register(OwnRegistry())  # a hook here would miss doctests


@pytest.fixture(autouse=True, scope="module")
def programs_go_with_their_module():
    """Thousands of compiled programs would fill memory, and the table of mappings."""
    yield
    jax.clear_caches()
