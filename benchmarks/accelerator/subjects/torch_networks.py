"""ResNet-18 in PyTorch: channels last, bfloat16 by autocast, eager."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax

from accelerator.measuring import timed_calls
from accelerator.plan import Context, Row
from accelerator.subjects.images import MEAN, STD, Data
from accelerator.subjects.networks import about_images, with_image_rate

_THREADS = 2  # of PyTorch on a CPU, as benchmarks/training.py has it


def why_not() -> str | None:
    """Returns why PyTorch is not timed, None where it is."""
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed"
    if jax.default_backend() != "cpu" and not torch.cuda.is_available():
        return "PyTorch sees no accelerator"
    return None


def device() -> str:
    """Returns where PyTorch computes: where JAX does."""
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def wait(result: Any = None) -> None:
    """Returns when PyTorch is done."""
    import torch

    del result
    if device() == "cuda":
        torch.cuda.synchronize()


def timed(call: Callable[..., Any], inputs: list[tuple], repeats: int) -> Row:
    """Times a call, and notes the most memory it held."""
    import torch

    if device() == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row = timed_calls(call, inputs, repeats=repeats, wait=wait)
    if device() == "cuda":
        row["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return row


def train(context: Context, data: Data, batch_size: int) -> Row:
    """Steps of SGD on random batches."""
    import torch

    net, images, labels = _ready(context, data)
    steps = max(1, context.scale.training.images // batch_size)
    how = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, **how)

    def run() -> None:
        for _ in range(steps):
            rows = torch.randint(len(images), (batch_size,), device=device())
            optimizer.zero_grad(set_to_none=True)
            with _autocast(context):
                logits = net(_scaled(images[rows]))
                loss = torch.nn.functional.cross_entropy(logits, labels[rows])
            loss.backward()
            optimizer.step()

    found = timed(run, [()], context.scale.repeats)
    row = about_images(context, "training", batch_size) | found
    return with_image_rate(context, row, steps * batch_size)


def score(context: Context, data: Data, chunk_size: int) -> Row:
    """Logits of a pool in chunks."""
    import torch

    net, images, _ = _ready(context, data)
    images = images[: context.scale.training.images]
    net.eval()

    @torch.inference_mode()
    def run() -> Any:
        with _autocast(context):
            return torch.cat([net(_scaled(x)) for x in images.split(chunk_size)])

    found = timed(run, [()], context.scale.repeats)
    row = about_images(context, "scoring", chunk_size) | found
    return with_image_rate(context, row, len(images))


def _ready(context: Context, data: Data) -> tuple[Any, Any, Any]:
    import torch
    import training

    torch.backends.cudnn.benchmark = True
    width = context.scale.training.settings["width"]
    given = SimpleNamespace(threads=_THREADS)
    net = training._torch_net(width, given, channels_last=True).to(device())
    images, labels = data.train
    images = torch.from_numpy(images).to(device())
    return net, images, torch.from_numpy(labels).long().to(device())


def _scaled(images: Any) -> Any:
    """Bytes `[B, H, W, 3]`, which are channels last already, made numbers."""
    import torch

    mean, std = (torch.tensor(x, device=images.device) for x in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def _autocast(context: Context) -> Any:
    import torch

    is_half = context.scale.training.settings.get("dtype") == "bfloat16"
    return torch.autocast(device(), torch.bfloat16, enabled=is_half)
