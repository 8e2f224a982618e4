"""What a study compares: every combination of settings, and who runs which."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def cells(grid: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """Returns every combination of settings, the last name changing fastest.

    Args:
      grid: from the name of a setting to its values.

    Raises:
      ValueError: a setting has no value, or one twice.

    Example:
      >>> from jaxal.studies import cells
      >>> cells({"strategy": ["random", "badge"], "query_size": [10]})
      ... # doctest: +NORMALIZE_WHITESPACE
      [{'strategy': 'random', 'query_size': 10},
       {'strategy': 'badge', 'query_size': 10}]
    """
    values = {name: list(some) for name, some in grid.items()}
    for name, some in values.items():
        told = list(map(str, some))
        if not told or len(set(told)) < len(told):
            raise ValueError(f"{name} has values {told}, expected some, none twice.")
    chosen = itertools.product(*values.values())
    return [dict(zip(values, one, strict=True)) for one in chosen]


def part_of(items: Sequence[T], part: tuple[int, int] | None) -> list[T]:
    """Returns every n-th item, for one of n machines.

    Args:
      items: of the whole study.
      part: `(k, n)`, the k-th of n, counted from 1; None for all.

    Raises:
      ValueError: there is no such part.

    Example:
      >>> from jaxal.studies import part_of
      >>> part_of("abcde", (2, 3))
      ['b', 'e']
    """
    if part is None:
        return list(items)
    which, count = part
    if not 1 <= which <= count:
        raise ValueError(f"part is {which} of {count}, expected 1 to {count}.")
    return list(items[which - 1 :: count])


def called(cell: Mapping[str, Any]) -> str:
    """Returns a name for a cell that every file system takes.

    Example:
      >>> from jaxal.studies.grid import called
      >>> called({"strategy": "badge", "query_size": 10})
      'badge,query_size=10'
      >>> called({"strategy": "typiclust(max_clusters=9)"})
      'typiclust-max_clusters=9--abb76eb1'
    """
    parts = [str(v) if k == "strategy" else f"{k}={v}" for k, v in cell.items()]
    text = ",".join(parts) or "trial"
    kept = "".join(
        c if c.isascii() and (c.isalnum() or c in "_-=,.") else "-" for c in text
    )
    if kept == text and len(text) <= 80 and not text.startswith((".", "-")):
        return text
    # However long and alike the names are, each has a folder of its own.
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{kept[:60].lstrip('.-')}-{digest}"
