"""Learning curves, drawn."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from jaxal.runs.gathering import Group, Run
from jaxal.statistics import mean_interval

# Okabe and Ito's colours, told apart by most people with colour blindness.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8B6BB1",
    "#7F5539",
)
BASELINE_COLOUR = "#555555"
MARKERS = "osD^vPX*"


def draw(group: Group, path: Path, *, baseline: str = "random") -> None:
    """Draws a learning curve for each strategy, with 95 % intervals over seeds.

    Args:
      group: comparable runs.
      path: of the picture; its ending decides the format.
      baseline: drawn in grey.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    figure = Figure(figsize=(7.2, 4.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = []
    colours = iter(COLOURS * 8)
    for i, (name, runs) in enumerate(group.curves.items()):
        colour = BASELINE_COLOUR if name == baseline else next(colours)
        ends.append(_curve(axes, name, runs, colour, MARKERS[i % len(MARKERS)]))
    _decorate(axes, group, ends)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _curve(
    axes: Any, name: str, runs: list[Run], colour: str, marker: str
) -> tuple[float, Any]:
    """Draws one strategy where all of its runs were measured."""
    labels = sorted(set.intersection(*(set(run.labels.tolist()) for run in runs)))
    found = [dict(zip(run.labels.tolist(), run.accuracy, strict=True)) for run in runs]
    columns = [[100 * curve[count] for curve in found] for count in labels]
    intervals = [mean_interval(column) for column in columns]
    means = [interval.mean for interval in intervals]
    seeds = f"{len(runs)} seed" + ("s" if len(runs) > 1 else "")
    (line,) = axes.plot(
        labels,
        means,
        color=colour,
        marker=marker,
        markersize=4.5,
        linewidth=1.8,
        label=f"{name} ({seeds})",
        zorder=3,
    )
    if len(runs) > 1:
        low, high = (np.array([i[side] for i in intervals]) for side in (1, 2))
        axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
    return means[-1], line


def _decorate(axes: Any, group: Group, ends: list[tuple[float, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("labels bought")
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(group.title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(
        MaxNLocator(integer=True, nbins=8, steps=[1, 2, 2.5, 5, 10])
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # Best last result first, as the eye meets the curves from above.
    lines = [line for _, line in sorted(ends, key=lambda end: -end[0])]
    axes.legend(handles=lines, frameon=False, loc="lower right", fontsize=9)
    if any(len(runs) > 1 for runs in group.curves.values()):
        note = "Bands: 95 % t-intervals over seeds. "
    else:
        note = ""
    note += f"Data: {group.shared['source']}"
    axes.figure.supxlabel(
        textwrap.fill(note, 110), x=0.01, ha="left", fontsize=7, color="#666666"
    )
