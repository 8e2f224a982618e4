"""A hostile environment: several devices, no silent broadcasting, no warnings."""

import os
import tempfile

NUM_DEVICES = int(os.environ.get("JAXAL_TEST_DEVICES", "4"))
# The device count is read when the first backend starts, so before jax is used.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count={NUM_DEVICES}"
)

# Tests compile the same small programs over and over, each in a closure of its own;
# subprocesses share the cache too. Tracing, which tests count, is not cached.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "jaxal-test-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
