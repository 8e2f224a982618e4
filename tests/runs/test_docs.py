"""The programs on the page about runs do what it says."""

import pathlib
import re

from jaxal.runs import store

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "runs.md"


def test_the_programs_run_and_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    found: dict = {}
    exec(compile(code, str(PAGE), "exec"), found)
    said = capsys.readouterr().out
    assert "Waiting for 7 of 10 answers" in said and "Waiting for 1 of 4" in said
    assert [record["labels"] for record in found["records"]] == [10, 14, 18]
    ledger = store.read_lines(tmp_path / "runs" / "people" / "queries.jsonl")
    assert len(ledger) == 18 and {line["who"] for line in ledger} == {"ada"}
    assert {line["label"] for line in ledger} == {"same sign", "other sign"}
    rounds = store.read_lines(tmp_path / "runs" / "products" / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [10, 20, 30, 40]
