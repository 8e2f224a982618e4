"""What a strategy holds, asked of the compiler: nothing runs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.planning.costs import Work, work_of
from jaxal.types import Output, Pool, Posterior, Strategy, View
from jaxal.viewing import make_look


class Sizes(NamedTuple):
    """The pool as one device sees it."""

    rows: int
    classes: int
    features: int
    samples: int
    input_bytes: int
    batch_size: int
    chunk_size: int


class Compiled(NamedTuple):
    """What the compiler says of one function, in bytes, and its counted work."""

    arguments: int
    outputs: int
    scratch: int
    work: Work

    @property
    def total(self) -> int:
        return self.arguments + self.outputs + self.scratch


def pool_struct(sizes: Sizes) -> Pool:
    """Returns the shapes of a pool with `input_bytes` a row."""

    def pool() -> Pool:
        nobody = jnp.zeros(sizes.rows, bool)
        inputs = jnp.zeros((sizes.rows, sizes.input_bytes), jnp.uint8)
        return Pool(inputs, jnp.zeros(sizes.rows, jnp.int32), nobody, nobody)

    return jax.eval_shape(pool)


def compile_look(strategy: Strategy, sizes: Sizes) -> tuple[View, Compiled]:
    """Returns the shapes of a strategy's view, and what looking at the pool takes.

    A model that costs nothing stands in for the one that will be looked with.
    """
    look = make_look(_stand_in(sizes), strategy, sizes.chunk_size, None)
    args: tuple = (_key_struct(), {}, pool_struct(sizes))
    view = jax.eval_shape(look, *args).view
    num_chunks = -(-sizes.rows // sizes.chunk_size)
    return view, _compile(look, args, num_chunks)


def compile_choice(strategy: Strategy, view: View, batch_size: int) -> Compiled:
    """Returns what choosing from a view takes."""

    def choose(key: Array, view: View) -> Any:
        return strategy.select(key, view, batch_size)

    return _compile(choose, (_key_struct(), view), None)


def size_of(tree: Any) -> int:
    """Returns the bytes of a pytree of shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _compile(fn: Any, args: tuple, trips: int | None) -> Compiled:
    traced = jax.jit(fn).trace(*args)
    analysis = traced.lower().compile().memory_analysis()
    return Compiled(
        arguments=size_of(args[1:]),  # all of them, also those that are not read
        outputs=int(analysis.output_size_in_bytes),
        scratch=int(analysis.temp_size_in_bytes),
        work=work_of(traced.jaxpr, trips),
    )


def _stand_in(sizes: Sizes) -> Posterior:
    def network(state: Any, inputs: Array) -> Output:
        del state
        # Something of the inputs, or all would be constants.
        row = jnp.sum(inputs, axis=-1, keepdims=True, dtype=jnp.int32)
        row = row.astype(jnp.float32)
        steps = jnp.arange(sizes.classes, dtype=jnp.float32)[None]
        wide = jnp.arange(sizes.features, dtype=jnp.float32)[None]
        return Output(row + steps, row + wide)

    def predict(key: Array, state: Any, inputs: Array) -> Output:
        del key
        return network(state, inputs)

    def sample(key: Array, state: Any, inputs: Array) -> Output:
        output = network(state, inputs)
        noise = jax.random.uniform(key, (sizes.samples,))[:, None, None]
        return Output(output.logits[None] + noise, output.features)

    return Posterior(sizes.samples, sample, predict, network)


def _key_struct() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))
