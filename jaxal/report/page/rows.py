"""What runs bought, and the rows themselves where they can be read again."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from jaxal.report.reading import Run
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles

PARTS = ("total", "aleatoric", "epistemic")


class Rows(NamedTuple):
    """Rows of a data set, from which pools are drawn."""

    ids: list[str]
    inputs: np.ndarray | None = None  # [N, ...], images as uint8 [N, H, W, C]
    texts: list[str] | None = None
    class_names: tuple[str, ...] = ()

    @property
    def are_pictures(self) -> bool:
        """Whether a row can be looked at."""
        shape = () if self.inputs is None else self.inputs.shape
        is_bytes = self.inputs is not None and self.inputs.dtype == np.uint8
        return is_bytes and len(shape) == 4 and shape[-1] in (1, 3)


class Again(Protocol):
    """Who can read again what runs were about."""

    def rows(self, run: Run) -> Rows:
        """Returns rows; raises where they cannot be had, saying why."""
        ...

    def uncertainty(self, run: Run) -> dict[str, dict[str, float]]:
        """Returns `PARTS` of unlabelled rows by id after the last round, or raises."""
        ...


class Bought(NamedTuple):
    """A line of the ledger."""

    round: int
    row: int  # of the run's pool
    id: str
    label: Any
    score: float | None
    event: str


class Seen(NamedTuple):
    """A run with its ledger."""

    run: Run
    bought: list[Bought]


def bought(run: Run) -> list[Bought]:
    """Returns the ledger of a run.

    Raises:
      RunError: it is damaged.
    """
    path = RunFiles(run.folder).queries
    found = []
    for number, line in enumerate(store.read_lines(path), start=1):
        try:
            score = line.get("score")
            entry = Bought(
                int(line["round"]),
                int(line["row"]),
                str(line["id"]),
                line["label"],
                None if score is None else float(score),
                str(line.get("event", "answered")),
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RunError(f"Line {number} of {path} is no line of a ledger.") from None
        found.append(entry)
    return found


def called(label: Any, names: tuple[str, ...]) -> str:
    """Returns what a label is called."""
    is_number = isinstance(label, int) and 0 <= label < len(names)
    return names[label] if is_number else "no answer" if label is None else str(label)
