"""Figures of a comparison, and how they get to disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxal.report.figures import bars, curves, fits, matrices
from jaxal.report.figures.canvas import content
from jaxal.report.gathering import Group, gather
from jaxal.report.summary import summarise
from jaxal.runs import durable
from jaxal.runs.store import Record

Picture = Callable[[Group, Record], Any]


def pictures(group: Group, summary: Record) -> dict[str, Picture]:
    """Returns what can be drawn of a comparison, by name; each makes a figure."""
    several = len(summary["strategies"]) > 1
    found: dict[str, Picture] = {"curves": curves.curves}
    if several:
        found["panels"] = curves.panels
    if summary["standing"] is not None and len(summary["strategies"]) > 2:
        found["p_values"] = matrices.p_values
        found["penalties"] = matrices.penalties
    found |= {"fits": fits.fits} if fits.rows_seen(group) else {}
    return found | {"runtime": bars.runtime}


def draw(group: Group, path: Path, summary: Record | None = None) -> None:
    """Draws a learning curve for each side of a comparison, with intervals over seeds.

    Args:
      group: comparable runs.
      path: of the picture; its ending decides the format. It is replaced as a whole.
      summary: from `summarise`, by default with its defaults.
    """
    figure = curves.curves(group, summarise(group) if summary is None else summary)
    kind = path.suffix.removeprefix(".") or "png"
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_file(path, content(figure, kind))


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
