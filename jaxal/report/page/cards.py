"""Rows as small cards: a picture or a text, and what is known of it."""

from collections.abc import Iterable

from jaxal.report.page.html import details, element, text
from jaxal.report.page.rows import PARTS, Bought, Rows, Seen, called

MOST_BOUGHT = 500  # rows of a run that are listed
MOST_UNSURE = 12  # rows at each end of a gallery

Scores = dict[str, dict[str, float]]
"""Of the parts of uncertainty, by the id of a row."""


def bought_by_round(seen: dict[str, Seen], rows: Rows, index: dict[str, int]) -> str:
    """Returns the rows that a run of each side bought, round by round."""
    parts = [_of_run(name, one, rows, index) for name, one in seen.items()]
    return text("h3", "Bought, round by round") + "".join(parts)


def gallery(unsure: dict[str, Scores], rows: Rows, index: dict[str, int]) -> str:
    """Returns the most and the least uncertain rows of each side."""
    parts: list[str] = []
    for name, scores in unsure.items():
        inside = []
        for part in PARTS:
            for what, some in zip(
                ("most", "least"), _two_ends(scores, part), strict=True
            ):
                said = [(id_, [id_, f"{scores[part][id_]:.3f} nats"]) for id_ in some]
                shown = [_card(index.get(id_), rows, lines) for id_, lines in said]
                inside.append(text("h5", f"{part}: {what} uncertain"))
                inside.append(element("div", *shown, class_="cards"))
        parts.append(details(name, *inside, is_open=not parts))
    title = "Uncertainty of unlabelled rows after the last round"
    return text("h3", title) + "".join(parts) if parts else ""


def ends(scores: Scores) -> list[str]:
    """Returns the ids that a gallery shows."""
    return [id_ for part in scores for some in _two_ends(scores, part) for id_ in some]


def _two_ends(scores: Scores, part: str) -> tuple[list[str], list[str]]:
    of = scores.get(part, {})
    order = sorted(of, key=of.__getitem__)
    few = min(MOST_UNSURE, len(order) // 2)
    return order[::-1][:few], order[:few]


def _of_run(name: str, one: Seen, rows: Rows, index: dict[str, int]) -> str:
    by_round: dict[int, list[Bought]] = {}
    for line in one.bought[:MOST_BOUGHT]:
        by_round.setdefault(line.round, []).append(line)
    parts = []
    for number, lines in by_round.items():
        what = "initial set" if number == 0 else f"bought for round {number}"
        shown = [_card(index.get(line.id), rows, _said(line, rows)) for line in lines]
        parts.append(text("h5", f"{what}: {len(lines)}"))
        parts.append(element("div", *shown, class_="cards"))
    left = len(one.bought) - MOST_BOUGHT
    if left > 0:
        parts.append(text("p", f"and {left} more in {one.run.folder}/queries.jsonl"))
    return details(f"{name}, seed {one.run.seed}: {len(one.bought)} rows", *parts)


def _said(line: Bought, rows: Rows) -> list[str]:
    said = [called(line.label, rows.class_names), line.id]
    said += [] if line.score is None else [f"score {line.score:.4g}"]
    return said + ([] if line.event == "answered" else [line.event])


def _card(row: int | None, rows: Rows, said: Iterable[str]) -> str:
    """A row with what is said of it."""
    seen = ""
    if row is not None and rows.are_pictures:
        seen = f'<img alt="" data-row="{row}">'
    elif row is not None and rows.texts is not None:
        seen = text("blockquote", rows.texts[row])
    return element("div", seen, *(text("span", one) for one in said), class_="card")
