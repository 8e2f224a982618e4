"""The command `jaxal report`: tables and figures from any number of runs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxal.checks import nearest
from jaxal.report import writing
from jaxal.report.figures import canvas, matrices
from jaxal.report.gathering import Group, gather
from jaxal.report.options import ReportOptions
from jaxal.report.page.page import page
from jaxal.report.page.rows import Again
from jaxal.report.results import as_markdown
from jaxal.report.summary import summarise
from jaxal.report.writing import Written
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record, RunFiles
from jaxal.standings import Standing, total_standing
from jaxal.words import parse

USUAL = Path("runs")
_DESCRIPTION = """
Compares runs: learning curves, tables, tests and intervals over seeds. All of it goes
to the folder `report` beside the runs: tables as .md, .tex and .csv, all numbers as
summary.json, figures, and with --html one page of it all.
"""


def main(
    arguments: Sequence[str] | None = None,
    reader: Callable[[ReportOptions], Again] | None = None,
) -> int:
    """Runs the report command; returns its exit status.

    Args:
      arguments: words, by default those of the process.
      reader: of the rows that runs were about, for a page.

    Raises:
      SystemExit: 2 after words that say nothing that can be, 0 after `--help`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(
        ReportOptions(), words, description=_DESCRIPTION, program="jaxal report"
    )
    try:
        report(options, reader(options) if reader and options.html else None)
    except (RunError, ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def report(options: ReportOptions, again: Again | None = None) -> list[Path]:
    """Prints tables, and writes them and figures to a folder.

    Args:
      options: what to compare, and what to write.
      again: who reads the rows of runs.

    Returns:
      What was written.

    Raises:
      RunError: there is nothing to compare, or a table cannot be made as asked for;
        the others have been by then.
    """
    folders = options.runs or (_usual_folder(),)
    groups = gather(
        folders,
        compare=options.compare,
        metric=options.metric,
        better=options.better,
    )
    _check_baseline(options.baseline, groups)
    written = Written(options.out or _beside(folders[0]) / writing.FOLDER)
    if len(groups) > 1:
        print(
            f"These runs are of {len(groups)} different settings, which are not "
            "compared with each other; each has its own table.\n"
        )
    compared: list[tuple[Group, Record]] = []
    failed = []
    for group in groups:
        try:
            summary = summarise(group, options)
            compared.append((group, summary))
            print(as_markdown(summary, group.measure))
            writing.write(written, group, summary, options, len(groups))
        except (RunError, ValueError, OSError, ImportError) as error:
            failed.append(f"{group.title}: {error}")
    _write_shared(written, [summary for _, summary in compared], options)
    if options.html:
        whole = page(
            compared, again=again, kind=options.map, unsure=options.uncertainty
        )
        written.add("index.html", whole)
    written.done([summary for _, summary in compared])
    print(f"Written to {written.folder}: {', '.join(written.names)}")
    if failed:
        raise RunError("\n".join(failed))
    return [written.folder / name for name in written.names]


def _write_shared(
    written: Written, summaries: list[Record], options: ReportOptions
) -> None:
    """Writes who beat whom over all comparisons, where there are several."""
    standings = [Standing(**s["standing"]) for s in summaries if s["standing"]]
    shared = set.intersection(*({*s.names} for s in standings)) if standings else set()
    if len(standings) > 1 and len(shared) > 1:
        title = f"{len(standings)} comparisons"
        figure = matrices.penalty_matrix(title, total_standing(standings)._asdict())
        for kind in set(options.figures) - {"none"}:
            content = canvas.content(figure, kind)
            written.add(f"penalties-of-all.{kind}", content)


def _check_baseline(baseline: str | None, groups: list[Group]) -> None:
    known = list(dict.fromkeys(name for group in groups for name in group.curves))
    if baseline is not None and baseline not in known:
        raise RunError(
            f"--baseline {baseline}: nothing that is compared is called so. There is "
            f"{', '.join(known)}.{nearest(baseline, known)}"
        )


def _usual_folder() -> Path:
    if not USUAL.is_dir():
        raise RunError(
            f"No runs were named, and there is no folder {USUAL} in {Path.cwd()}. "
            "Usage: jaxal report RUN... (folders of runs, or folders that hold them)."
        )
    return USUAL


def _beside(folder: Path) -> Path:
    """The folder that holds the runs, whether it was named or one of them was."""
    return folder.parent if RunFiles(folder).config.exists() else folder
