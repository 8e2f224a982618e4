"""jaxal: functional active learning for JAX.

Which examples to label next, training on them, and whether the choice was worth it, as
pure functions over a pool of fixed size.
"""

from jaxal.initial import class_balanced_rows, random_rows
from jaxal.learner import FitInfo, FitState, cross_entropy, supervised
from jaxal.metrics import Metrics, classification_metrics, expected_calibration_error
from jaxal.oracles import array_oracle, noisy_oracle, reluctant_oracle
from jaxal.pool import POOL_AXIS, make_pool, map_rows, pool_mesh, reveal
from jaxal.posterior import deep_ensemble, deterministic, mc_dropout
from jaxal.statistics import (
    Interval,
    PairedTest,
    area_under_curve,
    label_savings,
    labels_to_target,
    mean_interval,
    paired_difference,
)
from jaxal.types import (
    Learner,
    Model,
    Oracle,
    Output,
    Pool,
    Posterior,
    Selection,
    Strategy,
    View,
)

__version__ = "0.1.0"
