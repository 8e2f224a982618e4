"""What was seen along the fits of the last round, where runs watched them."""

from typing import Any

import numpy as np

from jaxal.report.figures import canvas
from jaxal.report.gathering import Group
from jaxal.report.reading import Run
from jaxal.runs.store import Record

ALONG = "along"  # of a round's record: steps, and metrics at them by rows and name


def rows_seen(group: Group) -> list[str]:
    """Returns the rows that the metric was seen on along every fit, such as test."""
    runs = [run for members in group.curves.values() for run in members]
    seen = [set(run.rounds[-1].get(ALONG) or ()) for run in runs]
    ending = f"/{group.measure.name}"
    shared = sorted(set.intersection(*seen)) if seen else []
    return [name.removesuffix(ending) for name in shared if name.endswith(ending)]


def fits(group: Group, summary: Record) -> Any:
    """Returns a figure of the metric over the steps of the last round's fits."""
    with canvas.plain():
        rows = rows_seen(group)
        figure = canvas.new(4.4 * len(rows) + 2.6, 3.6 + canvas.height(group.title))
        grid = figure.subplots(1, len(rows), squeeze=False, sharey=True)
        styles = canvas.styles(group, summary["baseline"])
        for axes, name in zip(grid.flat, rows, strict=True):
            for side, runs in group.curves.items():
                _side(axes, group, side, runs, name, styles[side])
            axes.set_title(f"{name} rows", fontsize=9, loc="left")
            axes.set_xlabel("training steps of the last round")
            canvas.bare(axes)
        grid[0, 0].set_ylabel(group.measure.title.removeprefix("test "))
        outside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        grid[0, -1].legend(frameon=False, fontsize=9, **outside)
        canvas.headed(figure, group.title)
        source = canvas.without_folder(group.shared["source"])
        canvas.noted(figure, f"A line a seed; dots: weights that were kept. {source}")
    return figure


def _side(
    axes: Any, group: Group, side: str, runs: list[Run], rows: str, style: Record
) -> None:
    plain = {name: style[name] for name in ("color", "linestyle")}
    for i, run in enumerate(runs):
        record = run.rounds[-1]
        steps = np.array(record[ALONG]["step"], float)
        seen = np.array(record[ALONG][f"{rows}/{group.measure.name}"], float)
        label = canvas.wrapped(side, 44) if i == 0 else None
        values = group.measure.scale * seen
        axes.plot(steps, values, **plain, linewidth=1.1, label=label)
        kept = steps == record.get("best_step")
        axes.plot(steps[kept], values[kept], "o", color=style["color"], markersize=5)
