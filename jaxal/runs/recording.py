"""The line of a round: what it showed, which rule ends the run, what was bought."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxal import stopping
from jaxal.metrics import by_name
from jaxal.runs import store
from jaxal.runs.experiment import Experiment
from jaxal.runs.store import Record
from jaxal.stopping import Progress

_LABELLING = "dataset", "source", "preset", "strategy", "seed"


class Shown(NamedTuple):
    """What a round shows before anything is bought."""

    labels: int  # it was trained on
    metrics: Any  # on the test set, None without one
    held_out: Any  # metrics on the validation rows, None without any
    fit: Any  # what the learner said of its fit


def stopped_by(
    experiment: Experiment,
    records: Sequence[Record],
    shown: Shown,
    seconds: dict[str, float],
) -> str | None:
    """Returns what the rule that ends the run here is called, None if none does.

    Args:
      experiment: whose rule it is.
      records: lines of the rounds before.
      shown: by this one.
      seconds: of its phases so far.

    Raises:
      ValueError: the rule needs what is not measured.
    """
    if experiment.stop is None:
        return None
    now = {"labels": shown.labels, **_held_out(shown), "seconds": seconds}
    history, spent = [], 0.0
    for record in [*records, now]:
        spent += sum(record["seconds"].values())
        accuracy = record.get("validation", {}).get("accuracy")
        accuracy = None if accuracy is None else float(accuracy)
        history.append(Progress(record["labels"], accuracy, seconds=spent))
    return stopping.stopped_by(experiment.stop, history)


def round_record(
    experiment: Experiment,
    index: int,
    shown: Shown,
    *,
    bought: int,
    rule: str | None,
    seconds: dict[str, float],
    num_compiled: int,
    is_last: bool,
) -> Record:
    """Returns the line of a round, as a later reader will find it.

    Args:
      experiment: whose round it is.
      index: of the round.
      shown: by it.
      bought: labels.
      rule: that ends the run here.
      seconds: of each phase.
      num_compiled: programs that were compiled.
      is_last: whether the run ends with it.
    """
    record = {
        "round": index,
        "labels": shown.labels,
        **by_name(shown.metrics),
        **_held_out(shown),
        "measured": experiment.loop.measured,
        **_of_fit(shown.fit),
        "bought": bought,
        **({} if rule is None else {"stopped_by": rule}),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "compiles": num_compiled,
        "is_last": is_last,
        **{name: experiment.settings[name] for name in _LABELLING},
    }
    return json.loads(store.encode(record))


def are_nan(metrics: Any) -> bool:
    """Returns whether metrics say that outputs on the test set are NaN."""
    # A regression without a variance has no likelihood, but an error.
    return bool(np.isnan(getattr(metrics, "rmse", getattr(metrics, "nll", 0.0))))


def _held_out(shown: Shown) -> Record:
    return {} if shown.held_out is None else {"validation": by_name(shown.held_out)}


def _of_fit(fit: Any) -> Record:
    """The loss, what a search chose, and what was seen where something was watched."""
    history, chosen = (getattr(fit, name, None) for name in ("history", "tuned"))
    said = {"loss": fit.loss} | ({} if chosen is None else {"tuned": chosen})
    if history is None:
        return said
    is_taken = ~np.isnan(np.asarray(history["step"]))
    lines = {name: np.asarray(line)[is_taken] for name, line in history.items()}
    steps = [int(step) for step in lines.pop("step")]
    return {
        **said,
        "best_step": fit.best_step,
        "along": {"step": steps, **lines},
    }
