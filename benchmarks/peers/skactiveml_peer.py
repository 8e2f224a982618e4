"""scikit-activeml: those of its query strategies that jaxal has too."""

import numpy as np
import scipy.special
import scipy.stats
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import (
    Badge,
    Clue,
    CoreSet,
    DropQuery,
    MaxHerding,
    ProbCover,
    TypiClust,
)
from skactiveml.utils import simple_batch

from peers import Run, Task, offered


class _Given(SkactivemlClassifier):
    """A classifier that has said already what it says."""

    def __init__(self, probabilities=None, missing_label=np.nan):
        super().__init__(missing_label=missing_label)
        self.probabilities = probabilities

    def fit(self, X, y, sample_weight=None):  # noqa: N803, the library's own names
        return self

    def predict_proba(self, X):  # noqa: N803
        return self.probabilities


class _Linear(SkactivemlClassifier):
    """The last layer, which DropQuery asks about features with some of them dropped."""

    def __init__(self, layer=None, missing_label=np.nan):
        super().__init__(missing_label=missing_label)
        self.layer = layer

    def fit(self, X, y, sample_weight=None):  # noqa: N803, the library's own names
        return self

    def predict(self, X):  # noqa: N803
        return (X @ self.layer).argmax(-1)

    def predict_proba(self, X):  # noqa: N803
        return scipy.special.softmax(X @ self.layer, axis=-1)


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

    def clue(seed: int) -> np.ndarray:
        given = _Given(probabilities()[~is_labelled])
        return Clue(random_state=seed).query(
            features, labels, given, fit_estimator=False, batch_size=task.batch_size
        )

    def drop_query(seed: int) -> np.ndarray:
        layer = np.linalg.lstsq(features[:4096], logits[:4096], rcond=None)[0]
        strategy = DropQuery(n_dropout_samples=3, random_state=seed)
        return strategy.query(
            features, labels, _Linear(layer), fit_clf=False, batch_size=task.batch_size
        )

    def typiclust(seed: int) -> np.ndarray:
        strategy = TypiClust(random_state=seed, k=20)
        return strategy.query(_unit(features), labels, batch_size=task.batch_size)

    def prob_cover(seed: int) -> np.ndarray:
        strategy = ProbCover(n_classes=logits.shape[-1], random_state=seed)
        return strategy.query(_unit(features), labels, batch_size=task.batch_size)

    def max_herding(seed: int) -> np.ndarray:
        strategy = MaxHerding(random_state=seed)
        return strategy.query(features, labels, batch_size=task.batch_size)

    works = {"badge": badge, "coreset": coreset, "ranked": ranked, "clue": clue}
    works |= {"drop_query": drop_query, "typiclust": typiclust}
    works |= {"prob_cover": prob_cover, "max_herding": max_herding}
    run = offered("scikit-activeml", works, task)
    return lambda seed: np.asarray(run(seed))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=-1, keepdims=True)
