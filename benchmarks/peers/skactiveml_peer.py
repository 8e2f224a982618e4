"""scikit-activeml: its Badge and CoreSet query strategies."""

import numpy as np
import scipy.stats
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet
from skactiveml.utils import simple_batch

from peers import Run, Task


class _Given(SkactivemlClassifier):
    """A classifier that has said already what it says."""

    def __init__(self, probabilities=None, missing_label=np.nan):
        super().__init__(missing_label=missing_label)
        self.probabilities = probabilities

    def fit(self, X, y, sample_weight=None):  # noqa: N803, the library's own names
        return self

    def predict_proba(self, X):  # noqa: N803
        return self.probabilities


def prepare(task: Task) -> Run:
    """Returns one `query` of the strategy."""
    features = np.array(task.arrays["features"])
    logits = np.array(task.arrays["logits"])
    is_labelled = np.array(task.arrays["is_labelled"])
    labels = np.where(is_labelled, 0.0, np.nan)

    def probabilities() -> np.ndarray:
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def badge(seed: int) -> np.ndarray:
        given = _Given(probabilities()[~is_labelled])
        return Badge(random_state=seed).query(
            features, labels, given, fit_clf=False, batch_size=task.batch_size
        )

    def coreset(seed: int) -> np.ndarray:
        strategy = CoreSet(random_state=seed)
        return strategy.query(features, labels, batch_size=task.batch_size)

    def ranked(seed: int) -> np.ndarray:
        entropy = scipy.stats.entropy(probabilities(), axis=-1)
        entropy[is_labelled] = np.nan
        return simple_batch(entropy, random_state=seed, batch_size=task.batch_size)

    run = {"badge": badge, "coreset": coreset, "ranked": ranked}[task.work]
    return lambda seed: np.asarray(run(seed))
