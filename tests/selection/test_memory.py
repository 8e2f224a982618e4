"""Work arrays at ten million rows, as the compiler counts them: nothing runs."""

import jax
import jax.numpy as jnp
import pytest

from jaxal.embeddings import Dense, Outer
from jaxal.selection import gumbel_top_k, k_center, k_means, k_means_plus_plus
from tests.thinned import thinned

NUM_ROWS, NUM_DIMS, NUM_CLASSES, BATCH_SIZE = 10_000_000, 64, 10, 100
CONSTANT = 64 << 20  # chunks, candidates and what lies between them
CASES = {
    "dense": (k_center, jnp.float32),
    "bfloat16": (k_center, jnp.bfloat16),
    "outer": (k_means_plus_plus, jnp.bfloat16),
    "k_means": (k_means, jnp.bfloat16),
    "gumbel": (gumbel_top_k, jnp.float32),
}


def rows_of(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((NUM_ROWS, *shape), dtype)


def bytes_at_work(fn, *args):
    key = jax.eval_shape(lambda: jax.random.key(0))
    analysis = jax.jit(fn).lower(key, *args).compile().memory_analysis()
    return analysis.temp_size_in_bytes


@pytest.mark.skipif(
    jax.__version_info__ < (0, 10), reason="XLA of JAX 0.7 copies what is held"
)
@pytest.mark.parametrize("name", thinned(CASES, 2))
def test_work_arrays_are_some_numbers_a_row(name):
    selector, dtype = CASES[name]
    mask, features = rows_of(dtype=bool), rows_of(NUM_DIMS, dtype=dtype)
    if selector is gumbel_top_k:
        used = bytes_at_work(
            lambda *args: gumbel_top_k(*args, batch_size=BATCH_SIZE), rows_of(), mask
        )
    elif selector is k_means:
        used = bytes_at_work(
            lambda *args: k_means(*args, num_clusters=BATCH_SIZE), features, mask
        )
    else:

        def select(key, a, h, *masks):
            rows = Dense(h) if selector is k_center else Outer(a, h)
            return selector(key, rows, *masks, batch_size=BATCH_SIZE)

        classes = rows_of(NUM_CLASSES)
        used = bytes_at_work(select, classes, features, mask, mask)
    assert used <= 40 * NUM_ROWS + CONSTANT
    # The allowance is no copy of the rows, however narrow.
    assert NUM_DIMS * jnp.dtype(dtype).itemsize > 40 + CONSTANT / NUM_ROWS
