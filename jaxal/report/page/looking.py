"""The rows of a comparison: what was bought, where it lies, what is unsure."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from jaxal.report.gathering import Group
from jaxal.report.page import cards, maps
from jaxal.report.page.html import text
from jaxal.report.page.pictures import pictures
from jaxal.report.page.rows import Again, Rows, Seen, bought, called
from jaxal.report.reading import Run
from jaxal.runs.store import Record

MOST_PLACED = 2000  # rows of the pool on a map
LONGEST = 300  # letters of a text

T = TypeVar("T")


class Look(NamedTuple):
    """The rows of a comparison: HTML, and data for the page's script."""

    html: str
    data: Record


def look(group: Group, again: Again | None, kind: str, *, unsure: bool) -> Look:
    """Returns what there is to see of the rows of a comparison.

    Whatever cannot be read again is left out with a sentence; row numbers stay.

    Args:
      group: comparable runs; of each side the lowest seed is shown.
      again: who reads rows.
      kind: of map, "none" for none.
      unsure: whether to look for uncertainty.
    """
    told: list[str] = []
    runs = {name: members[0] for name, members in group.curves.items()}
    rows = _tried(told, "Rows have numbers only", lambda: _rows(again, runs))
    rows = Rows([]) if rows is None else rows
    seen = {
        name: Seen(run, _tried(told, name, partial(bought, run)) or [])
        for name, run in runs.items()
    }
    index = _index(rows, seen)
    unsure_rows = {
        name: found
        for name, run in runs.items()
        if unsure and again is not None
        if (
            found := _tried(
                told, f"No uncertainty of {name}", partial(again.uncertainty, run)
            )
        )
    }
    data = _data(seen, rows, index, kind, unsure_rows)
    parts = [
        maps.html([*seen], kind) if data["places"] else "",
        cards.bought_by_round(seen, rows, index),
        cards.gallery(unsure_rows, rows, index),
        *(text("p", sentence, class_="note") for sentence in dict.fromkeys(told)),
    ]
    return Look("".join(parts), data)


def _tried(told: list[str], what: str, fn: Callable[[], T]) -> T | None:
    """What a function returns, or None with a sentence on why: a page has an end."""
    try:
        return fn()
    except Exception as error:  # whatever a data set, or a library, raises
        told.append(f"{what}: {error or type(error).__name__}")
        return None


def _rows(again: Again | None, runs: dict[str, Run]) -> Rows:
    if again is None:
        raise LookupError("`jaxal report` reads data sets, this program does not")
    return again.rows(next(iter(runs.values())))


def _index(rows: Rows, seen: dict[str, Seen]) -> dict[str, int]:
    """From what the ledger calls rows to where they are; by number where it must."""
    index = {id_: i for i, id_ in enumerate(rows.ids)}
    lines = [line for one in seen.values() for line in one.bought]
    if any(line.id in index for line in lines):
        return index
    return {line.id: line.row for line in lines if line.row < len(rows.ids)}


def _data(
    seen: dict[str, Seen],
    rows: Rows,
    index: dict[str, int],
    kind: str,
    unsure: dict[str, dict[str, dict[str, float]]],
) -> Record:
    """What the script draws: places and pictures by row, rounds of each side."""
    sides: list[dict[str, Any]] = [
        {
            "name": name,
            "bought": [
                (b.round, index[b.id], called(b.label, rows.class_names), b.score)
                for b in one.bought
                if b.id in index
            ],
        }
        for name, one in seen.items()
    ]
    lines: list[int] = [row for side in sides for _, row, *_ in side["bought"]]
    ends = [index[i] for one in unsure.values() for i in cards.ends(one) if i in index]
    shown = [*dict.fromkeys([*ends, *lines])]
    places: dict[int, list[int]] = {}
    if rows.inputs is not None and kind != "none" and lines:
        some = np.random.default_rng(0).permutation(len(rows.ids))[:MOST_PLACED]
        on_map = [*dict.fromkeys([*shown, *some.tolist()])]
        where = maps.placed(np.asarray(rows.inputs[np.sort(on_map)]), kind)
        places = dict(zip(sorted(on_map), where.tolist(), strict=True))
    told = [*dict.fromkeys([*shown, *places])]
    texts = rows.texts or []
    return {
        "sides": sides,
        "places": places,
        "ids": {row: rows.ids[row] for row in told},
        "texts": {row: texts[row][:LONGEST] for row in told if texts},
        "pictures": pictures(rows, told),
    }
