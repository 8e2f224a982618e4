"""Learning curves, drawn."""

import io
import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from jaxal.report.gathering import Group, Run, gather
from jaxal.runs import store
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
FEWEST = 3  # seeds for a band: of two, an interval is wider than the picture


def draw(group: Group, path: Path, *, baseline: str = "random") -> None:
    """Draws a learning curve for each strategy, with 95 % intervals over seeds.

    Of two seeds the curves of both are drawn in place of an interval.

    Args:
      group: comparable runs.
      path: of the picture; its ending decides the format. It is replaced as a whole.
      baseline: drawn in grey.
    """
    content = io.BytesIO()
    kind = path.suffix.removeprefix(".") or "png"
    picture(group, baseline=baseline).savefig(content, format=kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    store.replace_file(path, content.getvalue())


def draw_run(folder: Path, path: Path) -> str:
    """Draws the curve of one run, and returns where it is, or why there is none.

    It is drawn anew whatever is there, which may be damaged. A picture that cannot be
    drawn costs no run that comes later.
    """
    try:
        draw(gather([folder])[0], path)
    except Exception as error:  # whatever matplotlib, or its absence, raises
        return f"no figure: {error}"
    return f"figure: {path}"


def picture(group: Group, *, baseline: str = "random") -> Any:
    """Returns the figure that `draw` writes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    # Names of data and strategies are no mathematics, whatever signs they have.
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        extra = 0.2 * _wrapped(group.title, 55).count("\n")
        figure = Figure(figsize=(8.8, 4.6 + extra), dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        ends = []
        colours = itertools.cycle(COLOURS)
        for i, (name, runs) in enumerate(group.curves.items()):
            colour = BASELINE_COLOUR if name == baseline else next(colours)
            ends.append(_curve(axes, name, runs, colour, MARKERS[i % len(MARKERS)]))
        _decorate(axes, group, ends)
    return figure


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
        label=_wrapped(f"{name} ({seeds})", 60),
        zorder=3,
    )
    if len(runs) >= FEWEST:
        ends = (np.array([i[side] for i in intervals]) for side in (1, 2))
        low, high = (np.clip(end, 0, 100) for end in ends)
        axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
    elif len(runs) > 1:
        axes.plot(labels, columns, color=colour, alpha=0.35, linewidth=0.8, zorder=2)
    return means[-1], line


def _decorate(axes: Any, group: Group, ends: list[tuple[float, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("labels bought")
    axes.set_ylabel("test accuracy (%)")
    title = _wrapped(group.title, 55)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(
        MaxNLocator(integer=True, nbins=8, steps=[1, 2, 2.5, 5, 10])
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    # Best last result first, as the eye meets the curves from above.
    lines = [line for _, line in sorted(ends, key=lambda end: -end[0])]
    axes.legend(  # beside the curves, where it covers none
        handles=lines,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=9,
    )
    counts = {len(runs) for runs in group.curves.values()}
    note = f"Data: {_without_folder(group.shared['source'])}"
    if counts & set(range(2, FEWEST)):
        note = f"Thin lines: single seeds, fewer than {FEWEST}. {note}"
    if max(counts) >= FEWEST:
        note = f"Bands: 95 % t-intervals over seeds. {note}"
    axes.figure.supxlabel(
        _wrapped(note, 110), x=0.01, ha="left", fontsize=7, color="#666666"
    )


def _wrapped(text: str, width: int) -> str:
    """All of a text, in lines: what is cut may be just what tells two apart."""
    return textwrap.fill(text, width)


def _without_folder(source: str) -> str:
    """Where data lie on one machine is for the result files, not for a picture."""
    source = re.sub(r", in .*?: ", ": ", source)
    source = re.sub(r"^(images in|arrays of) (?:.*/|[A-Z]:.*\\)", r"\1 ", source)
    source = source.replace(f"{Path.home()}/", "")
    return re.sub(r"(?<![\w.:/~])(?:[A-Z]:\\|/)(?:[^\s/\\]+[/\\])*(?=\S)", "", source)
