"""A pipe that nobody reads any more ends a command without a word."""

import os
import sys

import pytest

from jaxal.app import cli, pipes
from tests.report.test_report import CURVES, make_run


@pytest.fixture
def closed(monkeypatch):
    """Standard output into a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        yield output


@pytest.mark.parametrize(
    "words", [["datasets"], ["report", "--help"], [], ["strategies"], ["report", "."]]
)
def test_a_closed_pipe_ends_any_command_quietly(words, closed, capfd, tmp_path):
    if words == ["report", "."]:
        make_run(tmp_path, "badge", 0, CURVES["badge"][0])
        words = ["report", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        sys.exit(cli.main(words))
    assert ended.value.code in (0, pipes.CLOSED)  # argparse itself is quiet of --help
    closed.flush()  # what is left goes nowhere
    assert capfd.readouterr().err == ""
