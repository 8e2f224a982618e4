"""Rows to start with that a person names in a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxal.checks import nearest
from jaxal.runs.errors import RunError


def read_ids(path: Path) -> list[str]:
    """Returns the ids in a file, one a line, in its order.

    Args:
      path: a text file; empty lines are passed over.

    Raises:
      RunError: it cannot be read, is empty, or an id repeats.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"--initial-rows {path} cannot be read ({error}). Give a text file with "
            "one id of the data set a line."
        ) from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise RunError(f"--initial-rows {path} is empty, expected one id a line.")
    if len(set(ids)) < len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise RunError(f"--initial-rows {path} names {repeated!r} twice.")
    return ids


def rows_of(wanted: Sequence[str], ids: np.ndarray) -> np.ndarray:
    """Returns the rows that bear these ids, in the order of `wanted`.

    Args:
      wanted: ids as text.
      ids: `[N]` ids of the rows that may be labelled, text or numbers.

    Raises:
      RunError: an id that no row bears; the nearest one is named.

    Example:
      >>> import numpy as np
      >>> from jaxal.app.given import rows_of
      >>> rows_of(["12", "10"], np.array([10, 11, 12])).tolist()
      [2, 0]
    """
    places = {str(name): row for row, name in enumerate(ids.tolist())}
    if unknown := [name for name in wanted if name not in places]:
        raise RunError(
            f"--initial-rows names {len(unknown)} ids that no row of the pool bears, "
            f"such as {unknown[0]!r}.{nearest(unknown[0], places)} Rows of the test "
            "and validation split cannot be bought."
        )
    return np.array([places[name] for name in wanted], np.int64)
