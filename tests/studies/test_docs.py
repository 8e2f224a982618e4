"""The program on the page about studies does what it says."""

import pathlib
import re

from jaxal.runs import store

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "studies.md"


def test_the_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    found: dict = {}
    exec(compile(code, str(PAGE), "exec"), found)
    folder = "strategy_name=margin,query_size=4-seed2"
    rounds = store.read_lines(tmp_path / "studies" / "signs" / folder / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [4, 8, 12, 16]
