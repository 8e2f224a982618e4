"""What a run may be given, looked at before anything is written down."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from jaxal.checks import check_positive
from jaxal.pools.names import LabelNames
from jaxal.pools.refusals import check_refusals
from jaxal.rounds import ActiveLearner
from jaxal.runs.history import rows_there
from jaxal.types import Pool

_KINDS: dict[str, tuple[Any, str]] = {
    "loop": (ActiveLearner, "what active_learner returns"),
    "pool": (Pool, "what make_pool returns"),
    "rounds": (Integral, "a whole number"),
    "seed": (Integral, "a whole number"),
    "names": (LabelNames | None, "what label_names returns"),
    "settings": (Mapping | None, "a dict, such as {'learning_rate': 0.1}"),
}


def check_arguments(**given: Any) -> None:
    """Raises where an argument of `run` is of a kind that it cannot be.

    Args:
      **given: arguments by name.

    Raises:
      TypeError: an argument is of another kind.
      ValueError: `rounds` is below 1, or a rule for refused rows is none, or the
        loop has one too.
    """
    for name, (kind, expected) in _KINDS.items():
        _check(name, given[name], isinstance(given[name], kind), expected)
    check_positive(rounds=given["rounds"])
    ids = given["ids"]
    is_list = ids is None or (hasattr(ids, "__len__") and not isinstance(ids, str))
    _check("ids", ids, is_list, "a name for each row")
    rule = "a rule of jaxal.stopping, such as plateau(patience=2)"
    _check(
        "stop", given["stop"], given["stop"] is None or callable(given["stop"]), rule
    )
    check_refusals(given["refusals"])
    if given["loop"].refusals is not None:
        raise ValueError(
            "The loop has a rule for rows that nobody answers, which a run writes down "
            "itself. Pass refusals= to run, and none to active_learner."
        )
    pair = given["validation"]
    is_pair = pair is None or (isinstance(pair, tuple | list) and len(pair) == 2)
    _check("validation", pair, is_pair, "(inputs, labels)")


def check_known_labels(labels: Any, pool: Pool) -> None:
    """Raises ValueError where labels `[N]` that answer are fewer than rows.

    Args:
      labels: of `run`, where they are known.
      pool: whose rows they are of.
    """
    known, size = np.atleast_1d(labels).shape[0], rows_there(pool)
    if known < size:
        raise ValueError(
            f"The oracle is {known} labels, and the pool has {size} rows. Give it one "
            "label for each row, -1 (NaN in regression) for one without an answer."
        )


def _check(name: str, value: Any, is_right: bool, expected: str) -> None:
    if not is_right:
        shown = repr(value) if isinstance(value, str | int | float) else type(value)
        raise TypeError(f"{name} is {shown}, expected {expected}.")
