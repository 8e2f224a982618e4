"""A run on disk: configuration, rounds, queries, checkpoints, reports."""

from jaxal.pools.refusals import Refusals
from jaxal.runs.displays import Display, Lines, Silent
from jaxal.runs.errors import RunError
from jaxal.runs.experiment import People, Question, Reply
from jaxal.runs.program import run

__all__ = [
    "Display",
    "Lines",
    "People",
    "Question",
    "Refusals",
    "Reply",
    "RunError",
    "Silent",
    "run",
]
