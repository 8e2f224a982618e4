"""What the machine can do: the rate of a matrix product and of a copy."""

import time

import jax
import jax.numpy as jnp
import numpy as np

_SIDE = {"cpu": 2048, "gpu": 8192}
_COPY = {"cpu": 1 << 26, "gpu": 1 << 30}  # bytes, more than caches hold


def measure(repeats: int = 3) -> dict[str, float]:
    """Returns FLOP/s of a float32 product and bytes/s of a copy, the best of a few.

    On a CPU, the better of XLA and NumPy: the floor is the machine's, not a library's.
    """
    backend = jax.default_backend()
    side = _SIDE.get(backend, 4096)
    size = _COPY.get(backend, 1 << 28) // 4
    square = jnp.ones((side, side), jnp.float32) / side
    product = jax.jit(lambda x: jnp.matmul(x, x, precision=jax.lax.Precision.HIGHEST))
    vector = jnp.ones(size, jnp.float32)
    shift = jax.jit(lambda x: x + 1)
    product_seconds = _best(lambda: product(square).block_until_ready(), repeats)
    copy_seconds = _best(lambda: shift(vector).block_until_ready(), repeats)
    if backend == "cpu":
        x, source = np.asarray(square), np.asarray(vector)
        target = np.empty_like(source)
        product_seconds = min(product_seconds, _best(lambda: x @ x, repeats))
        copies = _best(lambda: np.copyto(target, source), repeats)
        copy_seconds = min(copy_seconds, copies)
    return {"flops": 2 * side**3 / product_seconds, "bytes": 8 * size / copy_seconds}


def _best(fn, repeats: int) -> float:
    fn()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        fn()
        found.append(time.perf_counter() - start)
    return min(found)
