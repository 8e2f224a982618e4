"""Images/s of training and of looking at a pool: jaxal, plain Flax, PyTorch.

    python benchmarks/training.py --widths 16 64 --json benchmarks/results/training.json

ResNet-18 for 32 x 32 images. `train` is forward, backward and an SGD update with
Nesterov momentum and weight decay; jaxal's steps run inside one `fori_loop`, as its
learner runs them, plain Flax (the same network on `lax.conv`) takes one jitted step at
a time, which is its faster way on a CPU. `predict` is the deterministic network,
`mc_dropout` draws 10 samples with dropout before the last layer. Contenders take turns
on the same images; PyTorch, where installed, runs eagerly in either memory format.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import numpy as np
import optax
from harness import Contender, compare, machine, print_header, print_table, write_json
from jax import lax

from jaxal.models import layers, resnet18

NUM_CLASSES = 10
NUM_SAMPLES = 10


def main() -> None:
    args = _parse()
    header = machine()
    print_header(header)
    rows = []
    for width in args.widths:
        for task in args.tasks:
            rows += measure(task, width, args)
            print_table(rows)
    if args.json:
        write_json(args.json, header, rows)


def measure(task: str, width: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contender of one task."""
    makers = {
        "train": {
            "jaxal": lambda: jax_train(width, args, steps=args.steps),
            "flax": lambda: with_native(jax_train, width, args, steps=1),
            "torch": lambda: torch_train(width, args, channels_last=False),
            "torch channels_last": lambda: torch_train(width, args, channels_last=True),
        },
        "predict": {
            "jaxal": lambda: jax_predict(width, args),
            "flax": lambda: with_native(jax_predict, width, args),
            "torch": lambda: torch_predict(width, args, channels_last=False),
            "torch channels_last": lambda: torch_predict(
                width, args, channels_last=True
            ),
        },
        "mc_dropout": {
            "jaxal": lambda: jax_mc_dropout(width, args),
            "predict": lambda: jax_predict(width, args),
        },
    }[task]
    contenders, images = {}, {}
    for name, make in makers.items():
        if not name.startswith("torch") or not args.no_torch:
            contenders[name], images[name] = make()
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    watched = {name: with_cpu_clock(c, cpu[name]) for name, c in contenders.items()}
    timings = compare(watched, lambda rng: batch(rng, args), repeats=args.repeats)
    return [
        {
            "task": task,
            "width": width,
            "contender": name,
            "images_per_s": images[name] / timing.median,
            "slower_quartile": images[name] / timing.high,
            "best": images[name] / timing.low,
            # Other people's work on the machine takes turns, not processor time.
            "per_cpu_s": images[name] / float(np.median(cpu[name][1:])),
            "compile_s": contenders[name].compile_seconds,
        }
        for name, timing in timings.items()
    ]


def batch(rng: np.random.Generator, args: argparse.Namespace) -> tuple[np.ndarray, ...]:
    shape = (args.batch_size, 32, 32, 3)
    labels = rng.integers(NUM_CLASSES, size=args.batch_size)
    return rng.standard_normal(shape, dtype=np.float32), labels.astype(np.int32)


def with_cpu_clock(contender: Contender, seconds: list[float]) -> Contender:
    def run(*args: Any) -> Any:
        start = time.process_time()
        result = contender.run(*args)
        seconds.append(time.process_time() - start)
        return result

    return contender._replace(run=run)


