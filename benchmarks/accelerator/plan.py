"""What is measured, in order of importance, and what every part is given."""

import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from accelerator.scales import Scale

Row = dict[str, Any]


class Part(NamedTuple):
    """A module of `parts`."""

    name: str
    limit: float  # seconds it may take
    what: str
    is_last: bool = False  # of its process: memory and libraries go with it


class Context(NamedTuple):
    """What a part is given."""

    scale: Scale
    images: str | None  # path of an .npz, None for synthetic images
    facts: Mapping[str, float]  # measured by earlier parts, such as rates
    end: float  # by time.monotonic()
    profile: bool = False  # whether rows say which kernels took the time

    def left(self) -> float:
        """Seconds that remain."""
        return self.end - time.monotonic()


PARTS = (
    Part("floors", 40, "What the device can do: a copy and matrix products"),
    Part("scores", 60, "Scores"),
    Part("selections", 120, "Selections"),
    Part("imagenet", 75, "BADGE in ImageNet's shape", is_last=True),
    Part("throughput", 120, "Images a second, training and scoring"),
    Part("peers", 90, "The same in PyTorch, as people write it", is_last=True),
    Part("fit", 150, "A full fit"),
    Part("picks", 75, "The device's picks beside the CPU's"),
    Part("study", 60, "A study of many seeds in one program"),
    Part("first", 75, "Time to first pick, in a new process"),
    Part("laws", 120, "Laws of jaxal.testing on the device"),
    Part("labels", 240, "Random labels, and BADGE against random"),
)


def measurer(name: str) -> Callable[[Context], Iterable[Row]]:
    """Returns the function of a part, importing its module only now.

    So the process that writes results never touches the device.
    """
    return importlib.import_module(f"accelerator.parts.{name}").measure
