"""Labels by any hashable name, in and out."""

import numpy as np
import pytest

from jaxal import array_oracle, make_pool, reveal
from jaxal.pools.names import label_names

KINDS = {
    "signs": np.array([-1, 1, 1, -1]),
    "texts": np.array(["dog", "cat", "cat", "dog"]),
    "objects": np.array(["dog", "cat", "cat", "dog"], object),
    "bools": np.array([True, False, False, True]),
    "gaps": np.array([30, 10, 10, 30], np.uint8),
    "tuples": [("a", 1), ("b", 2), ("b", 2), ("a", 1)],
    "floats": [0.5, 1.5, 1.5, 0.5],
    "of two kinds": ["none", 3, 3, "none"],
}


class Unknown:
    """As pandas.NA, of which nothing is known, not even that it is itself."""

    def __bool__(self):
        raise TypeError("ambiguous")

    def __ne__(self, other):
        return self

    __hash__ = object.__hash__


@pytest.mark.parametrize("labels", KINDS.values(), ids=KINDS)
def test_names_come_out_as_they_went_in(labels):
    names = label_names(labels)
    numbers = names.numbers(labels)
    assert numbers.dtype == np.int32 and sorted(set(numbers.tolist())) == [0, 1]
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    assert names.called(numbers) == plain
    assert [type(x) for x in names.called(numbers)] == [type(x) for x in plain]
    assert label_names(plain[::-1]).names == names.names or "none" in plain


def test_no_answer_has_a_name_too():
    names = label_names([10, 20, 255], unlabelled=255)
    assert names.names == (10, 20)
    assert names.numbers([20, 255, 10]).tolist() == [1, -1, 0]
    assert names.called([-1, 0]) == [255, 10]
    missing = label_names(["a", "b", None])
    assert missing.numbers(["b", None, float("nan")]).tolist() == [1, -1, -1]
    nothing = float("nan"), np.datetime64("NaT", "D"), Unknown()
    for unlabelled in (None, *nothing):
        names = label_names([2.0, 1.0, *nothing], unlabelled=unlabelled)
        assert names.numbers([*nothing, 1.0]).tolist() == [-1, -1, -1, 0]


def test_a_pool_and_an_oracle_by_names():
    truth = ["ham", "spam", "ham", "spam"]
    names = label_names(truth)
    pool = make_pool(np.zeros([4, 1]), names.numbers(["ham", None, None, None]))
    rows = np.array([1, 2])
    answers = array_oracle(names.numbers(truth))(None, rows)
    pool = reveal(pool, rows, answers)
    assert names.called(pool.labels[:4]) == ["ham", "spam", "ham", None]


def test_what_is_no_name_is_refused():
    names = label_names(["cat", "dog"])
    with pytest.raises(ValueError, match="holds 'cow', expected .* such as '"):
        names.numbers(["cat", "cow"])
    with pytest.raises(ValueError, match=r"numbers holds \[2\]"):
        names.called([0, 2])
    with pytest.raises(ValueError, match="at least two"):
        label_names(["cat", "cat"])
    with pytest.raises(TypeError, match="unhashable"):
        label_names([["a"], ["b"]])
