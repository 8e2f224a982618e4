"""What figures have in common."""

import contextlib
import io
import itertools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxal.report.gathering import Group
from jaxal.runs.store import Record

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
LINES = ("-", "--", ":", "-.")
GREY = "#666666"
_WIDTH = 55  # of a title
_TITLE: Record = {"fontsize": 11, "fontweight": "bold"}


def content(figure: Any, kind: str) -> bytes:
    """Returns a figure as a file has it.

    Args:
      figure: of matplotlib.
      kind: png, svg or pdf.
    """
    file = io.BytesIO()
    with plain():
        # The day and the version would make each file another one.
        nothing: dict[str, Any] = {"Date": None} if kind == "svg" else {}
        nothing |= {"CreationDate": None} if kind == "pdf" else {}
        figure.savefig(file, format=kind, metadata=nothing or None)
    return file.getvalue()


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Within it names are no mathematics, whatever their signs, and SVG has text."""
    import matplotlib

    settings: Any = {"text.parse_math": False, "text.usetex": False}
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "jaxal"}
    with matplotlib.rc_context(settings):
        yield


def new(width: float, height: float) -> Any:
    """Returns a figure of so many inches; no pyplot: nothing global, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def styles(group: Group, baseline: str | None) -> dict[str, Record]:
    """Returns colour, marker and line of each side; no two sides have the same."""
    colours, found = itertools.count(), {}
    for i, name in enumerate(group.curves):
        turn = 0 if name == baseline else next(colours)
        colour = BASELINE_COLOUR if name == baseline else COLOURS[turn % len(COLOURS)]
        found[name] = {
            "color": colour,
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[turn // len(COLOURS) % len(LINES)],
        }
    return found


def titled(figure: Any, axes: Any, title: str, note: str) -> None:
    """Writes a title above, and a note below a figure."""
    axes.set_title(wrapped(title, _WIDTH), loc="left", **_TITLE)
    noted(figure, note)


def headed(figure: Any, title: str) -> None:
    """Writes a title above all panels of a figure."""
    said = wrapped(title, int(10 * figure.get_figwidth()))
    figure.suptitle(said, x=0.01, ha="left", **_TITLE)


def height(title: str) -> float:
    """Returns the inches that lines of a title take beyond the first."""
    return 0.2 * wrapped(title, _WIDTH).count("\n")


def noted(figure: Any, note: str) -> None:
    """Writes a note below a figure."""
    width = int(12.5 * figure.get_figwidth())
    text = wrapped(note, width)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7, color=GREY)


def bare(axes: Any) -> None:
    """Takes away what says nothing."""
    axes.grid(True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def wrapped(text: str, width: int) -> str:
    """Returns all of a text, in lines: what is cut may be just what tells two apart."""
    return textwrap.fill(text, width)


def named(name: str, width: int) -> str:
    """Returns a name in lines that end where its parts do.

    Example:
      >>> from jaxal.report.figures.canvas import named
      >>> named("class_balanced(badge(first=drawn), factor=5)", 24).splitlines()
      ['class_balanced(badge(', 'first=drawn), factor=5)']
    """
    lines = [""]
    for part in re.findall(r"[^(,]+[(,]?\s*|[(,]\s*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(wrapped(line, width) for line in lines)


def without_folder(source: str) -> str:
    """Where data lie on one machine is for the result files, not for a picture."""
    source = re.sub(r", in .*?: ", ": ", source)
    source = re.sub(r"^(images in|arrays of) (?:.*/|[A-Z]:.*\\)", r"\1 ", source)
    source = source.replace(f"{Path.home()}/", "")
    return re.sub(r"(?<![\w.:/~])(?:[A-Z]:\\|/)(?:[^\s/\\]+[/\\])*(?=\S)", "", source)
