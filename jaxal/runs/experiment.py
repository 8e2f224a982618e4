"""What a run is made of, whoever made it: the command line or a program."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax import Array

from jaxal.metrics import Metrics
from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs.store import Record
from jaxal.types import Pool

Answer = Callable[[int, np.ndarray], np.ndarray]  # (round, rows [K]) -> labels [K]
Validate = Callable[[Array, LoopState], Metrics]  # (round's key, state trained in it)


class Experiment(NamedTuple):
    """All that a run needs and a person has decided."""

    settings: Record  # what config.json holds
    loop: ActiveLearner
    pool: Pool  # nothing labelled
    ids: np.ndarray  # [N] the data set's own names of the pool's rows
    initial_rows: np.ndarray  # [L] rows to start with
    answer: Answer
    oracle: str  # what the oracle is called
    num_classes: int
    plan: list[int]  # labels each round trains on
    key_weights: Array
    key_rounds: Array
    validate: Validate | None = None
