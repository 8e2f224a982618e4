"""All of a report as one page: no network, no other file."""

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template

from jaxal.report.gathering import Group
from jaxal.report.page import sections
from jaxal.report.page.html import element, embedded, text
from jaxal.report.page.looking import look
from jaxal.report.page.rows import Again
from jaxal.runs.store import Record


def page(
    compared: Sequence[tuple[Group, Record]],
    *,
    again: Again | None = None,
    kind: str = "pca",
    unsure: bool = True,
) -> str:
    """Returns a page of comparisons, whatever things in them are called.

    Args:
      compared: groups, each with its summary.
      again: who reads the rows of runs, None where nobody does.
      kind: of map: pca, tsne or none.
      unsure: whether to show the most and the least uncertain rows.
    """
    import jaxal

    parts = [
        _section(f"c{i}", group, summary, again, kind, unsure)
        for i, (group, summary) in enumerate(compared)
    ]
    links = [
        text("a", group.title, href=f"#c{i}") for i, (group, _) in enumerate(compared)
    ]
    runs = sum(len(r) for group, _ in compared for r in group.curves.values())
    return Template(_file("page.html")).substitute(
        title="What was worth labelling",
        about=escape(f"{runs} runs, jaxal {jaxal.__version__}"),
        links="".join(links if len(links) > 1 else []),
        sections="\n".join(parts),
        style=_file("page.css"),
        script=_file("page.js"),
    )


def _section(
    anchor: str,
    group: Group,
    summary: Record,
    again: Again | None,
    kind: str,
    unsure: bool,
) -> str:
    seen = look(group, again, kind, unsure=unsure)
    source = f"Data: {group.shared['source']}"
    rows = embedded(seen.data)
    return element(
        "section",
        text("h2", group.title),
        text("p", source, class_="quiet"),
        sections.figures(group, summary),
        text("h3", "Tables"),
        sections.tables(group, summary),
        sections.configurations(group),
        sections.notes(group),
        seen.html,
        f'<script type="application/json" class="rows">{rows}</script>',
        id=anchor,
    )


def _file(name: str) -> str:
    return resources.files("jaxal.report.page").joinpath(name).read_text("utf-8")
