"""What the device can do: how fast it copies, and how fast it multiplies."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from harness import failure

from accelerator.measuring import best, compiled, timed_calls
from accelerator.plan import Context, Row

# By the name under which other rows ask for a rate: dtype and precision.
PRODUCTS: dict[str, tuple[Any, Any]] = {
    "float32": (jnp.float32, jax.lax.Precision.HIGHEST),
    "tf32": (jnp.float32, jax.lax.DotAlgorithmPreset.TF32_TF32_F32),
    "bfloat16": (jnp.bfloat16, None),
    "unasked": (jnp.float32, None),  # what JAX does with float32 that asks for nothing
}


def measure(context: Context) -> Iterator[Row]:
    """Yields the rate of a copy and of square matrix products."""
    yield _copy(context)
    for name in PRODUCTS:
        try:
            yield _product(name, context)
        except Exception as error:  # a CPU has no TF32
            yield {"name": f"product, {name}", "status": failure(error)}


def _copy(context: Context) -> Row:
    size = context.scale.copy_bytes // 4
    inputs = [(jnp.full(size, i, jnp.float32),) for i in range(2)]
    program = compiled(lambda x: x + 1, *inputs[0])
    row = timed_calls(program.call, inputs, repeats=context.scale.repeats)
    rate = 2 * context.scale.copy_bytes / best(row)
    return {
        "name": "copy",
        "size": f"{context.scale.copy_bytes / 2**20:g} MiB",
        **row,
        "gb_per_s": rate / 1e9,
        "facts": {"copy": rate},
    }


def _product(name: str, context: Context) -> Row:
    dtype, precision = PRODUCTS[name]
    side = context.scale.product_side
    keys = jax.random.split(jax.random.key(0), 3)
    a, b, c = (jax.random.normal(key, (side, side), dtype) for key in keys)
    inputs = [(a, b), (b, c)]
    program = compiled(lambda x, y: jnp.matmul(x, y, precision=precision), a, b)
    row = timed_calls(program.call, inputs, repeats=context.scale.repeats)
    rate = 2 * side**3 / best(row)
    return {
        "name": f"product, {name}",
        "size": f"{side} x {side}",
        **row,
        **program.facts(),
        "tflop_per_s": rate / 1e12,
        "facts": {name: rate},
    }
