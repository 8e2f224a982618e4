"""Where the seconds of a run go."""

from typing import Any

from jaxal.report.axes import COMPILING
from jaxal.report.figures import canvas
from jaxal.report.gathering import Group
from jaxal.runs.store import Record


def runtime(group: Group, summary: Record) -> Any:
    """Returns a figure of the seconds of a run by phase, a bar a side."""
    with canvas.plain():
        sides = summary["strategies"]
        named = [canvas.named(name, 30) for name in sides]
        tall = sum(max(0.34, 0.17 * (name.count("\n") + 1)) for name in named)
        figure = canvas.new(8.0, 1.6 + tall + canvas.height(group.title))
        axes = figure.add_subplot()
        phases = dict.fromkeys(p for one in sides.values() for p in one["seconds"])
        starts = [0.0] * len(sides)
        for i, phase in enumerate(phases):
            lengths = [one["seconds"].get(phase, 0.0) for one in sides.values()]
            hatch = {"hatch": "//", "edgecolor": "white"} if phase == COMPILING else {}
            colour = canvas.COLOURS[i % len(canvas.COLOURS)]
            axes.barh(
                range(len(sides)),
                lengths,
                left=starts,
                color=colour,
                label=phase,
                height=0.7,
                **hatch,
            )
            starts = [a + b for a, b in zip(starts, lengths, strict=True)]
        for row, whole in enumerate(starts):
            axes.text(whole, row, f" {whole:.3g}", va="center", fontsize=8)
        axes.set_yticks(range(len(sides)), named, fontsize=8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("seconds of a whole run, mean over seeds")
        canvas.bare(axes)
        axes.grid(False, axis="y")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        note = f"Data: {canvas.without_folder(group.shared['source'])}"
        canvas.titled(figure, axes, group.title, note)
    return figure
