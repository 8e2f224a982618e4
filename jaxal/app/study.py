"""The command `jaxal study`: strategies and seeds on frozen embeddings, at once."""

import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxal.app import features
from jaxal.runs import compiles, store
from jaxal.runs.store import RunError, StoppedError

INTERRUPTED = 130


@dataclass(frozen=True)
class StudyOptions:
    """Compares strategies on frozen embeddings: a linear head, many seeds, one command.

    Each strategy with each seed is a run of its own under FOLDER. Killed and started
    again with the same command it goes on; several processes may fill one folder.
    `jaxal report FOLDER` compares the runs.
    """

    features: Path | None = None
    """.npz with x_train, y_train, x_test and y_test (or inputs and labels), or .npy."""
    labels: Path | None = None
    """.npy of class numbers, where features are a .npy."""
    test_features: Path | None = None
    """.npy to measure on; by default a fixed fifth of each class."""
    test_labels: Path | None = None
    """.npy of their classes."""
    folder: Path | None = None
    """Of the study; by default studies/NAME-PLAN."""
    strategy: tuple[str, ...] = ("random", "margin", "badge", "coreset", "typiclust")
    """Names or expressions, see `jaxal strategies`."""
    seeds: tuple[str, ...] = ("0..4",)
    """Numbers, or ranges as 0..9, which has ten."""
    plan: Literal["low", "mid", "high"] = "low"
    """10 labels and 10 x 10 more; 100 and 10 x 100; 1,000 and 5 x 1,000."""
    initial: int | None = None
    """Random labels to start with, if not the plan's."""
    query_size: int | None = None
    """Labels to buy in a round."""
    rounds: int | None = None
    """Rounds that buy."""
    num_pool: int | None = None
    """Rows to buy from, drawn once; by default all."""
    num_test: int | None = None
    """Rows to measure on, drawn once; by default all."""
    penalty: float | None = None
    """Of the head; by default chosen by the labelled rows in the course of a run."""
    posterior: Literal["laplace", "laplace_evidence"] = "laplace"
    """Where samples come from, for strategies that read some."""
    ceiling: bool = True
    """Whether to train on all labels too."""
    part: str | None = None
    """3/16 for the third of sixteen machines."""
    workers: int | None = None
    """Blocks of trials at the same time; by default one for each device."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A .toml or .json of these options, such as the study.json that a study leaves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the study command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parse(words)
        compiles.remember()
        folders = run(options)
    except (RunError, ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (StoppedError, KeyboardInterrupt):
        print("\nStopped; give the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    print(f"{len(folders)} trials in {folders[0].parent}. To compare them:")
    print(f"  jaxal report {folders[0].parent}")
    return 0


def parse(words: Sequence[str]) -> StudyOptions:
    """Returns the options that a command line says, and where it is silent its file.

    Raises:
      RunError: the file cannot be read or holds something else.

    Example:
      >>> from jaxal.app.study import parse
      >>> parse(["--features", "x.npz", "--seeds", "0..3", "8"]).seeds
      ('0..3', '8')
    """
    settings = (tyro.conf.FlagCreatePairsOff,)
    said = tyro.cli(StudyOptions, args=words, prog="jaxal study", config=settings)
    if said.config is None:
        return said
    default = _of_file(said.config)
    found = tyro.cli(
        StudyOptions, args=words, default=default, prog="jaxal study", config=settings
    )
    return replace(found, config=None)


def run(options: StudyOptions) -> list[Path]:
    """Runs the study that options describe; returns the folders of its trials.

    Raises:
      RunError: nothing to study, or a trial failed.
    """
    if options.features is None:
        raise RunError("No embeddings were named: --features FILE.npz, or .npy.")
    plan = _plan(options)
    files = features.Files(*(getattr(options, name) for name in features.Files._fields))
    name = f"{options.features.stem}-{options.plan}"
    folder = options.folder or Path("studies") / name
    folder.mkdir(parents=True, exist_ok=True)
    said = {k: _plain(v) for k, v in asdict(options).items() if k != "config"}
    store.write_json(folder / "study.json", said)
    return features.run(
        features.read(files),
        folder,
        strategies=options.strategy,
        seeds=seeds(options.seeds),
        plan=plan,
        head=features.Head(options.penalty, options.posterior != "laplace"),
        ceiling=options.ceiling,
        part=_part(options.part),
        workers=options.workers,
    )


def seeds(words: Sequence[str]) -> list[int]:
    """Returns the numbers that words say, each once.

    Raises:
      ValueError: a word is neither a number nor a range.

    Example:
      >>> from jaxal.app.study import seeds
      >>> seeds(["0..3", "7"])
      [0, 1, 2, 3, 7]
    """
    found: list[int] = []
    for word in words:
        first, _, last = str(word).partition("..")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise ValueError(f"--seeds {word}: expected a number, or a range as 0..9.")
        found.extend(range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(found))


def _plan(options: StudyOptions) -> features.Plan:
    plan = features.PLANS[options.plan]
    given = {n: getattr(options, n) for n in features.Plan._fields}
    return plan._replace(**{n: v for n, v in given.items() if v is not None})


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal()):
        raise ValueError(f"--part {text}: expected two numbers, as 3/16.")
    return int(which), int(count)


def _of_file(path: Path) -> StudyOptions:
    try:
        text = path.read_text()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise RunError(f"--config {path} cannot be read: {error}") from error
    known = {field.name: str(field.type) for field in fields(StudyOptions)}
    if strange := sorted(found.keys() - known.keys()):
        raise RunError(f"--config {path} sets {strange}, expected {sorted(known)}.")
    return StudyOptions(**{n: _typed(v, known[n]) for n, v in found.items()})


def _typed(value: Any, kind: str) -> Any:
    if value is not None and "Path" in kind:
        return Path(value)
    if kind.startswith("tuple"):
        return tuple(map(str, value if isinstance(value, list) else [value]))
    return value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
