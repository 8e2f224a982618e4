"""The tables of a comparison, rounded as people read them."""

import math
from typing import Any

from jaxal.report.measures import Measure
from jaxal.report.tables import Table, comma_separated, flat, latex, markdown
from jaxal.runs.store import Record

NOTHING = "-"


def tables(summary: Record, measure: Measure) -> list[Table]:
    """Returns the tables of a comparison that have something to say.

    Args:
      summary: from `summarise`.
      measure: what it compares by.
    """
    said = [
        _results(summary, measure),
        _paired(summary, measure),
        _standing(summary),
        _classes(summary),
        _seconds(summary),
    ]
    return [table for table in said if table]


def as_markdown(summary: Record, measure: Measure) -> str:
    """Returns a heading, where the data came from, tables, and notes."""
    parts = [f"## {summary['title']}", f"Data: {summary['settings']['source']}"]
    if ceiling := summary["ceiling"]:
        shown = measure.shown(ceiling["mean"])
        parts.append(
            f"Trained on all {ceiling['labels']} labels: {shown}{measure.unit}."
        )
    for table in tables(summary, measure):
        parts += [table.title, markdown(table.header, table.rows)]
    parts += [f"Note: {note}" for note in summary["notes"]]
    return "\n\n".join(parts) + "\n"


def as_latex(summary: Record, measure: Measure) -> str:
    """Returns the tables for LaTeX with what each is as a comment."""
    return "\n\n".join(
        "\n".join(f"% {line}" for line in table.title.splitlines())
        + f"\n{latex(table)}"
        for table in tables(summary, measure)
    ).join(["% \\usepackage{booktabs}\n\n", "\n"])


def as_csv(summary: Record) -> dict[str, str]:
    """Returns unrounded numbers by file: a row a side, and a row a side's round."""
    aside = {"values", "at_budgets", "classes"}
    results, curves = [], []
    for name, one in summary["strategies"].items():
        kept = {key: value for key, value in one.items() if key not in aside}
        seeds = " ".join(map(str, one["seeds"]))
        results.append({"strategy": name, **flat(kept), "seeds": seeds})
        for count, values in one["values"].items():
            curves.append({"strategy": name, "labels": count, **values})
    return {"results": comma_separated(results), "curves": comma_separated(curves)}


def _results(summary: Record, measure: Measure) -> Table:
    what = "%" if measure.is_share else measure.name
    sides = summary["strategies"]
    has_ceiling = any(one["of_ceiling"] is not None for one in sides.values())
    header = [
        " / ".join(summary["compare"]),
        "seeds",
        *(f"{what} at {budget}" for budget in summary["budgets"]),
        "log area" if summary["log"] else "area",
        *(["of ceiling"] if has_ceiling else []),
        f"labels to {measure.shown(summary['target'])}{measure.unit}",
        *(["cost to it"] if summary["prices"] else []),
        "saved",
    ]
    rows = []
    for name, one in sides.items():
        ceiling = one["of_ceiling"]
        share = NOTHING if ceiling is None else f"{100 * ceiling:.1f} %"
        rows.append(
            [
                name,
                str(len(one["seeds"])),
                *(_level(measure, at, summary) for at in one["at_budgets"].values()),
                interval(measure, one["area_log" if summary["log"] else "area"]),
                *([share] if has_ceiling else []),
                _reached(one["labels_to_target"]),
                *([_reached(one["money_to_target"])] if summary["prices"] else []),
                _saved(one["savings"]),
            ]
        )
    return Table("results", _explained(summary, measure), header, rows)


def _explained(summary: Record, measure: Measure) -> str:
    better = "higher" if measure.is_higher_better else "lower"
    kind = {"student": "Student", "bootstrap": "bootstrap"}[summary["interval"]]
    if max(len(one["seeds"]) for one in summary["strategies"].values()) == 1:
        levels = "one seed, which says nothing of chance"
    elif summary["middle"] == "median":
        levels = "median of seeds [the middle 68 % of them]"
    else:
        levels = f"mean ± half a 95 % {kind} interval"
    title = f"{measure.title}, {better} is better; {levels}. "
    if any(one["savings"] for one in summary["strategies"].values()):
        title += (
            "Saved: of the labels to the target, with a 95 % bootstrap interval over "
            "seeds; none where it is not reached."
        )
    return title.strip()


def _level(measure: Measure, at: Record, summary: Record) -> str:
    if summary["middle"] == "mean":
        return interval(measure, at)
    ends = f" [{measure.shown(at['low_68'])}, {measure.shown(at['high_68'])}]"
    return measure.shown(at["median"]) + ("" if math.isnan(at["low"]) else ends)


