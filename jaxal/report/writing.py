"""The folder of a report: files of each comparison, listed as they are written."""

import hashlib
from pathlib import Path

from jaxal.report import results
from jaxal.report.figures import canvas, pictures
from jaxal.report.gathering import Group
from jaxal.report.options import ReportOptions
from jaxal.runs import store
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

    def add(self, name: str, content: str | bytes) -> None:
        """Replaces a file as a whole."""
        data = content.encode() if isinstance(content, str) else content
        store.replace_file(self.folder / name, data)
        self.names.append(name)


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
    for name, picture in pictures.pictures(summary).items() if kinds else ():
        figure = picture(group, summary)
        for kind in kinds:
            written.add(f"{before}{name}.{kind}", canvas.content(figure, kind))


def prefix(title: str) -> str:
    """Returns the beginning of a file name; however long and alike, of its own."""
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in title)
    return f"{kept[:60]}-{hashlib.sha256(title.encode()).hexdigest()[:8]}-"
