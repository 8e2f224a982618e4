"""The README is true: its code runs, its tables are complete, its links exist."""

import pathlib
import re
import subprocess
import sys

import pytest

import jaxal

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_code_blocks_run(code):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_there_are_code_blocks():
    assert len(BLOCKS) >= 2


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_table_of_strategies_is_the_registry():
    # In a process of its own: other tests and examples register theirs.
    command = [sys.executable, "-m", "jaxal", "strategies", "--markdown"]
    table = subprocess.check_output(command, text=True).strip()
    page = (ROOT / "docs" / "strategies.md").read_text()
    assert table in page, "write what `jaxal strategies --markdown` prints"


def test_every_public_name_is_listed_and_every_listed_name_is_public():
    listed = set(re.findall(r"`(\w+)`", section("What there is")))
    assert listed == set(jaxal.__all__)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_local_links_exist(link):
    assert (ROOT / link).exists()
