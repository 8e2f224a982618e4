"""Settings, each written once: flags, `--help`, files and checks follow from a class.

A class of settings derives from `Settings`; each of its fields is a `setting`, with its
help, range and default. Whoever gives a value, words of a command line, a TOML file
(both in `jaxal.words`) or a program (the class itself, `changed`), it takes one way: it
is made what the field says it is, or refused by the name of its flag.
"""

import ast
import dataclasses
import inspect
import itertools
import math
import numbers
import os
import textwrap
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from jaxal.checks import nearest

S = TypeVar("S", bound="Settings")
_TAKES: dict[type, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a word"),
    Path: ((str, os.PathLike), "a path"),
}


class Rule(NamedTuple):
    """What is written of a setting besides its type, default and help."""

    low: float = -math.inf
    high: float = math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()
    is_set: bool = False  # whether none may occur twice
    usual: Any = None  # what it is where neither a person nor a preset says
    follows: str = ""  # what decides where it is None, in words
    decides: bool = True  # what comes out
    is_bare: bool = False  # given without its flag, as files are


def setting(default: Any = None, **rule: Any) -> Any:
    """Returns a field of a class of settings; the string below it is its help.

    Args:
      default: None where it follows from something else.
      **rule: `low`, `high` and `below` bound numbers, each of several; `choices` are
        the names it takes; a default that gives way to others is `usual`, and one that
        is found out is said by `follows`; `decides=False` leaves results as they are;
        `is_bare=True` is given without a flag.

    Example:
      >>> from dataclasses import dataclass
      >>> from jaxal.settings import Settings, setting
      >>> @dataclass(frozen=True, kw_only=True)
      ... class Bread(Settings):
      ...   grams: int = setting(500, low=1)
      ...   'Flour.'
      >>> Bread().grams
      500
      >>> Bread(grams=0)
      Traceback (most recent call last):
        ...
      ValueError: --grams is 0, expected at least 1.
    """
    return dataclasses.field(default=default, metadata={"rule": Rule(**rule)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of classes whose fields are settings; every value is checked."""

    def __post_init__(self) -> None:
        for name, known in settings_of(type(self)).items():
            object.__setattr__(self, name, known.checked(getattr(self, name)))


class Setting(NamedTuple):
    """A field with all that is known of it."""

    name: str
    kind: type  # of one value
    size: int | None  # None for a single value, 0 for any number, else how many
    default: Any
    rule: Rule
    help: str
    group: type  # the class it is written in

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def checked(self, value: Any) -> Any:
        """Returns a value as the field has it, or refuses it."""
        if value is None and self.default is None:
            return None
        if self.size is None:
            return self._one(value)
        given = value if isinstance(value, list | tuple) else (value,)
        several = [one for some in given for one in self._spread(some)]
        is_short = not several and self.default != ()
        if is_short or (self.size and len(several) != self.size):
            raise ValueError(
                f"{self.flag} has {len(several) or 'no'} values, expected "
                f"{self.size or 'one or more'}."
            )
        values = tuple(map(self._one, several))
        if self.rule.is_set and (twice := {v for v in values if values.count(v) > 1}):
            raise ValueError(f"{self.flag} has {sorted(twice)} twice.")
        return values

    def read(self, words: bool | str | Sequence[str]) -> Any:
        """Returns what words of a command line say."""
        if isinstance(words, list):
            return [self.read(word) for word in words]
        try:
            return words if self.kind is bool else self.kind(words)
        except ValueError:
            return words  # which will be refused

    def limits(self) -> str:
        """Returns the range in words, empty where there is none."""
        low, high, below = self.rule[:3]
        found = [f"at least {low}"] if low > -math.inf else []
        found += [f"at most {high}"] if high < math.inf else []
        found += [f"below {below}"] if below < math.inf else []
        return " and ".join(found)

    def _spread(self, value: Any) -> Sequence[Any]:
        """The numbers of a range such as 0..9, where each may occur once."""
        if self.rule.is_set and self.kind is int and isinstance(value, str):
            first, _, last = value.partition("..")
            if first.isdecimal() and last.isdecimal():
                return range(int(first), int(last) + 1)
        return (value,)

    def _one(self, value: Any) -> Any:
        takes, what = _TAKES[self.kind]
        is_odd = isinstance(value, bool) and self.kind is not bool
        if is_odd or not isinstance(value, takes):
            raise ValueError(f"{self.flag} is {value!r}, expected {what}.")
        value, rule = self.kind(value), self.rule
        if rule.choices and value not in rule.choices:
            names = f"{', '.join(rule.choices)}.{nearest(value, rule.choices)}"
            raise ValueError(f"{self.flag} is {value!r}, expected one of {names}")
        limits = self.limits()
        if limits and not (rule.low <= value <= rule.high and value < rule.below):
            raise ValueError(f"{self.flag} is {value}, expected {limits}.")
        return value


def settings_of(cls: type) -> dict[str, Setting]:
    """Returns the settings of a class by name, in order."""
    hashable: Any = cls
    return _settings_of(hashable)


def changed(base: S, values: Mapping[str, Any]) -> S:
    """Returns settings with some of them changed, each checked.

    Args:
      base: settings to start from.
      values: by name, such as `{"epochs": 3}`; hyphens are underscores.

    Raises:
      ValueError: a name that no setting has, the nearest of which is named; or a value
        that it does not take.

    Example:
      >>> from dataclasses import dataclass
      >>> from jaxal.settings import Settings, changed, setting
      >>> @dataclass(frozen=True, kw_only=True)
      ... class Bread(Settings):
      ...   grams: tuple[int, ...] = setting((500,), low=1)
      >>> changed(Bread(), {"grams": [300, 200]}).grams
      (300, 200)
      >>> changed(Bread(), {"gram": 300})
      Traceback (most recent call last):
        ...
      ValueError: There is no setting 'gram'. Did you mean 'grams'?
    """
    given, values = values, {n.replace("-", "_"): v for n, v in values.items()}
    if len(values) < len(given):
        raise ValueError("A setting is there twice, with a hyphen and without.")
    known = settings_of(type(base))
    for name in values.keys() - known.keys():
        raise ValueError(f"There is no setting {name!r}.{nearest(name, known)}")
    return dataclasses.replace(base, **values)


def _kind(hint: Any) -> tuple[type, int | None, tuple[str, ...]]:
    """The type of one value, how many there are, and names it must be one of."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return str, None, inner
    if typing.get_origin(hint) is tuple:
        return inner[0], 0 if inner[-1] is Ellipsis else len(inner), ()
    return hint, None, ()


@cache
def _settings_of(cls: Any) -> dict[str, Setting]:
    hints, found = typing.get_type_hints(cls), {}
    own = {c: vars(c).get("__annotations__", ()) for c in cls.__mro__}
    groups = {name: group for group, names in own.items() for name in names}
    helps = {group: _helps(group) for group in {*groups.values()}}
    for f in dataclasses.fields(cls):
        group, rule = groups[f.name], f.metadata["rule"]
        kind, size, names = _kind(hints[f.name])
        rule = rule._replace(choices=rule.choices or names)
        said = helps[group].get(f.name, "")
        found[f.name] = Setting(f.name, kind, size, f.default, rule, said, group)
    return found


def _helps(cls: type) -> dict[str, str]:
    """The strings below fields, as their source has them."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):  # typed in, at a prompt
        return {}
    if not isinstance(tree, ast.ClassDef):  # in a doctest: a line of its module
        return {}
    found = {}
    for pair in itertools.pairwise(tree.body):
        match pair:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
    return found
