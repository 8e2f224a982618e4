"""From words of a command line, and from files, to settings."""

import argparse
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from jaxal.checks import nearest
from jaxal.settings import S, Setting, changed, settings_of


def from_file(base: S, path: str | os.PathLike) -> S:
    """Returns settings with those changed that a TOML or JSON file names.

    Raises:
      ValueError: the file cannot be read, or says what `changed` refuses.
    """
    try:
        text = Path(path).read_text()
        is_json = Path(path).suffix == ".json"
        found = json.loads(text) if is_json else tomllib.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it holds no settings by name")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"--config {path} cannot be read: {error}. Give a TOML file, a line a "
            "setting, such as epochs = 3."
        ) from None
    try:
        return changed(base, found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse(
    base: S, words: Iterable[str], *, description: str = "", program: str = "jaxal"
) -> S:
    """Returns settings with those changed that the words of a command line name.

    Files that `--config` names are read before the other words, the last one last.

    Args:
      base: settings to start from; a class says what `--help` shows.
      words: such as `["--epochs=3", "--seeds", "0", "1"]`.
      description: what `--help` begins with.
      program: how it is called.

    Raises:
      SystemExit: `--help`, or words that say nothing that can be; says what.
    """
    known = settings_of(type(base))
    parser = _parser(known, description, program)
    hyphened = [re.sub(r"^--\w+", lambda m: m[0].replace("_", "-"), w) for w in words]
    given, left = parser.parse_known_args(hyphened)
    if left:
        near = nearest(
            left[0].partition("=")[0], ["--config", *(s.flag for s in known.values())]
        )
        parser.error(f"there is no option {left[0]}.{near}")
    values = vars(given)
    try:
        for path in values.pop("config", ()):
            base = from_file(base, path)
        return changed(base, {name: known[name].read(v) for name, v in values.items()})
    except ValueError as error:
        parser.error(str(error))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        said = f"\nerror: {message}\n`{self.prog} --help` lists the options.\n"
        self.exit(2, said)


def _parser(known: Mapping[str, Setting], description: str, program: str) -> _Parser:
    parser = _Parser(
        prog=program,
        description=description.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        usage=f"{program} [OPTIONS]",
    )
    says = "TOML or JSON files of settings by these names; options beside them count."
    parser.add_argument("--config", nargs="+", metavar="FILE", help=says)
    groups: dict[type, Any] = {}
    for s in known.values():
        title = (s.group.__doc__ or "").partition("\n")[0].rstrip(".").lower()
        group = groups.setdefault(s.group, parser.add_argument_group(title))
        names = {} if s.rule.is_bare else {"dest": s.name}
        flag = s.name if s.rule.is_bare else s.flag
        group.add_argument(flag, help=_help(s), **names, **_takes(s))
    return parser


def _takes(s: Setting) -> dict[str, Any]:
    if s.kind is bool:  # what is on can be switched off
        return {"action": argparse.BooleanOptionalAction if s.default else "store_true"}
    names = "{" + ",".join(s.rule.choices) + "}" if s.rule.choices else ""
    words = {} if s.size is None else {"nargs": s.size or "*"}
    return {"metavar": names or s.kind.__name__.upper(), **words}


def _help(s: Setting) -> str:
    default = s.rule.usual if s.default is None else s.default
    several = default if isinstance(default, tuple) else (default,)
    said = " ".join(
        str(value) for value in several if value is not None and value is not False
    )
    default = ", else ".join(filter(None, [s.rule.follows, said]))
    notes = filter(None, [s.limits(), default and f"default: {default}"])
    return f"{s.help} ({'; '.join(notes)})".removesuffix(" ()").replace("%", "%%")
