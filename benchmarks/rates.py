"""What the machine can do: the rate of a matrix product and of a copy."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

_SIDE = {"cpu": 2048, "gpu": 8192}
_COPY = {"cpu": 1 << 26, "gpu": 1 << 30}  # bytes, more than caches hold


def measure(repeats: int = 3) -> dict[str, float]:
    """Returns FLOP/s of a float32 product and bytes/s of a copy, the best of a few.

    On a CPU, the better of XLA and NumPy: the floor is the machine's, not a library's.
    There, FLOP per second of CPU time as well, of all cores together: on a machine that
    others use too, it says more than the clock on the wall.
    """
    backend = jax.default_backend()
    side = _SIDE.get(backend, 4096)
    size = _COPY.get(backend, 1 << 28) // 4
    square = jnp.ones((side, side), jnp.float32) / side
    product = jax.jit(lambda x: jnp.matmul(x, x, precision=jax.lax.Precision.HIGHEST))
    vector = jnp.ones(size, jnp.float32)
    shift = jax.jit(lambda x: x + 1)
    products = [lambda: product(square).block_until_ready()]
    copies = [lambda: shift(vector).block_until_ready()]
    if backend == "cpu":
        x, source = np.asarray(square), np.asarray(vector)
        target = np.empty_like(source)
        products.append(lambda: x @ x)
        copies.append(lambda: np.copyto(target, source))
    product_seconds = min(_best(fn, repeats, time.perf_counter) for fn in products)
    product_cpu = min(_best(fn, repeats, time.process_time) for fn in products)
    copy_seconds = min(_best(fn, repeats, time.perf_counter) for fn in copies)
    return {
        "flops": 2 * side**3 / product_seconds,
        "flops_per_cpu_second": 2 * side**3 / product_cpu,
        "bytes": 8 * size / copy_seconds,
    }


def _best(fn: Callable, repeats: int, clock: Callable[[], float]) -> float:
    fn()
    found = []
    for _ in range(repeats):
        start = clock()
        fn()
        found.append(clock() - start)
    return min(found)
