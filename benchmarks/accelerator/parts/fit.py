"""One full fit, timed as a whole, and what it reaches."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

import jaxal
from accelerator.measuring import compiled, in_one_call
from accelerator.plan import Context, Row
from accelerator.subjects.images import Data, crop_flip, load
from accelerator.subjects.networks import (
    TRAINING,
    forward_flops,
    name_of,
    network,
    unit_of,
)

AIM = 0.94  # of CIFAR-10's test images, after 30 epochs
_SHARE = 0.7  # of the time left: compiling and a slow start want some, too


def measure(context: Context) -> Iterator[Row]:
    """Yields one row: all rows labelled, weights from scratch."""
    size, data = context.scale.training, load(context)
    num_rows, batch_size = len(data.train[0]), size.batch_sizes[0]
    epochs = affordable(context, size.epochs, num_rows)
    model = network(size)
    how = {"batch_size": batch_size, "augment": crop_flip}
    learner = jaxal.supervised(model, epochs=epochs, **how)
    pool = jaxal.make_pool(*data.train)
    variables = learner.init(jax.random.key(0), pool.inputs)
    args = (jax.random.key(1), variables, pool)
    program = compiled(learner.fit, *args)
    (variables, info), row = in_one_call(program.call, *args)
    test = tuple(map(jnp.asarray, data.test))
    accuracy = jax.jit(learner.evaluate)(variables, *test).accuracy
    images = epochs * num_rows
    yield {
        "name": f"{epochs} epochs",
        "size": f"{name_of(size)}, {num_rows:,} rows, {batch_size} together",
        "flops": TRAINING * images * forward_flops(size),
        "unit": unit_of(size),
        **row,
        **program.facts(),
        "images_per_s": images / row["seconds"],
        "loss": float(info.loss),
        "accuracy": float(accuracy),
        "data": data.name,
        **({"aim": f"{AIM:.0%}"} if is_whole(context, data) else {}),
        **({"cut": f"{size.epochs} epochs wanted"} if epochs < size.epochs else {}),
    }


def is_whole(context: Context, data: Data) -> bool:
    """Whether it is the data set and the network that figures are known of."""
    is_full = context.scale.name == "full" and context.images is not None
    return is_full and len(data.train[0]) == context.scale.training.rows


def affordable(context: Context, epochs: int, num_rows: int) -> int:
    """Returns how many epochs fit in the time left, at the rate measured before."""
    rate = context.facts.get("train_images_per_s")
    if not rate:
        return epochs
    most = int(_SHARE * context.left() * rate / num_rows)
    return max(1, min(epochs, most))
