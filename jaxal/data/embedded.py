"""Data sets that need no network: scikit-learn's own, each with a fixed test split.

The test split is a fifth of each class and the same for every seed, see `splits`.
"""

from collections.abc import Callable

import numpy as np

from jaxal.data.extras import require
from jaxal.data.splits import fixed_test
from jaxal.data.types import Content
from jaxal.data.values import checked

Arrays = tuple[np.ndarray, np.ndarray, tuple[str, ...], str]


def _digits() -> Arrays:
    bunch = require("sklearn.datasets", "digits").load_digits()
    # 0 .. 16 spread over 0 .. 255, so that digits are images like any other.
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    return images, bunch.target, names, "1,797 handwritten digits of 8 x 8 pixels"


def _two_moons() -> Arrays:
    datasets = require("sklearn.datasets", "two_moons")
    inputs, labels = datasets.make_moons(2000, noise=0.2, random_state=0)
    return inputs, labels, ("upper", "lower"), "2,000 points on two moons, noise 0.2"


def _make_classification() -> Arrays:
    datasets = require("sklearn.datasets", "make_classification")
    inputs, labels = datasets.make_classification(
        3000, 20, n_informative=10, n_classes=4, random_state=0
    )
    text = "3,000 points in 20 dimensions, 10 of them informative"
    return inputs, labels, ("0", "1", "2", "3"), text


def _iris() -> Arrays:
    bunch = require("sklearn.datasets", "iris").load_iris()
    names = tuple(str(name) for name in bunch.target_names)
    return bunch.data, bunch.target, names, "150 flowers, four lengths in cm"


EMBEDDED: dict[str, Callable[[], Arrays]] = {
    "digits": _digits,
    "iris": _iris,
    "make_classification": _make_classification,
    "two_moons": _two_moons,
}


def embedded(name: str) -> Content:
    """One of scikit-learn's data sets; ids are rows of scikit-learn's arrays.

    Args:
      name: a key of `EMBEDDED`. Images are uint8 `[N, 8, 8, 1]`, others float32
        `[N, D]`.

    Returns:
      Its content, test split included.

    Raises:
      ImportError: scikit-learn is not installed.

    Example:
      >>> embedded("iris").test.labels.shape
      (30,)
    """
    inputs, labels, class_names, text = EMBEDDED[name]()
    everything = checked(
        name, inputs, labels, np.arange(len(labels)), num_classes=len(class_names)
    )
    train, test = fixed_test(everything, len(class_names))
    return Content(
        train, test, class_names, f"{name}, embedded in scikit-learn: {text}"
    )
