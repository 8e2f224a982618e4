"""What the machine can do: the rate of a matrix product and of a copy."""

import time

import jax
import numpy as np

from jaxal.planning import measure_rates
from jaxal.planning.rates import best_time

SIDE = 2048


def measure() -> dict[str, float]:
    """Returns FLOP/s of a float32 product and bytes/s of a copy, the best of a few.

    On a CPU, the better of XLA and NumPy: the floor is the machine's, not a library's.
    There, FLOP per second of CPU time as well, of all cores together: on a machine that
    others use too, it says more than the clock on the wall.
    """
    side = SIDE if jax.default_backend() == "cpu" else None
    wall, cpu = (measure_rates(side, c) for c in (time.perf_counter, time.process_time))
    found = {
        "flops": wall.flops,
        "flops_per_cpu_second": cpu.flops,
        "bytes": wall.bytes,
    }
    if side is None:
        return found
    square, source = np.full((side, side), 1 / side, np.float32), np.ones(1 << 24)
    target = np.empty_like(source)

    def product(x: np.ndarray) -> np.ndarray:
        return x @ x

    numpy = {
        "flops": 2 * side**3 / best_time(product, square),
        "flops_per_cpu_second": 2
        * side**3
        / best_time(product, square, time.process_time),
        "bytes": 2 * source.nbytes / best_time(lambda x: np.copyto(target, x), source),
    }
    return {name: max(found[name], numpy[name]) for name in found}
