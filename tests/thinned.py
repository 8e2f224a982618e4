"""Long lists of one kind: some of them each time, all of them with `-m slow`."""

from collections.abc import Iterable
from typing import Any

import pytest


def thinned(values: Iterable[Any], keep: int) -> list[Any]:
    """The values as parameters, all but `keep`, evenly spaced, marked `slow`."""
    values = list(values)
    kept = {k * len(values) // keep for k in range(keep)}
    return [
        pytest.param(
            *(value if type(value) is tuple else (value,)),
            marks=[] if index in kept else [pytest.mark.slow],
        )
        for index, value in enumerate(values)
    ]
