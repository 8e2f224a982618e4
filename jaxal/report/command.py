"""The command `jaxal report`: tables and figures from any number of runs."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxal.report.gathering import Group, gather
from jaxal.report.options import ReportOptions
from jaxal.report.summary import summarise
from jaxal.report.tables import markdown
from jaxal.runs import store
from jaxal.runs.store import RunError, RunFiles
from jaxal.words import parse

USUAL = Path("runs")
FIGURE = "learning_curves.png"
_DESCRIPTION = "Compares runs: learning curves, tables, intervals over seeds."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the report command; returns its exit status.

    Args:
      arguments: words, by default those of the process.

    Raises:
      SystemExit: 2 after words that say nothing that can be, 0 after `--help`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(
        ReportOptions(), words, description=_DESCRIPTION, program="jaxal report"
    )
    try:
        report(options)
    except (RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def report(options: ReportOptions) -> None:
    """Prints tables, and writes figures and, where asked for, JSON.

    Raises:
      RunError: there is nothing to compare, or a table cannot be made as asked for;
        the others have been by then.
    """
    from jaxal.report import figures

    folders = options.runs or (_usual_folder(),)
    figure = options.figure or _beside(folders[0]) / FIGURE
    groups = gather(folders)
    if len(groups) > 1:
        print(
            f"These runs are of {len(groups)} different settings, which are not "
            "compared with each other; each has its own table.\n"
        )
    summaries, failed = [], []
    for group in groups:
        try:
            summary = summarise(
                group,
                baseline=options.baseline,
                target=options.target,
                budgets=options.budgets,
            )
            summaries.append(summary)
            print(markdown(summary))
            path = _figure_path(figure, group, len(groups))
            figures.draw(group, path, baseline=options.baseline)
            print(f"Figure: {path}\n")
        except (RunError, ValueError, OSError) as error:
            failed.append(f"{group.title}: {error}")
    if options.json is not None:
        store.write_json(options.json, summaries)
    if failed:
        raise RunError("\n".join(failed))


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


def _figure_path(path: Path, group: Group, num_groups: int) -> Path:
    if num_groups == 1:
        return path
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in group.title)
    # However long and alike the titles are, each has a file of its own.
    digest = hashlib.sha256(group.title.encode()).hexdigest()[:8]
    return path.with_name(f"{path.stem[:40]}-{kept[:60]}-{digest}{path.suffix}")
