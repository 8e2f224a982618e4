"""What the page about pools says is so."""

import pathlib
import re

import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "pools.md"


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    found: dict = {}
    exec(compile(code, str(PAGE), "exec"), found)
    monday, tuesday, batch = (
        set(found[name].indices.tolist()) for name in ("monday", "tuesday", "batch")
    )
    assert not monday & tuesday and found["rows"].tolist() == [60, 61, 62]
    pool, labelled = found["pool"], np.asarray(found["pool"].is_labelled)
    assert labelled.sum() == int(found["info"].num_labelled) == 6 + 7 - 2
    assert not batch & {1, *np.flatnonzero(labelled).tolist()}
    assert found["names"].called(pool.labels[:3]) == ["cat", None, None]
