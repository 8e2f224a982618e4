"""The page of faults names tests that are there."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NAMED = sorted(
    set(
        re.findall(
            r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/faults.md").read_text()
        )
    )
)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_fault_has_a_test_that_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text())
    assert name in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_no_row_of_a_table_is_without_a_test():
    rows = [
        r for r in (ROOT / "docs/faults.md").read_text().splitlines() if r[:2] == "| "
    ]
    assert all("::test_" in row or row.startswith("| fault |") for row in rows)
