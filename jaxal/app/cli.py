"""The command line: `jaxal run`, `jaxal report`, `jaxal strategies`."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from jaxal.app.interrupts import INTERRUPTED, heeded, leave
from jaxal.app.pipes import quiet
from jaxal.checks import nearest
from jaxal.words import parse

if TYPE_CHECKING:
    from jaxal.app.recipe import Recipe
    from jaxal.report.options import ReportOptions
    from jaxal.report.page.rows import Again

_DESCRIPTION = """
Runs active learning on a data set and leaves a learning curve.

Each seed is a run of its own under OUTPUT/NAME-seedK: config.json, rounds.jsonl (one
line a round), queries.jsonl (one line a label), checkpoint and figures. Killed at any
moment and started again with the same command, a run continues where it was. Compare
runs with `jaxal report OUTPUT/*`.
"""

_USAGE = """usage: jaxal COMMAND [OPTIONS]

commands:
  run         run active learning on a data set
  study       compare strategies on frozen embeddings over many seeds, in one go
  report      learning curves and tables from any number of runs
  strategies  list the strategies; NAME says all of one, --markdown is a table
  datasets    list the data sets by name

`jaxal COMMAND --help` says more, `jaxal --version` which jaxal this is.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the `jaxal` command; returns its exit status.

    Args:
      arguments: words after `jaxal`, by default those of the process.

    Example:
      >>> from jaxal.app.cli import main
      >>> main(["datasets"])  # doctest: +ELLIPSIS
      auto
      cifar10
      ...
    """
    if arguments is None:
        return leave(main(sys.argv[1:]))
    words = list(arguments)
    try:
        with heeded(), quiet():
            return _command(words)
    except _ToldError:
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED


def run_command(
    arguments: Sequence[str] | None = None,
    *,
    default: "Recipe | None" = None,
    description: str = _DESCRIPTION,
    program: str = "jaxal run",
) -> int:
    """Runs active learning as the words say; returns the exit status.

    Args:
      arguments: by default those of the process.
      default: a `Recipe`, where the words say nothing.
      description: what `--help` begins with.
      program: how it was called, for usage and for the command that continues a run.

    Returns:
      0; 1 after an error that a person has to deal with; 130 after Ctrl-C.

    Raises:
      SystemExit: 2 after words that say nothing that can be, 0 after `--help`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    called = shlex.split(program)
    command = shlex.join([*called, *(w for w in words if w != "--overwrite")])
    try:
        with heeded() as heed, _readable_errors():
            from jaxal.app.launch import launch
            from jaxal.app.recipe import Recipe

            base = default or Recipe()
            recipe = parse(base, words, description=description, program=program)
            heed()
            launch(recipe, command)
    except _ToldError:
        return 1
    except KeyboardInterrupt as error:
        from jaxal.runs.errors import StoppedError

        said = f"Stopped before a run began. To start:\n  {shlex.join(called + words)}"
        if isinstance(error, StoppedError):
            said = "Stopped; every label and every complete round is on disk. "
            said += f"To continue:\n  {command}"
        print(f"\n{said}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _command(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    if command in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    if command == "--version":
        import jaxal

        print(f"jaxal {jaxal.__version__}")
        return 0
    if command not in _COMMANDS:
        said = f"jaxal has no command {command!r}.{nearest(command, _COMMANDS)}"
        print(f"{said}\n\n{_USAGE}", end="", file=sys.stderr)
        return 2
    return _COMMANDS[command](rest)


class _ToldError(Exception):
    """An error whose message has been printed."""


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """Prints errors that are a person's to mend without a traceback."""
    from jaxal.data import UnavailableError
    from jaxal.runs.errors import RunError

    try:
        yield
    except (RunError, UnavailableError, ValueError, ImportError, OSError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        raise _ToldError from error


def _report(arguments: Sequence[str]) -> int:
    from jaxal.report import command

    return command.main(arguments, _reader)


def _reader(options: "ReportOptions") -> "Again":
    from jaxal.app.again import Reader  # loads data sets and models

    return Reader(options)


def _study(arguments: Sequence[str]) -> int:
    from jaxal.app import study

    return study.main(arguments)


def _strategies(arguments: Sequence[str]) -> int:
    from jaxal.app import listing

    with _readable_errors():
        return listing.main(arguments)


def _datasets(arguments: Sequence[str]) -> int:
    del arguments
    from jaxal.data import names

    print("\n".join(names()))
    return 0


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run_command,
    "study": _study,
    "report": _report,
    "strategies": _strategies,
    "datasets": _datasets,
}
