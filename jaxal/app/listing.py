"""What strategies there are, as lines for a terminal and as a table for a page."""

import inspect
from collections.abc import Sequence

from jaxal.registry import Entry, combinator_names, entry, strategy, strategy_names
from jaxal.types import Strategy

_USAGE = "usage: jaxal strategies [NAME | --markdown]"


def main(arguments: Sequence[str]) -> int:
    """Prints all strategies, one with its settings, or all as a Markdown table.

    Args:
      arguments: nothing, a name, or `--markdown`.

    Raises:
      ValueError: there is no strategy of that name; the nearest is suggested.

    Example:
      >>> from jaxal.app.listing import main
      >>> main(["power_bald"])  # doctest: +ELLIPSIS
      power_bald(*, coldness: float = 1.0) -> jaxal.types.Strategy
      ...
    """
    words = list(arguments)
    if words == ["--markdown"]:
        print(markdown())
    elif len(words) == 1 and not words[0].startswith("-"):
        print(_whole(entry(words[0])))
    elif words:
        print(_USAGE)
        return 0 if words[0] in ("-h", "--help") else 2
    else:
        print("\n".join(map(_line, (*strategy_names(), *combinator_names()))))
    return 0


def markdown() -> str:
    """Returns the table of strategies, and that of combinators, as Markdown.

    Example:
      >>> from jaxal.app.listing import markdown
      >>> "| `badge` | [Ash et al. 2020]" in markdown()
      True
    """
    head = "| name | paper | family | reads | labels | made for | cost of choosing |"
    table = [head, "|---" * 7 + "|", *map(_row, map(entry, strategy_names()))]
    parts = ["| combinator | what it makes |", "|---|---|"]
    parts += [f"| `{_call(entry(n))}` | {_first_line(n)} |" for n in combinator_names()]
    return "\n".join([*table, "", *parts])


def _row(found: Entry) -> str:
    authors, link = found.paper
    paper = f"[{authors}]({link})" if link else ""
    made = strategy(found.name)
    reads = ", ".join(sorted(made.needs | made.streams))
    cells = paper, found.family, reads, _labels(made), found.budget, found.cost
    return f"| `{found.name}` | " + " | ".join(cells) + " |"


def _labels(made: Strategy) -> str:
    return "classes" if made.reads_classes else "any"


def _line(name: str) -> str:
    found = entry(name)
    says = [found.family] if found.family else []
    if not found.is_combinator and not strategy(name).reads_classes:
        says.append("regression too")
    what = f"[{'; '.join(says)}] " if says else ""
    return f"{name:26s} {what}{_first_line(name)}"


def _first_line(name: str) -> str:
    said = entry(name).doc.partition("\n")[0]
    return said.removeprefix("Returns ").removeprefix("the strategy that ")


def _call(found: Entry) -> str:
    names = [
        "*strategies" if name == "strategies" else name
        for name, p in found.settings.items()
        if p.default is p.empty
    ]
    return f"{found.name}({', '.join(names)})"


def _whole(found: Entry) -> str:
    if not callable(found.factory):
        return found.name
    return f"{found.name}{inspect.signature(found.factory)}\n\n{found.doc}"