def interval(measure: Measure, found: Record) -> str:
    """Returns a mean and half its interval.

    Example:
      >>> from jaxal.report.measures import Measure
      >>> from jaxal.report.results import interval
      >>> interval(Measure("accuracy"), {"mean": 0.5, "low": 0.49, "high": 0.51})
      '50.0 ± 1.0'
    """
    half = (found["high"] - found["low"]) / 2
    mean = measure.shown(found["mean"])
    return mean if math.isnan(half) else f"{mean} ± {measure.shown(half)}"


def _paired(summary: Record, measure: Measure) -> Table:
    last = summary["labels"][-1]
    header = [" / ".join(summary["compare"]), "pairs", "area", "p", "Wilcoxon p"]
    header += [f"at {last}", "p", "seeds needed", "won-tied-lost"]
    rows = []
    for name, one in summary["strategies"].items():
        if paired := one["paired"]:
            area, end, record = paired["area"], paired["last"], one["record"]
            cells = [name, str(area["num_pairs"]), _difference(measure, area)]
            cells += [p_text(area["p_holm"]), p_text(area["wilcoxon_holm"])]
            cells += [_difference(measure, end), p_text(end["p_holm"])]
            cells += [str(area["seeds_needed"] or NOTHING)]
            cells += ["-".join(map(str, record.values())) if record else NOTHING]
            rows.append(cells)
    points = "points of " if measure.is_share else ""
    title = (
        f"Against {summary['baseline']}, paired by seed, in {points}{measure.name} "
        "(p-values are two-sided, corrected for the number of sides by Holm's steps; "
        "seeds needed to see that difference in the area with a power of 80 %; won, "
        "tied and lost are label counts, by a t-test at each that is not corrected):"
    )
    return Table("paired", title, header, rows)


def _standing(summary: Record) -> Table:
    """Who beat whom, where there are more than two."""
    found = summary["standing"]
    title = (
        "All pairs, by a paired t-test at each label count after the first (level 5 %, "
        "not corrected); the penalty is how often the others won, lower is better:"
    )
    if found is None or len(found["names"]) < 3:
        return Table("standing", title, [], [])
    counts = zip(found["wins"], found["ties"], found["losses"], strict=True)
    penalties = found["penalties"].sum(0) / (len(found["names"]) - 1)
    rows = [
        [name, *map(str, count), f"{penalty:.2f}"]
        for name, count, penalty in zip(found["names"], counts, penalties, strict=True)
    ]
    header = [" / ".join(summary["compare"]), "won", "tied", "lost", "penalty"]
    return Table("standing", title, header, rows)


def _classes(summary: Record) -> Table:
    """Accuracy of each class at the end, where classes are what is compared by."""
    if "class" not in summary["metric"]:
        return Table("classes", "", [], [])
    sides = {n: one["classes"] for n, one in summary["strategies"].items()}
    count = max(map(len, sides.values()))
    rows = [
        [name, *(interval(Measure("accuracy"), found) for found in classes)]
        for name, classes in sides.items()
        if len(classes) == count
    ]
    header = [" / ".join(summary["compare"]), *map(str, range(count))]
    title = "Accuracy (%) of each class in the last round of each run:"
    return Table("classes", title, header, rows if count else [])


def _seconds(summary: Record) -> Table:
    sides = summary["strategies"]
    phases = list(dict.fromkeys(p for one in sides.values() for p in one["seconds"]))
    rows = [
        [name, *(f"{one['seconds'].get(phase, 0.0):.1f}" for phase in phases)]
        for name, one in sides.items()
    ]
    title = "Seconds of a whole run, mean over seeds:"
    return Table("seconds", title, [" / ".join(summary["compare"]), *phases], rows)


def _difference(measure: Measure, test: Record) -> str:
    mean, low, high = (measure.difference(test[n]) for n in ("mean", "low", "high"))
    return mean if math.isnan(test["low"]) else f"{mean} [{low}, {high}]"


def p_text(value: float) -> str:
    """Returns a p-value as it is printed."""
    if math.isnan(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _reached(found: Record) -> str:
    """Labels or money with their interval; an end that is infinite was not reached."""
    said = [
        "not reached"
        if math.isinf(value)
        else f"{value:.0f}"
        if value >= 10
        else f"{value:.2f}"
        for value in (found["mean"], found["low"], found["high"])
        if not math.isnan(value)
    ]
    if math.isinf(found["mean"]) or len(said) == 1:
        return said[0]
    return f"{said[0]} [{said[1]}, {said[2]}]"


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


def _share(value: Any) -> str:
    return "none" if math.isinf(value) else f"{100 * value:+.0f} %"
