"""PyTorch on the same device, as people write it: scores, selections, ResNet-18."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from harness import failure
from score_peers import torch_scores

from accelerator.parts import scores, selections
from accelerator.plan import Context, Row
from accelerator.subjects import torch_networks, torch_selections
from accelerator.subjects.images import load
from accelerator.subjects.networks import about_images
from accelerator.subjects.torch_networks import device, timed, why_not


def measure(context: Context) -> Iterator[Row]:
    """Yields a row for what `scores`, `selections` and `throughput` have too."""
    if reason := why_not():
        yield {"name": "all", "library": "PyTorch", "status": reason}
        return
    for about, work in [*_scores(context), *_selections(context), *_networks(context)]:
        row = about | {"library": "PyTorch"}
        try:
            row |= work()
        except Exception as error:  # for want of memory, say: the others still run
            row["status"] = failure(error)
        yield row


def _scores(context: Context) -> Iterator[tuple[Row, Any]]:
    sizes = [(name, s) for s in context.scale.scores for name in ("entropy", "margin")]
    for name, size in [*sizes, ("bald", context.scale.samples)]:
        yield scores.about(name, size), partial(_score, name, size, context)


def _score(name: str, size: tuple[int, ...], context: Context) -> Row:
    import torch

    count = scores.num_inputs(size)
    inputs = [(3 * torch.randn(size, device=device()),) for _ in range(count)]
    with torch.inference_mode():
        row = timed(torch_scores()[name], inputs, context.scale.repeats)
    return scores.with_rate(row, size)


def _selections(context: Context) -> Iterator[tuple[Row, Any]]:
    for size in context.scale.pools:
        for name in torch_selections.SELECTIONS:
            yield selections.about(name, size), partial(_select, name, size, context)


def _select(name: str, size: Any, context: Context) -> Row:
    import torch

    with torch.inference_mode():
        inputs = [(*torch_selections.arrays(size), size.batch_size)]
        select = torch_selections.SELECTIONS[name]
        return timed(select, inputs, context.scale.repeats)


def _networks(context: Context) -> Iterator[tuple[Row, Any]]:
    size = context.scale.training
    if size.network != "resnet18":  # the only one that is written in both
        return
    data = load(context)
    works = [(torch_networks.train, "training", n) for n in size.batch_sizes]
    works += [(torch_networks.score, "scoring", n) for n in size.chunk_sizes]
    for work, name, together in works:
        about = about_images(context, name, together)
        yield about, partial(work, context, data, together)
