"""Tables as Markdown that reads well on a terminal, as LaTeX and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxal.runs.store import Record

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
}


class Table(NamedTuple):
    """What is said of sides, one a row."""

    name: str  # a word, of files
    title: str  # a sentence
    header: list[str]
    rows: list[list[str]]

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.rows)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose columns are aligned in plain text too.

    Example:
      >>> from jaxal.report.tables import markdown
      >>> print(markdown(["strategy", "area"], [["badge", "91.2"]]))
      | strategy | area |
      |:---------|-----:|
      | badge    | 91.2 |
    """
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    header, *rows = escaped
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths = [max(width, 3) for width in widths]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        aligned = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in rest)]
        return "| " + " | ".join(aligned) + " |"

    rule = [":" + "-" * (widths[0] + 1), *("-" * (w + 1) + ":" for w in widths[1:])]
    return "\n".join([line(header), "|" + "|".join(rule) + "|", *map(line, rows)])


def latex(table: Table) -> str:
    r"""Returns a table for `\usepackage{booktabs}`, whatever things are called.

    Example:
      >>> from jaxal.report.tables import Table, latex
      >>> print(latex(Table("results", "", ["strategy", "%"], [["prob_cover", "9.1"]])))
      \begin{tabular}{lr}
      \toprule
      strategy & \% \\
      \midrule
      prob\_cover & 9.1 \\
      \bottomrule
      \end{tabular}
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(latex_text, cells)) + r" \\"

    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            line(table.header),
            r"\midrule",
            *map(line, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def latex_text(text: str) -> str:
    r"""Returns a text that LaTeX sets as it is.

    Example:
      >>> from jaxal.report.tables import latex_text
      >>> latex_text("50 % of a_b")
      '50 \\% of a\\_b'
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)


def comma_separated(records: Sequence[Record]) -> str:
    """Returns records as CSV, a row each; names of all of them are the header.

    Example:
      >>> from jaxal.report.tables import comma_separated
      >>> print(comma_separated([{"strategy": "a,b", "area": 0.5}, {"area": None}]))
      strategy,area
      "a,b",0.5
      ,
      <BLANKLINE>
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def flat(record: Record, before: str = "") -> Record:
    """Returns a record of records as one, names joined by underscores.

    Example:
      >>> from jaxal.report.tables import flat
      >>> flat({"seeds": 3, "area": {"mean": 0.5, "low": 0.4}})
      {'seeds': 3, 'area_mean': 0.5, 'area_low': 0.4}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}_")
        else:
            found[f"{before}{name}"] = value
    return found
