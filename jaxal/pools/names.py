"""Labels by the names people use: "cat", -1 and +1, True, 10 and 20."""

import difflib
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxal.pools.pool import UNLABELLED


class LabelNames(NamedTuple):
    """The names of the classes: class `c` is called `names[c]`."""

    names: tuple[Hashable, ...]  # [C], each once
    unlabelled: Hashable = None  # what stands for no answer, in and out

    def numbers(self, labels: Iterable[Any]) -> np.ndarray:
        """Returns class numbers `[N]` int32, -1 for no answer.

        Args:
          labels: `[N]` names.

        Raises:
          ValueError: a name is none of a class.
        """
        known = {name: number for number, name in enumerate(self.names)}
        known[_plain(self.unlabelled)] = UNLABELLED
        found = [_plain(label) for label in labels]
        if unknown := sorted({repr(x) for x in found if x not in known}):
            every = [repr(name) for name in self.names]
            near = difflib.get_close_matches(unknown[0], every, n=1, cutoff=0.0)
            raise ValueError(
                f"labels holds {', '.join(unknown[:5])}, expected one of {len(every)} "
                f"names, such as {near[0]}, or {self.unlabelled!r} for no answer."
            )
        return np.array([known[x] for x in found], np.int32)

    def called(self, numbers: Iterable[Any]) -> list[Hashable]:
        """Returns the names `[N]` of class numbers, `unlabelled` for -1.

        Args:
          numbers: `[N]` integers in `-1 .. C - 1`, as `Pool.labels`.

        Raises:
          ValueError: a number is none of a class.
        """
        found = np.asarray(numbers)
        odd = (found < UNLABELLED) | (found >= len(self.names))
        if odd.any():
            raise ValueError(
                f"numbers holds {np.unique(found[odd]).tolist()}, expected classes 0 "
                f"to {len(self.names) - 1}, or -1 for no answer."
            )
        return [self.unlabelled if c < 0 else self.names[c] for c in found.tolist()]


def label_names(labels: Iterable[Any], *, unlabelled: Hashable = None) -> LabelNames:
    """Returns the names that occur among labels, in order.

    Args:
      labels: names of any hashable kind. Pass every class there is, such as a list of
        them: a class that is not among them has no number.
      unlabelled: what stands for no answer, such as "" or 255; by default None.

    Returns:
      `LabelNames`, sorted where names can be compared, else as they come.

    Raises:
      ValueError: there are fewer than two names.
      TypeError: a name is not hashable.

    Example:
      >>> from jaxal import label_names
      >>> names = label_names(["dog", "cat", None, "cat"])
      >>> names.names, names.numbers(["cat", None, "dog"]).tolist()
      (('cat', 'dog'), [0, -1, 1])
      >>> names.called([1, -1])
      ['dog', None]
    """
    found = dict.fromkeys(_plain(label) for label in labels)
    found.pop(_plain(unlabelled), None)
    if len(found) < 2:
        raise ValueError(
            f"labels holds the names {list(found)}, expected at least two. Pass all "
            'there are, such as ["cat", "dog"], also those nobody has given yet.'
        )
    return LabelNames(_sorted(list(found)), unlabelled)


def _sorted(names: list[Any]) -> tuple[Hashable, ...]:
    try:
        return tuple(sorted(names))
    except TypeError:  # of different kinds
        return tuple(names)


def _plain(label: Any) -> Hashable:
    """A name as Python has it: NumPy's and JAX's numbers, and None for no answer.

    That is NaN, NaT, or what does not even know whether it is itself, as pandas.NA.
    """
    plain = label.item() if getattr(label, "shape", None) == () else label
    hash(plain)
    try:
        return None if plain != plain else plain
    except TypeError:
        return None
