"""The folder of a report: files of each comparison, listed as they are written."""

import contextlib
import hashlib
import math
from pathlib import Path
from typing import Any

from jaxal.report import results
from jaxal.report.figures import canvas, pictures
from jaxal.report.gathering import Group
from jaxal.report.options import ReportOptions
from jaxal.runs import durable, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record

FOLDER = "report"
SUMMARY = "summary.json"  # by which a report's folder is known


class Written:
    """A folder, and what has been written to it."""

    def __init__(self, folder: Path):
        """Makes the folder if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.names: list[str] = []
        self._earlier = _earlier(folder)

    def add(self, name: str, content: str | bytes) -> None:
        """Replaces a file as a whole."""
        data = content.encode() if isinstance(content, str) else content
        durable.replace_file(self.folder / name, data)
        self.names.append(name)

    def done(self, comparisons: list[Record]) -> None:
        """Writes all numbers, and removes what an earlier report left of its own."""
        self.names.append(SUMMARY)
        told = {"files": self.names, "comparisons": _finite(comparisons)}
        store.write_json(self.folder / SUMMARY, told)
        for name in self._earlier - set(self.names):
            (self.folder / name).unlink(missing_ok=True)


def write(
    written: Written,
    group: Group,
    summary: Record,
    options: ReportOptions,
    num_groups: int,
) -> None:
    """Writes tables and figures of a comparison.

    Args:
      written: the folder.
      group: comparable runs.
      summary: its numbers.
      options: which kinds of picture.
      num_groups: with several, names of files say which group.
    """
    before = prefix(group.title) if num_groups > 1 else ""
    written.add(f"{before}tables.md", results.as_markdown(summary, group.measure))
    written.add(f"{before}tables.tex", results.as_latex(summary, group.measure))
    for name, text in results.as_csv(summary).items():
        written.add(f"{before}{name}.csv", text)
    kinds = [kind for kind in options.figures if kind != "none"]
    for name, picture in pictures.pictures(group, summary).items() if kinds else ():
        figure = picture(group, summary)
        for kind in kinds:
            written.add(f"{before}{name}.{kind}", canvas.content(figure, kind))


def _earlier(folder: Path) -> set[str]:
    """Names of the files that the last report in a folder says it wrote there."""
    with contextlib.suppress(RunError):
        found = store.read_json(folder / SUMMARY)
        names = found.get("files", []) if isinstance(found, dict) else []
        return {n for n in names if isinstance(n, str) and n == Path(n).name}
    return set()


def _finite(value: Any) -> Any:
    """What is infinite, as labels to what is not reached, as words `float` reads."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    is_infinite = isinstance(value, float) and math.isinf(value)
    return str(float(value)) if is_infinite else value


def prefix(title: str) -> str:
    """Returns the beginning of a file name; however long and alike, of its own."""
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in title)
    return f"{kept[:60]}-{hashlib.sha256(title.encode()).hexdigest()[:8]}-"
