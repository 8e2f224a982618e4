"""What curves are drawn over: labels, seconds, epochs or money."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxal.report.reading import Run
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record

AXES = ("labels", "seconds", "epochs", "cost")
TITLES = {
    "labels": "labels bought",
    "seconds": "seconds of training, scoring and choosing",
    "epochs": "epochs trained",
    "cost": "cost of labels and computing",
}
COMPILING = "compile"  # the phase of `seconds` that is no running


class Prices(NamedTuple):
    """What things cost, in any currency."""

    label: float = 0.0
    hour: float = 0.0  # of computing

    @property
    def are_given(self) -> bool:
        """Whether anything costs something."""
        return bool(self.label or self.hour)


def positions(run: Run, axis: str, prices: Prices = Prices()) -> np.ndarray:  # noqa: B008
    """Returns where each round of a run stands on an axis, `[R]`.

    Args:
      run: its rounds are measured once they are trained.
      axis: one of `AXES`; seconds and epochs are those of all rounds so far.
      prices: for the cost.

    Raises:
      RunError: a run does not say it, or nothing costs anything.
    """
    if axis == "labels":
        return run.labels
    if axis == "epochs":
        return np.cumsum([_epochs(run, record) for record in run.rounds])
    seconds = np.cumsum([running(record) for record in run.rounds])
    if axis == "seconds":
        return seconds
    if not prices.are_given:
        raise RunError("--axis cost needs --price, of a label, or --price-hour.")
    return prices.label * run.labels + prices.hour * seconds / 3600


def spent(
    runs: Sequence[Run],
    labels: np.ndarray,
    axis: str,
    prices: Prices = Prices(),  # noqa: B008
) -> np.ndarray:
    """Returns where each run stands at label counts, `[seeds, R]`."""
    return np.array([run.at(labels, positions(run, axis, prices)) for run in runs])


def running(record: Record) -> float:
    """Returns the seconds of a round, without compiling."""
    return sum(s for phase, s in record["seconds"].items() if phase != COMPILING)


def _epochs(run: Run, record: Record) -> float:
    found = record.get("epochs", run.settings.get("epochs"))
    found = len(found) if isinstance(found, list) else found
    if not isinstance(found, int | float):
        raise RunError(f"--axis epochs: {run.folder} says no epochs.")
    return found
