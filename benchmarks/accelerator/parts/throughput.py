"""Images a second: of a learner, and of a look at a pool."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from harness import failure

import jaxal
from accelerator.measuring import compiled, timed_calls
from accelerator.plan import Context, Row
from accelerator.subjects.images import Data, load
from accelerator.subjects.networks import about_images, network, with_image_rate

LARGE = 512  # rows together, of which only this part has more


def measure(context: Context) -> Iterator[Row]:
    """Yields rows of training and of scoring, for every number of rows together."""
    size, data = context.scale.training, load(context)
    works = [(_train, "training", n) for n in size.batch_sizes]
    works += [(_score, "scoring", n) for n in size.chunk_sizes]
    # First those that other parts use: compiling takes long.
    for work, name, together in sorted(works, key=lambda work: work[2] > LARGE):
        try:
            yield work(context, data, together)
        except Exception as error:  # for want of memory, say: the others still run
            yield about_images(context, name, together) | {"status": failure(error)}


def _train(context: Context, data: Data, batch_size: int) -> Row:
    """Steps of `supervised`, in one program, as every fit takes them."""
    size = context.scale.training
    steps = max(1, size.images // batch_size)
    model = network(size)
    learner = jaxal.supervised(model, epochs=10_000, batch_size=batch_size)
    pool = jaxal.make_pool(*data.train)
    variables = learner.init(jax.random.key(0), pool.inputs)
    state = jax.jit(learner.start)(jax.random.key(1), variables, pool)
    args = (state, pool, jnp.int32(steps))
    program = compiled(learner.advance, *args)
    timed = timed_calls(program.call, [args], repeats=context.scale.repeats)
    row = (
        about_images(context, "training", batch_size)
        | timed
        | program.facts(context, *args)
    )
    row = with_image_rate(context, row, steps * batch_size)
    if batch_size == size.batch_sizes[0]:  # of fits, which are cut to the time left
        row["facts"] = {"train_images_per_s": row["images_per_s"]}
    return row


def _score(context: Context, data: Data, chunk_size: int) -> Row:
    """Logits and features of rows in chunks, as the loop looks at a pool."""
    size = context.scale.training
    model = network(size)
    images = jnp.asarray(data.train[0][: size.images])
    variables = model.init(jax.random.key(0), images[:1])

    def look(variables: Any, images: Any) -> Any:
        rows = lambda chunk: model.apply(variables, chunk)[0]  # noqa: E731
        return jaxal.map_rows(rows, images, chunk_size=chunk_size)

    args = (variables, images)
    program = compiled(look, *args)
    timed = timed_calls(program.call, [args], repeats=context.scale.repeats)
    row = (
        about_images(context, "scoring", chunk_size)
        | timed
        | program.facts(context, *args)
    )
    return with_image_rate(context, row, len(images))
