"""Picks once from a pool of random rows and prints what took how long, as JSON.

    python pick_once.py STRATEGY ROWS FEATURES CLASSES PICKS

Everything is imported on the clock.
"""

import json
import sys
import time


def main() -> None:
    """Reads the sizes, picks, and prints."""
    name, *sizes = sys.argv[1:]
    rows, features, classes, batch_size = map(int, sizes)
    clock = [time.perf_counter()]
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jaxal

    clock.append(time.perf_counter())
    jax.block_until_ready(jnp.zeros(1))  # starts the device
    clock.append(time.perf_counter())
    rng = np.random.default_rng(0)
    is_available = jnp.ones(rows, bool)
    view = jaxal.View(
        is_available,
        ~is_available,
        logits=jnp.asarray(rng.standard_normal((rows, classes), np.float32)),
        features=jnp.asarray(rng.standard_normal((rows, features), np.float32)),
    )
    jax.block_until_ready(view)
    clock.append(time.perf_counter())
    select = jaxal.strategy(name).select
    for seed in range(2):
        picks = select(jax.random.key(seed), view, batch_size).indices
        np.asarray(picks)
        clock.append(time.perf_counter())
    names = ("import_s", "start_s", "data_s", "first_pick_s", "second_pick_s")
    pairs = zip(names, clock, clock[1:], strict=False)
    print(json.dumps({name: after - before for name, before, after in pairs}))


if __name__ == "__main__":
    main()
