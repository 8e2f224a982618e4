"""Metrics: which there are in what runs wrote, which way is up, how one is shown."""

import math
import re
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxal.checks import nearest
from jaxal.metrics import LOWER_IS_BETTER
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record

_MOST = sys.float_info.max
# Numbers of a round that measure no model.
_ASIDE = {"round", "labels", "bought", "compiles", "seed", "is_last", "seconds"}
_ASIDE |= {"along", "best_step"}  # of fits that were watched
_SHARES = {"accuracy", "macro_f1", "micro_f1", "ece", "error"}
_CLASSES = "per_class_accuracy"
_OTHER_NAMES = {"per_class": _CLASSES, "f1": "macro_f1", "log_likelihood": "nll"}
_TITLES = {
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "ece": "calibration error",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "loss": "training loss",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    _CLASSES: "mean accuracy of the classes",
}


class Measure(NamedTuple):
    """What runs are compared by."""

    name: str
    is_higher_better: bool = True

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: times it, higher is."""
        return 1 if self.is_higher_better else -1

    @property
    def is_share(self) -> bool:
        """Whether it is between 0 and 1, and shown in percent."""
        return _last(self.name) in _SHARES or "accuracy" in self.name

    @property
    def scale(self) -> int:
        """From what is written to what is shown."""
        return 100 if self.is_share else 1

    @property
    def unit(self) -> str:
        """After a number that is shown."""
        return " %" if self.is_share else ""

    @property
    def title(self) -> str:
        """For an axis."""
        where, _, name = self.name.rpartition(".")
        said = _TITLES.get(name, name.replace("_", " "))
        where = "" if name == "loss" else f"{where or 'test'} "
        return f"{where}{said}{' (%)' if self.is_share else ''}"

    def shown(self, value: float) -> str:
        """Returns a value as people read it.

        Example:
          >>> from jaxal.report.measures import Measure
          >>> Measure("accuracy").shown(0.5), Measure("nll").shown(0.5)
          ('50.0', '0.500')
        """
        return f"{value * self.scale:.{1 if self.is_share else 3}f}"

    def difference(self, value: float) -> str:
        """Returns a difference, with its sign."""
        return f"{value * self.scale:+.{1 if self.is_share else 3}f}"


def measured(rounds: Iterable[Record], settings: Record, name: str) -> np.ndarray:
    """Returns a metric of each round `[R]`, NaN where a round does not say it.

    Args:
      rounds: as `rounds.jsonl` has them.
      settings: of the run.
      name: one of `names`.
    """
    return np.array([_value(record, settings, name) for record in rounds], float)


def names(record: Record, settings: Record) -> list[str]:
    """Returns the names of all metrics of a round, parts of others included.

    Example:
      >>> from jaxal.report.measures import names
      >>> names({"round": 0, "accuracy": 0.5, "validation": {"nll": 1.0}}, {})
      ['accuracy', 'validation.nll']
    """
    found = []
    for name, value in record.items():
        if name in _ASIDE or isinstance(value, bool):
            continue
        if isinstance(value, dict):
            found += [f"{name}.{inner}" for inner in names(value, {})]
        elif isinstance(value, int | float):
            found.append(name)
        elif _is_list(value):
            found += [name, *(f"{name}[{i}]" for i in range(len(value)))]
    if _is_list(record.get(_CLASSES)):
        found.append("worst_class_accuracy")
        found += ["minority_accuracy"] if settings.get("keep_ratios") else []
    return found


def chosen(known: list[list[str]], asked: str | None, better: str | None) -> Measure:
    """Returns what to compare by.

    Args:
      known: names of each run.
      asked: a name; by default accuracy, or the error of a regression, or whatever
        comes first.
      better: "higher" or "lower", by default what the name says.

    Raises:
      RunError: no run says it.
    """
    every = list(dict.fromkeys(name for one in known for name in one))
    usual = [name for name in ("accuracy", "rmse", *every) if name in every]
    if asked is None and not usual:
        raise RunError("No run says how good it was: its rounds hold no metric.")
    name = usual[0] if asked is None else re.sub(r"[- ]", "_", asked.strip())
    name = name if name in every else _OTHER_NAMES.get(name, name)
    if name not in every:
        shown = [known for known in every if "[" not in known]
        raise RunError(
            f"--metric {asked}: no run says that. There is {', '.join(shown)}"
            f"; of lists, parts as {_CLASSES}[0].{nearest(name, every)}"
        )
    is_lower = _last(name) in LOWER_IS_BETTER if better is None else better == "lower"
    return Measure(name, not is_lower)


def class_values(record: Record) -> list[float]:
    """Returns the accuracy of each class, empty where a round does not say it."""
    found = record.get(_CLASSES)
    return [_number(value) for value in found] if isinstance(found, list) else []


def _value(record: Record, settings: Record, name: str) -> float:
    if name == "worst_class_accuracy":
        return _over(np.nanmin, class_values(record))
    if name == "minority_accuracy":
        return _minority(class_values(record), settings.get("keep_ratios"))
    where, _, inner = name.rpartition(".")
    if where:
        record = record.get(where) or {}
    part = re.fullmatch(r"(.*)\[(\d+)\]", inner)
    value = record.get(part[1] if part else inner)
    if isinstance(value, list):
        numbers = [_number(one) for one in value]
        if part is None:
            return _over(np.nanmean, numbers)
        return numbers[int(part[2])] if int(part[2]) < len(numbers) else math.nan
    return _number(value)


def _minority(values: list[float], ratios: Any) -> float:
    """Mean accuracy of the classes of which the pool kept the smallest share."""
    if not isinstance(ratios, list) or len(ratios) != len(values):
        return math.nan
    least = min(ratios)
    rare = [v for v, kept in zip(values, ratios, strict=True) if kept == least]
    return _over(np.nanmean, rare)


def _over(fn: Any, values: list[float]) -> float:
    return float(fn(values)) if np.isfinite(values).any() else math.nan


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= _MOST else math.nan


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and any(map(math.isfinite, map(_number, value)))


def _last(name: str) -> str:
    return name.rpartition(".")[2]