def with_native(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Builds a contender on `lax.conv_general_dilated` itself."""

    def native(inputs: Any, kernel: Any, stride: int, padding: str) -> Any:
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            inputs, kernel, (stride, stride), padding, dimension_numbers=dimensions
        )

    with mock.patch.object(layers, "conv2d", native):
        return make(*args, **kwargs)


def jax_train(
    width: int, args: argparse.Namespace, steps: int
) -> tuple[Contender, int]:
    model = resnet18(NUM_CLASSES, width=width)
    optimizer = optax.chain(
        optax.add_decayed_weights(5e-4), optax.sgd(0.01, momentum=0.9, nesterov=True)
    )

    def loss(params: Any, carried: Any, images: Any, labels: Any) -> Any:
        variables = {**carried, "params": params}
        output, variables = model.apply(variables, images, train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(output.logits, labels)
        return losses.mean(), {k: v for k, v in variables.items() if k != "params"}

    def step(state: Any, images: Any, labels: Any) -> Any:
        params, carried, momentum = state
        gradients, carried = jax.grad(loss, has_aux=True)(
            params, carried, images, labels
        )
        updates, momentum = optimizer.update(gradients, momentum, params)
        return optax.apply_updates(params, updates), carried, momentum

    def train(state: Any, images: Any, labels: Any) -> Any:
        if steps == 1:
            return step(state, images, labels)
        return lax.fori_loop(0, steps, lambda _, s: step(s, images, labels), state)

    images, labels = batch(np.random.default_rng(0), args)
    variables = model.init(jax.random.key(0), images)
    params = variables.pop("params")
    state = (params, variables, optimizer.init(params))
    contender = _compiled(train, state, images, labels)
    return contender, steps * args.batch_size


def jax_predict(width: int, args: argparse.Namespace) -> tuple[Contender, int]:
    model = resnet18(NUM_CLASSES, width=width, dropout=0.5)
    images, labels = batch(np.random.default_rng(0), args)
    variables = model.init(jax.random.key(0), images)

    def predict(variables: Any, images: Any, labels: Any) -> Any:
        return model.apply(variables, images)[0].logits

    return _compiled(predict, variables, images, labels), args.batch_size


def jax_mc_dropout(width: int, args: argparse.Namespace) -> tuple[Contender, int]:
    model = resnet18(NUM_CLASSES, width=width, dropout=0.5)
    images, labels = batch(np.random.default_rng(0), args)
    variables = model.init(jax.random.key(0), images)

    def predict(variables: Any, images: Any, labels: Any) -> Any:
        def sample(key: Any) -> Any:
            def row(x: Any) -> Any:
                return model.apply(variables, x[None], key=key)[0].logits[0]

            return jax.vmap(row)(images)

        return jax.vmap(sample)(jax.random.split(jax.random.key(1), NUM_SAMPLES))

    return _compiled(predict, variables, images, labels), args.batch_size


def _compiled(function: Callable, state: Any, images: Any, labels: Any) -> Contender:
    """Compiles `function(state, images, labels)`; the state stays where it is."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(state, images, labels).compile()
    seconds = time.perf_counter() - start

    def run(images: Any, labels: Any) -> Any:
        return jax.block_until_ready(compiled(state, images, labels))

    def prepare(*arrays: Any) -> tuple:
        return tuple(jax.block_until_ready(jax.device_put(arrays)))

    return Contender(run, prepare, seconds)


def torch_train(
    width: int, args: argparse.Namespace, channels_last: bool
) -> tuple[Contender, int]:
    import torch

    net = _torch_net(width, args, channels_last)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def run(images: Any, labels: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return Contender(run, _torch_images(channels_last)), args.batch_size


def torch_predict(
    width: int, args: argparse.Namespace, channels_last: bool
) -> tuple[Contender, int]:
    import torch

    net = _torch_net(width, args, channels_last).eval()

    def run(images: Any, labels: Any) -> Any:
        with torch.inference_mode():
            return net(images)

    return Contender(run, _torch_images(channels_last)), args.batch_size


def _torch_images(channels_last: bool) -> Callable[..., tuple]:
    import torch

    kind = torch.channels_last if channels_last else torch.contiguous_format

    def prepare(images: np.ndarray, labels: np.ndarray) -> tuple:
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=kind), torch.from_numpy(labels).long()

    return prepare


def _torch_net(width: int, args: argparse.Namespace, channels_last: bool) -> Any:
    """The same network in PyTorch."""
    import torch
    from torch import nn

    torch.set_num_threads(args.threads)

    def conv(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
        layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first = conv(inputs, outputs, 3, stride)
            self.second = conv(outputs, outputs, 3, 1)
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1, stride)

        def forward(self, x: Any) -> Any:
            y = self.second(torch.relu(self.first(x)))
            return torch.relu(y + self.shortcut(x))

    parts: list[nn.Module] = [conv(3, width, 3, 1), nn.ReLU()]
    channels = width
    for stage in range(4):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            parts.append(Block(channels, width * 2**stage, stride))
            channels = width * 2**stage
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, NUM_CLASSES)]
    kind = torch.channels_last if channels_last else torch.contiguous_format
    return nn.Sequential(*parts).to(memory_format=kind)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = ["train", "predict", "mc_dropout"]
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="of one timed fori_loop")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--json", help="where to write the results")
    args = parser.parse_args()
    try:
        import torch  # noqa: F401
    except ImportError:
        args.no_torch = True
    return args


if __name__ == "__main__":
    main()
