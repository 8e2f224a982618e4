"""What a report can be told; flags, `--help`, files and checks follow from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxal.report.axes import AXES, Prices
from jaxal.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Comparison(Settings):
    """What is compared."""

    runs: tuple[Path, ...] = setting((), is_bare=True, follows="the folder runs")
    """Folders of runs, or folders that hold them."""
    compare: tuple[str, ...] = setting(("strategy",), is_set=True)
    """Settings of the runs that are compared, such as query_size; runs that agree in
    all others but the seed make a table. Name those that follow from them as well."""
    baseline: str | None = setting(follows="random, where strategies are compared")
    """The strategy, or value of what is compared, that others are paired with."""
    metric: str | None = setting(follows="accuracy, or the error of a regression")
    """Any metric that runs say: nll, macro_f1, ece, per_class, worst_class_accuracy,
    minority_accuracy, per_class_accuracy[0], validation.accuracy, rmse, ..."""
    better: Literal["higher", "lower"] = setting(follows="the metric")
    """Which values of the metric are better, for one of your own."""
    target: float | None = setting(follows="the baseline's last one")
    """Value of the metric to count labels to; of accuracies, in 0 to 1."""
    budgets: tuple[int, ...] = setting(
        (), low=0, is_set=True, follows="the first, middle and last"
    )
    """Label counts to show values at."""


@dataclass(frozen=True, kw_only=True)
class Statistics(Settings):
    """Statistics."""

    middle: Literal["mean", "median"] = setting("mean")
    """mean with 95 % intervals, or median with the bands of 68 and 95 % of seeds."""
    interval: Literal["student", "bootstrap"] = setting("student")
    """Of means over seeds."""
    log: bool = setting(False)
    """Each doubling of the labels counts as much, in areas and in figures."""
    effect: float | None = setting(follows="the difference found")
    """Difference of the metric that enough seeds would see."""
    price: float = setting(0.0, low=0)
    """Of a label, in any currency."""
    price_hour: float = setting(0.0, low=0)
    """Of an hour of computing."""


@dataclass(frozen=True, kw_only=True)
class Files(Settings):
    """What is written."""

    out: Path | None = setting(follows="report, in the folder of the runs")
    """Folder of all that is written."""
    axis: str = setting("labels", choices=AXES)
    """What curves are drawn over."""
    figures: tuple[str, ...] = setting(
        ("png",), choices=("png", "svg", "pdf", "none"), is_set=True
    )
    """Kinds of picture."""
    html: bool = setting(False)
    """Also one page of it all, with the rows that were bought: report/index.html."""
    data: str | None = setting(follows="what the runs say")
    """Where the page reads rows from: a data set, .npz, folder of images, or texts by
    line as .txt, by id as .csv or .jsonl with id and text."""
    map: Literal["pca", "tsne", "none"] = setting("pca")
    """How the page places rows on a plane."""
    uncertainty: bool = setting(True)
    """The page shows the most and the least uncertain rows, for which models of the
    last rounds are read, or solved, again."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Files, Statistics, Comparison):
    """What `jaxal report` is told.

    Example:
      >>> from jaxal.report.options import ReportOptions
      >>> ReportOptions(price=-1)
      Traceback (most recent call last):
        ...
      ValueError: --price is -1.0, expected at least 0.
    """

    @property
    def prices(self) -> Prices:
        """What things cost."""
        return Prices(self.price, self.price_hour)
