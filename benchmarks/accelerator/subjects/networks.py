"""The network of the training parts, and how much arithmetic an image costs it."""

from typing import Any

import jax.numpy as jnp

import jaxal
from accelerator.measuring import best
from accelerator.plan import Context, Row
from accelerator.scales import Training
from accelerator.subjects.images import MEAN, NUM_CLASSES, STD
from jaxal import models

TRAINING = 3  # times the arithmetic of looking: forward, and two products backward


def network(size: Training, **settings: Any) -> jaxal.Model:
    """Returns a scale's network, for images of bytes."""
    given = {**size.settings, **settings}
    if "dtype" in given:
        given["dtype"] = jnp.dtype(given["dtype"])
    model = models.build(size.network, NUM_CLASSES, **given)
    return models.scale_inputs(model, MEAN, STD)


def name_of(size: Training) -> str:
    """Returns the network with its settings, for a row."""
    settings = " ".join(f"{name} {value}" for name, value in size.settings.items())
    return f"{size.network} {settings}".strip()


def unit_of(size: Training) -> str:
    """Returns which rate of products bounds it."""
    return "bfloat16" if size.settings.get("dtype") == "bfloat16" else "float32"


def forward_flops(size: Training) -> float:
    """Returns operations of one image's way through ResNet-18; 0 for other networks."""
    if size.network != "resnet18":
        return 0.0
    width, side = size.settings["width"], size.side
    total, channels = _conv(3, 3, width, side), width
    for stage in range(4):
        out = width * 2**stage
        side = -(-side // 2) if stage else side
        total += _conv(3, channels, out, side) + 3 * _conv(3, out, out, side)
        total += _conv(1, channels, out, side) if channels != out else 0
        channels = out
    return total + 2.0 * channels * NUM_CLASSES


def about_images(context: Context, name: str, together: int) -> Row:
    """Returns what is known before: name and size."""
    size = context.scale.training
    return {"name": name, "size": f"{name_of(size)}, {together} together"}


def with_image_rate(context: Context, row: Row, images: int) -> Row:
    """Returns a row that says how many images a second that is."""
    size = context.scale.training
    times = TRAINING if row["name"] == "training" else 1
    return row | {
        "flops": times * images * forward_flops(size),
        "unit": unit_of(size),
        "images_per_s": images / best(row),
    }


def _conv(kernel: int, inputs: int, outputs: int, side: int) -> float:
    return 2.0 * kernel**2 * inputs * outputs * side**2
