"""How fast a device is, measured in a moment."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_REPEATS = 3


class Rates(NamedTuple):
    """What one device does in a second."""

    flops: float  # of float32 matrix products
    bytes: float  # read and written by a copy


def measure_rates(
    size: int | None = None, clock: Callable[[], float] = time.perf_counter
) -> Rates:
    """Returns the rates of the default device, best of three.

    Args:
      size: side of the matrices, by default 1,024 on a CPU and 8,192 elsewhere. Some
        times as many numbers are copied.
      clock: what seconds are, such as `time.process_time`, of all cores together.

    Returns:
      `Rates`, a fraction of a second later.

    Example:
      >>> from jaxal.planning import measure_rates
      >>> measure_rates(64).flops > 0
      True
    """
    if size is None:
        size = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones([size, size])
    product = jax.jit(lambda x: jnp.matmul(x, x, precision=jax.lax.Precision.HIGHEST))
    # Twice the same memory: what the system does for a new page is no copy.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    wide = jnp.ones([16 if size < 4096 else 8, size, size])
    num_bytes = 2 * wide.nbytes

    def copy(_: None) -> None:
        nonlocal wide
        wide = jax.block_until_ready(add(wide))

    return Rates(
        2 * size**3 / best_time(product, x, clock),
        num_bytes / best_time(copy, None, clock),
    )


def best_time(
    fn: Callable[[Any], Any],
    argument: Any,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Returns the seconds of a call after the first, the least of three."""
    jax.block_until_ready(fn(argument))
    times = []
    for _ in range(_REPEATS):
        start = clock()
        jax.block_until_ready(fn(argument))
        times.append(clock() - start)
    return min(times)
