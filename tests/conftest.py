"""A hostile environment: several devices, no silent broadcasting, no warnings."""

import os

NUM_DEVICES = int(os.environ.get("JAXAL_TEST_DEVICES", "4"))
# The device count is read when the first backend starts, so before jax is used.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count={NUM_DEVICES}"
)

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
