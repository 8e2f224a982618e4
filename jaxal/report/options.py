"""What a report can be told; flags, `--help`, files and checks follow from it."""

from dataclasses import dataclass
from pathlib import Path

from jaxal.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Comparison(Settings):
    """What is compared."""

    runs: tuple[Path, ...] = setting((), is_bare=True, follows="the folder runs")
    """Folders of runs, or folders that hold them."""
    baseline: str = setting("random")
    """The strategy others are compared with, seed by seed."""
    target: float | None = setting(low=0, high=1, follows="the baseline's last one")
    """Accuracy to count labels to."""
    budgets: tuple[int, ...] = setting(
        (), low=0, is_set=True, follows="the first, middle and last"
    )
    """Label counts to show accuracies at."""


@dataclass(frozen=True, kw_only=True)
class Files(Settings):
    """What is written."""

    figure: Path | None = setting(follows="learning_curves.png beside the runs")
    """Where the learning curves go; several data sets give several files."""
    json: Path | None = setting(follows="none")
    """Also write all numbers to this file."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Files, Comparison):
    """What `jaxal report` is told.

    Example:
      >>> from jaxal.report.options import ReportOptions
      >>> ReportOptions(target=70)
      Traceback (most recent call last):
        ...
      ValueError: --target is 70.0, expected at least 0 and at most 1.
    """
