"""Summaries as text that reads well on a terminal and is Markdown as well."""

import math
from collections.abc import Sequence
from typing import Any

from jaxal.runs.store import Record

NOTHING = "-"


def markdown(summary: Record) -> str:
    """Returns the tables of a comparison.

    Args:
      summary: from `report.summarise`.

    Returns:
      A heading, where the data came from, and tables of results, of paired differences
      where there is a baseline, and of seconds.
    """
    parts = [
        f"## {summary['title']}",
        f"Data: {summary['settings']['source']}",
        table(*_results(summary)),
    ]
    if any(one["savings"] for one in summary["strategies"].values()):
        parts.append(
            "Saved: of the labels to that target, with a 95 % bootstrap interval over "
            "seeds; none where it is not reached."
        )
    if any(one["paired"] for one in summary["strategies"].values()):
        parts += [
            f"Against {summary['baseline']}, paired by seed, in points of accuracy "
            "(p-values are two-sided, corrected for the number of strategies by Holm's "
            "steps):",
            table(*_paired(summary)),
        ]
    parts += ["Seconds of a whole run, mean over seeds:", table(*_seconds(summary))]
    parts += [f"Note: {note}" for note in summary["notes"]]
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose columns are aligned in plain text too.

    Example:
      >>> from jaxal.report.tables import table
      >>> print(table(["strategy", "area"], [["badge", "91.2"]]))
      | strategy | area |
      |:---------|-----:|
      | badge    | 91.2 |
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths = [max(width, 3) for width in widths]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        aligned = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in rest)]
        return "| " + " | ".join(aligned) + " |"

    rule = [":" + "-" * (widths[0] + 1), *("-" * (w + 1) + ":" for w in widths[1:])]
    return "\n".join([line(header), "|" + "|".join(rule) + "|", *map(line, rows)])


def percent(interval: Record) -> str:
    """Returns a mean and half its interval, in percent.

    Example:
      >>> from jaxal.report.tables import percent
      >>> percent({"mean": 0.5, "low": 0.49, "high": 0.51})
      '50.0 ± 1.0'
    """
    mean, high = 100 * interval["mean"], 100 * interval["high"]
    return f"{mean:.1f}" + ("" if math.isnan(high) else f" ± {high - mean:.1f}")


def _results(summary: Record) -> tuple[list[str], list[list[str]]]:
    header = [
        "strategy",
        "seeds",
        *(f"% at {budget}" for budget in summary["budgets"]),
        "area",
        f"labels to {100 * summary['target']:.1f} %",
        "saved",
    ]
    rows = [
        [
            name,
            str(len(one["seeds"])),
            *(percent(interval) for interval in one["accuracy_at_budgets"].values()),
            percent(one["area"]),
            _count(one["labels_to_target"]),
            _saved(one["savings"]),
        ]
        for name, one in summary["strategies"].items()
    ]
    return header, rows


def _paired(summary: Record) -> tuple[list[str], list[list[str]]]:
    last = summary["labels"][-1]
    header = ["strategy", "pairs", "area", "p", f"at {last}", "p"]
    rows = []
    for name, one in summary["strategies"].items():
        if paired := one["paired"]:
            area, end = paired["area"], paired["last"]
            cells = (_difference(area), _p(area), _difference(end), _p(end))
            rows.append([name, str(area["num_pairs"]), *cells])
    return header, rows


def _seconds(summary: Record) -> tuple[list[str], list[list[str]]]:
    strategies = summary["strategies"]
    phases = list(next(iter(strategies.values()))["seconds"])
    rows = [
        [name, *(f"{one['seconds'][phase]:.1f}" for phase in phases)]
        for name, one in strategies.items()
    ]
    return ["strategy", *phases], rows


def _difference(test: Record) -> str:
    mean, low, high = (100 * test[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f}" + ("" if math.isnan(low) else f" [{low:+.1f}, {high:+.1f}]")


def _p(test: Record) -> str:
    value = test["p_holm"]
    if math.isnan(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _count(labels: Any) -> str:
    return "not reached" if labels is None else f"{labels:.0f}"


def _saved(share: Record | None) -> str:
    """A share with its interval; what never got to the target saved less than nothing.

    With few seeds there is no interval, and the share says so.
    """
    if share is None or math.isnan(share["mean"]):
        return NOTHING
    if math.isnan(share["low"]):
        return f"{_share(share['mean'])} (few seeds)"
    low, high = _share(share["low"]), _share(share["high"])
    return f"{_share(share['mean'])} [{low}, {high}]"


def _share(value: float) -> str:
    return "none" if math.isinf(value) else f"{100 * value:+.0f} %"
