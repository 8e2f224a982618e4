"""A run on disk: configuration, rounds, queries, checkpoints, reports."""

from jaxal.runs.experiment import People, Question, Reply
from jaxal.runs.program import Lines, Silent, run
from jaxal.runs.runner import Display
from jaxal.runs.store import RunError

__all__ = [
    "Display",
    "Lines",
    "People",
    "Question",
    "Reply",
    "RunError",
    "Silent",
    "run",
]
