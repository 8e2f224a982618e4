"""Settings of any command: from words, files and programs, one way."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from jaxal.settings import Settings, changed, setting, settings_of
from jaxal.words import from_file, parse


@dataclass(frozen=True, kw_only=True)
class Oven(Settings):
    """Heat."""

    degrees: float = setting(220.0, low=0, high=300)
    """How hot, in
    % of nothing."""
    fan: bool = setting(True)
    """Moves the air."""
    grill: bool = setting(False)
    """From above."""


@dataclass(frozen=True, kw_only=True)
class Bread(Oven):
    """What goes in."""

    files: tuple[Path, ...] = setting((), is_bare=True)
    """Recipes."""
    flour: Literal["wheat", "rye"] = setting(follows="the weather")
    """Which."""
    minutes: tuple[int, ...] = setting(low=1)
    """In each step."""
    size: tuple[int, int] | None = setting(low=1)
    """Of the tin."""


def test_words_files_and_programs_say_the_same(tmp_path):
    words = (
        "a.txt --degrees 200 --no-fan --grill --flour=rye --minutes 3 4 --size 10 20"
    )
    values = {"degrees": 200, "fan": False, "grill": True, "flour": "rye"}
    values |= {"minutes": [3, 4], "size": [10, 20], "files": ["a.txt"]}
    toml, plain = tmp_path / "bread.toml", tmp_path / "bread.json"
    toml.write_text("\n".join(f"{n} = {json.dumps(v)}" for n, v in values.items()))
    plain.write_text(json.dumps(values))
    expected = Bread(
        degrees=200.0,
        fan=False,
        grill=True,
        files=(Path("a.txt"),),
        flour="rye",
        minutes=(3, 4),
        size=(10, 20),
    )
    assert parse(Bread(), words.split()) == changed(Bread(), values) == expected
    assert from_file(Bread(), toml) == from_file(Bread(), plain) == expected
    again = parse(Bread(), ["--config", str(toml), "--degrees=7", "--fan"])
    assert again == changed(expected, {"degrees": 7, "fan": True})


def test_numbers_of_numpy_and_underscores_are_taken():
    assert Bread(minutes=np.int64(3)).minutes == (3,)
    assert changed(Bread(), {"degrees": np.float32(1)}).degrees == 1.0
    assert parse(Bread(), ["--no_fan"]) == Bread(fan=False)


def test_help_and_group_are_what_stands_in_the_class(capsys):
    known = settings_of(Bread)
    assert known["degrees"].help == "How hot, in % of nothing."
    assert known["degrees"].group is Oven and known["size"].group is Bread
    with pytest.raises(SystemExit):
        parse(Bread(), ["--help"], description="Bakes.", program="bake")
    said = " ".join(capsys.readouterr().out.split())
    for part in ("usage: bake", "Bakes.", "heat:", "{wheat,rye}", "the weather"):
        assert part in said
    assert "at least 0 and at most 300; default: 220.0" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--degrees 301", "--degrees is 301.0, expected at least 0 and at most 300"),
        ("--degrees hot", "--degrees is 'hot', expected a number"),
        ("--flour ry", "expected one of wheat, rye. Did you mean 'rye'?"),
        ("--minutes", "--minutes has no values, expected one or more"),
        ("--size 1", "expected 2 arguments"),
        ("--degree 3", "there is no option --degree. Did you mean '--degrees'?"),
        ("--confg x", "Did you mean '--config'?"),
        ("--config nowhere.toml", "nowhere.toml cannot be read"),
    ],
)
def test_what_cannot_be_ends_with_two(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(Bread(), words.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_file_that_holds_no_settings_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match="list.json"):
        from_file(Bread(), path)


def test_a_field_typed_in_at_a_prompt_has_no_help():
    found: dict = {}
    code = "class Typed(Settings):\n  number: int = setting(3)\n"
    exec(code, {"Settings": Settings, "setting": setting, "__name__": "x"}, found)
    made = dataclass(frozen=True, kw_only=True)(found["Typed"])
    assert settings_of(made)["number"].help == "" and made().number == 3
