"""Learning curves, in one panel or one a side."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxal.report.axes import TITLES, Prices, spent
from jaxal.report.figures import canvas
from jaxal.report.gathering import Group, common_labels, values_at
from jaxal.report.pairing import aligned
from jaxal.report.reading import Run
from jaxal.report.summary import INTERVALS
from jaxal.runs.store import Record
from jaxal.statistics import median_bands

FEWEST = 3  # seeds for a band: of two, an interval is wider than the picture
MOST_BANDS = 4  # sides; bands of more hide each other
ALONE = "Hollow markers: a single seed, which says nothing of chance."
ACROSS = 3  # panels beside each other


class Band(NamedTuple):
    """A curve with what lies around it, as it is shown."""

    x: np.ndarray  # [R]
    middle: np.ndarray  # [R]
    around: list[tuple[np.ndarray, np.ndarray]]  # ends [R], the widest first
    each: np.ndarray  # [n, R] curves of single seeds


def curves(group: Group, summary: Record) -> Any:
    """Returns a figure of all sides in one panel; with many, without bands."""
    with canvas.plain():
        beside = 0.2 * sum(
            _label(*side).count("\n") + 1 for side in group.curves.items()
        )
        height = 4.6 + max(0.0, beside - 4.0)
        figure = canvas.new(8.8, height + canvas.height(group.title))
        axes = figure.add_subplot()
        styles = canvas.styles(group, summary["baseline"])
        has_bands = len(group.curves) <= MOST_BANDS
        ends = []
        for name, runs in group.curves.items():
            band = band_of(group, runs, summary)
            line = _line(axes, name, runs, band, styles[name])
            if has_bands:
                _around(axes, band, styles[name]["color"])
            ends.append((group.measure.sign * band.middle[-1], line))
        _ceiling(axes, group, summary)
        _decorate(axes, group, summary)
        # Best last result first, as the eye meets the curves.
        lines = [line for _, line in sorted(ends, key=lambda end: -end[0])]
        if group.measure.sign < 0:
            lines.reverse()
        outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(handles=lines, frameon=False, fontsize=9, **outside)
        note = _note(group, summary, has_bands)
        canvas.titled(figure, axes, group.title, note)
    return figure


def panels(group: Group, summary: Record) -> Any:
    """Returns a figure of a panel a side: its difference to the baseline, by seed.

    Without a baseline, its curve among those of the others.
    """
    with canvas.plain():
        base = summary["baseline"]
        shown = [name for name in group.curves if name != base]
        rows, across = math.ceil(len(shown) / ACROSS), min(len(shown), ACROSS)
        figure = canvas.new(
            max(3.0 * across, 5.0), 2.3 * rows + 0.9 + canvas.height(group.title)
        )
        grid = figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
        styles = canvas.styles(group, base)
        for axes, name in zip(grid.flat, shown, strict=False):
            style = styles[name]
            if base is None:
                _among(axes, group, summary, name, style)
            else:
                _difference(axes, group, summary, name, style)
            axes.set_title(canvas.named(name, 34), fontsize=9, loc="left")
            canvas.bare(axes)
            _log(axes, summary)
        for i, axes in enumerate(grid.flat):
            axes.set_visible(i < len(shown))
            # The lowest of a column has numbers, whether a row is below it or not.
            axes.tick_params(labelbottom=i + across >= len(shown))
        unit = "points of " if group.measure.is_share else ""
        what = group.measure.title.removesuffix(" (%)")
        said = group.measure.title if base is None else f"{unit}{what}, less {base}'s"
        note = f"{said[0].upper()}{said[1:]}, over {TITLES[summary['axis']]}."
        canvas.noted(figure, f"{note} {_note(group, summary, True)}")
        canvas.headed(figure, group.title)
    return figure


def band_of(group: Group, runs: list[Run], summary: Record) -> Band:
    """Returns the curve of a side where all of its runs were measured."""
    counts = sorted(set.intersection(*(set(run.labels.tolist()) for run in runs)))
    labels = np.array(counts)
    each = group.measure.scale * values_at(runs, labels)
    x = spent(runs, labels, summary["axis"], Prices(**(summary["prices"] or {})))
    return _band(x.mean(0), each, summary, group)


def _band(x: np.ndarray, each: np.ndarray, summary: Record, group: Group) -> Band:
    if summary["middle"] == "median":
        found = median_bands(each)
        middle, around = found.median, [*zip(found.low, found.high, strict=True)][::-1]
    else:
        ends = np.array([INTERVALS[summary["interval"]](column) for column in each.T])
        middle, around = ends[:, 0], [(ends[:, 1], ends[:, 2])]
    if group.measure.is_share and each.min() >= 0:  # no difference
        around = [(np.clip(a, 0, 100), np.clip(b, 0, 100)) for a, b in around]
    return Band(x, middle, around if len(each) >= FEWEST else [], each)


def _line(axes: Any, name: str, runs: list[Run], band: Band, style: Record) -> Any:
    alone = {"markerfacecolor": "white"} if len(runs) == 1 else {}
    (line,) = axes.plot(
        band.x,
        band.middle,
        **style,
        **alone,
        markersize=4.5,
        linewidth=1.8,
        label=_label(name, runs),
        zorder=3,
    )
    return line


def _label(name: str, runs: list[Run]) -> str:
    return canvas.wrapped(f"{name} ({len(runs)} seed{'s' * (len(runs) > 1)})", 44)


def _around(axes: Any, band: Band, colour: str) -> None:
    for low, high in band.around:
        axes.fill_between(band.x, low, high, color=colour, alpha=0.15, linewidth=0)
    if not band.around and len(band.each) > 1:
        thin = {"color": colour, "alpha": 0.35, "linewidth": 0.8, "zorder": 2}
        axes.plot(band.x, band.each.T, **thin)


def _difference(
    axes: Any, group: Group, summary: Record, name: str, style: Record
) -> None:
    """Draws what a side is above the baseline in pairs of seeds."""
    labels = common_labels(group)
    up = aligned(group, labels)
    each = group.measure.sign * (up[name] - up[summary["baseline"]])
    each = group.measure.scale * each[np.isfinite(each).all(1)]
    axes.axhline(0, color=canvas.BASELINE_COLOUR, linewidth=1.2)
    if not len(each):
        axes.text(0.5, 0.5, "no pairs", transform=axes.transAxes, ha="center")
        return
    prices = Prices(**(summary["prices"] or {}))
    x = spent(group.curves[name], labels, summary["axis"], prices).mean(0)
    unbounded = group._replace(measure=group.measure._replace(name="difference"))
    band = _band(x, each, summary, unbounded)
    alone = {"markerfacecolor": "white"} if len(each) == 1 else {}
    axes.plot(band.x, band.middle, **style, **alone, markersize=3, linewidth=1.5)
    _around(axes, band, style["color"])


def _among(axes: Any, group: Group, summary: Record, name: str, style: Record) -> None:
    for other, runs in group.curves.items():
        band = band_of(group, runs, summary)
        if other != name:
            axes.plot(band.x, band.middle, color="#BBBBBB", linewidth=0.8, zorder=1)
        else:
            axes.plot(band.x, band.middle, **style, markersize=3, linewidth=1.5)
            _around(axes, band, style["color"])


def _ceiling(axes: Any, group: Group, summary: Record) -> None:
    if (found := summary["ceiling"]) is None:
        return
    level = group.measure.scale * found["mean"]
    axes.axhline(level, color="black", linewidth=1, linestyle=(0, (1, 2)))
    said = f"all {found['labels']} labels"
    place = {"xy": (0.01, level), "xycoords": ("axes fraction", "data")}
    off = {"xytext": (0, 2), "textcoords": "offset points"}
    axes.annotate(said, **place, **off, fontsize=8, va="bottom")


def _decorate(axes: Any, group: Group, summary: Record) -> None:
    from matplotlib.ticker import MaxNLocator

    lower = "" if group.measure.is_higher_better else ", lower is better"
    axes.set_xlabel(TITLES[summary["axis"]])
    axes.set_ylabel(f"{group.measure.title}{lower}")
    canvas.bare(axes)
    if summary["axis"] == "labels":
        steps = MaxNLocator(integer=True, nbins=8, steps=[1, 2, 2.5, 5, 10])
        axes.xaxis.set_major_locator(steps)
    _log(axes, summary)


def _log(axes: Any, summary: Record) -> None:
    if summary["log"]:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _note(group: Group, summary: Record, has_bands: bool) -> str:
    counts = {len(runs) for runs in group.curves.values()}
    note = f"Data: {canvas.without_folder(group.shared['source'])}"
    if 1 in counts:
        note = f"{ALONE} {note}"
    if has_bands and counts & set(range(2, FEWEST)):
        note = f"Thin lines: single seeds, fewer than {FEWEST}. {note}"
    if max(counts) >= FEWEST and not has_bands:
        shown = f"{summary['middle'].capitalize()}s of seeds"
        note = f"{shown}; bands of more than {MOST_BANDS} sides are in panels. {note}"
    elif max(counts) >= FEWEST and summary["middle"] == "median":
        note = f"Medians; bands: the middle 68 and 95 % of seeds. {note}"
    elif max(counts) >= FEWEST:
        kind = "t-" if summary["interval"] == "student" else "bootstrap "
        note = f"Bands: 95 % {kind}intervals over seeds. {note}"
    return note
