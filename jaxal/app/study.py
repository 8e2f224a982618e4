"""The command `jaxal study`: strategies and seeds on frozen embeddings, at once."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxal import words
from jaxal.app import features
from jaxal.app.interrupts import INTERRUPTED
from jaxal.runs import compiles, store
from jaxal.runs.errors import RunError, StoppedError
from jaxal.settings import Settings, setting, settings_of

_DESCRIPTION = """
Compares strategies on frozen embeddings: a linear head, many seeds, one command.

Each strategy with each seed is a run of its own under FOLDER. Killed and started again
with the same command it goes on; several processes may fill one folder. `jaxal report
FOLDER` compares the runs, and its study.json is what `--config` takes.
"""


@dataclass(frozen=True, kw_only=True)
class Place(Settings):
    """Where it runs and where results go."""

    folder: Path | None = setting(follows="studies/NAME-PLAN")
    """Of the study."""
    part: str | None = setting(follows="the whole study")
    """3/16 for the third of sixteen machines."""
    workers: int | None = setting(low=1, follows="one for each device")
    """Blocks of trials at the same time."""


@dataclass(frozen=True, kw_only=True)
class StudyRecipe(Place, features.Comparison):
    """What a study is told.

    Example:
      >>> from jaxal.app.study import StudyRecipe
      >>> StudyRecipe(seeds="0..2").seeds
      (0, 1, 2)
      >>> StudyRecipe(part="3")
      Traceback (most recent call last):
        ...
      ValueError: --part is '3', expected two numbers, as 3/16.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _part(self.part)


def main(
    arguments: Sequence[str] | None = None,
    *,
    description: str = _DESCRIPTION,
    program: str = "jaxal study",
) -> int:
    """Runs the study that words describe; returns the exit status.

    Args:
      arguments: by default those of the process.
      description: what `--help` begins with.
      program: how it was called.

    Raises:
      SystemExit: 2 after words that say nothing that can be, 0 after `--help`.
    """
    said = list(sys.argv[1:] if arguments is None else arguments)
    recipe = words.parse(StudyRecipe(), said, description=description, program=program)
    try:
        compiles.remember()
        folders = run(recipe)
    except (RunError, ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (StoppedError, KeyboardInterrupt):
        print("\nStopped; give the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    print(f"{len(folders)} trials in {folders[0].parent}. To compare them:")
    print(f"  jaxal report {folders[0].parent}")
    return 0


def run(recipe: StudyRecipe) -> list[Path]:
    """Runs a study and leaves what repeats it; returns the folders of its trials.

    Raises:
      RunError: nothing to study, or a trial failed.
    """
    found = features.read(recipe)
    folder = recipe.folder or Path("studies") / f"{found.name}-{recipe.plan}"
    folder.mkdir(parents=True, exist_ok=True)
    values = {name: getattr(recipe, name) for name in settings_of(StudyRecipe)}
    said = {name: _plain(value) for name, value in values.items() if value is not None}
    store.write_json(folder / "study.json", said)
    options = {"part": _part(recipe.part), "workers": recipe.workers}
    return features.run(found, folder, recipe, **options)


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal()):
        raise ValueError(f"--part is {text!r}, expected two numbers, as 3/16.")
    return int(which), int(count)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
