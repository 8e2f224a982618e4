"""What chunks of a source may be."""

import numpy as np
import pytest

from jaxal import stream_scores

ROWS = np.arange(24, dtype=np.float32).reshape(8, 3)


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (ROWS[:, :2], r"float32 rows of shape \[2\].*float32 \[3\]"),
        (ROWS[..., None], r"shape \[3, 1\]"),
        ({"a": ROWS}, "a dict of 'a'"),
        (ROWS.astype(str), "expected numbers"),
        (ROWS.astype(object), "expected numbers"),
        (ROWS.astype(np.int64) + 2**40, "int64, held as int32"),
    ],
)
@pytest.mark.parametrize("size", [8, 5, 24])
def test_a_later_chunk_that_is_not_as_the_first_is_refused(last, says, size):
    first = ROWS.astype(np.int64) if "int64" in says else ROWS

    def chunks():
        yield from (first, first, last)

    with pytest.raises(ValueError, match=says):
        stream_scores(lambda rows: rows.sum(-1) * 1.0, chunks, chunk_size=size)
