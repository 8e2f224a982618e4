"""The page on reports says what is so."""

import pathlib
import re

from jaxal.report.options import ReportOptions
from jaxal.settings import settings_of

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reports.md"


def test_its_code_runs():
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), {"__name__": "page"})


def test_its_options_are_those_of_the_command():
    known = {one.flag for one in settings_of(ReportOptions).values()}
    known |= {"--keep-ratios", "--record"}  # of a run
    told = set(re.findall(r"--[a-z][\w-]*", PAGE.read_text()))
    assert {one.replace("--no-", "--") for one in told} <= known
