"""Parts of a page that are of a whole comparison: figures, tables, configurations."""

import json

from jaxal.report import results
from jaxal.report.figures.canvas import content
from jaxal.report.figures.pictures import pictures
from jaxal.report.gathering import Group
from jaxal.report.page.html import details, element, svg, table, text
from jaxal.report.reading import Run
from jaxal.runs import store
from jaxal.runs.store import Record, RunFiles

_CAPTIONS = {
    "curves": "Learning curves",
    "panels": "One panel a side",
    "p_values": "All pairs: p-values",
    "penalties": "All pairs: who beat whom",
    "fits": "Along the fits of the last round",
    "runtime": "Seconds",
}


def figures(group: Group, summary: Record) -> str:
    """Returns all figures of a comparison, drawn into the page."""
    found = []
    for name, draw in pictures(group, summary).items():
        caption = _CAPTIONS[name]
        drawn = svg(content(draw(group, summary), "svg"), f"{caption}: {group.title}")
        found.append(element("figure", drawn, text("figcaption", caption)))
    return element("div", *found, class_="figures")


def tables(group: Group, summary: Record) -> str:
    """Returns the tables of a comparison; a click on a column sorts by it."""
    return "".join(
        text("p", one.title) + table(one.header, one.rows)
        for one in results.tables(summary, group.measure)
    )


def configurations(group: Group) -> str:
    """Returns what runs have in common, and each run with what it has not."""
    shared = [(name, _said(value)) for name, value in sorted(group.shared.items())]
    rows = [
        (
            side,
            str(run.seed),
            str(run.folder),
            "yes" if run.is_finished else f"{len(run.rounds)} rounds so far",
            str(run.labels[-1]),
            *_origin(run),
        )
        for side, runs in group.curves.items()
        for run in runs
    ]
    header = ["side", "seed", "folder", "finished", "labels", "software", "command"]
    return details(
        "Configurations",
        text("p", "What all runs have in common:"),
        table(["setting", "value"], shared, "words"),
        text("p", "The runs:"),
        table(header, rows, "words"),
    )


def notes(group: Group) -> str:
    """Returns what was left out, and why."""
    said = [text("li", note) for note in group.notes]
    return details(f"Notes ({len(said)})", element("ul", *said)) if said else ""


def _said(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _origin(run: Run) -> tuple[str, str]:
    """Versions and command of a run."""
    config = store.read_json(RunFiles(run.folder).config)
    made = config.get("environment")
    made = made if isinstance(made, dict) else {}
    names = ("jaxal", "commit", "jax", "device")
    versions = ", ".join(f"{n} {made[n]}" for n in names if made.get(n))
    return versions, str(config.get("command", ""))
