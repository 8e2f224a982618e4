"""The scores of other libraries, and as people write them in NumPy and PyTorch.

The latter are the formulas one would type, stable (shifted by the maximum) and
vectorised over all rows, without tricks that take longer to find than to run. All
begin with logits: a library that wants probabilities has them made on the clock.
"""

import importlib.metadata
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from harness import Contender, numpy_contender, torch_contender


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(np.maximum(p, 1e-38))).sum(axis=-1)


def _numpy_margin(logits: np.ndarray) -> np.ndarray:
    best = np.partition(_softmax(logits), -2, axis=-1)
    return 1 - (best[..., -1] - best[..., -2])


def _numpy_bald(samples: np.ndarray) -> np.ndarray:
    p = _softmax(samples)
    return _entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)


def _numpy_vote_shares(samples: np.ndarray) -> np.ndarray:
    classes = np.arange(samples.shape[-1])
    return (samples.argmax(axis=-1)[..., None] == classes).mean(axis=0)


def _numpy_log_mean_prob(samples: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(_softmax(samples).mean(axis=0))


def _numpy_gradient_length(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    p = _softmax(logits)
    squared = (p * p).sum(axis=-1, keepdims=True) - 2 * p + 1
    length = np.sqrt((features * features).sum(axis=-1) + 1)
    return (p * np.sqrt(np.maximum(squared, 0))).sum(axis=-1) * length


NUMPY: dict[str, Callable[..., Any]] = {
    "entropy": lambda x: _entropy(_softmax(x)),
    "margin": _numpy_margin,
    "least_confidence": lambda x: 1 - _softmax(x).max(axis=-1),
    "expected_gradient_length": _numpy_gradient_length,
    "bald": _numpy_bald,
    "consensus_kl": _numpy_bald,
    "expected_entropy": lambda x: _entropy(_softmax(x)).mean(axis=0),
    "consensus_entropy": lambda x: _entropy(_softmax(x).mean(axis=0)),
    "mean_std": lambda x: _softmax(x).std(axis=0).mean(axis=-1),
    "log_mean_prob": _numpy_log_mean_prob,
    "vote_entropy": lambda x: _entropy(_numpy_vote_shares(x)),
    "variation_ratio": lambda x: 1 - _numpy_vote_shares(x).max(axis=-1),
}


def torch_scores() -> dict[str, Callable[..., Any]]:
    """The same in PyTorch, which is imported only here."""
    import torch

    def entropy(logits: Any) -> Any:
        logs = torch.log_softmax(logits, -1)
        return -(logs.exp() * logs).sum(-1)

    def entropy_of(p: Any) -> Any:
        return -torch.xlogy(p, p).sum(-1)

    def margin(logits: Any) -> Any:
        best = torch.softmax(logits, -1).topk(2, -1).values
        return 1 - (best[..., 0] - best[..., 1])

    def bald(samples: Any) -> Any:
        logs = torch.log_softmax(samples, -1)
        p = logs.exp()
        return entropy_of(p.mean(0)) + (p * logs).sum(-1).mean(0)

    def shares(samples: Any) -> Any:
        votes = samples.argmax(-1)
        one_hot = torch.nn.functional.one_hot(votes, samples.shape[-1])
        return one_hot.sum(0) / samples.shape[0]

    def log_mean_prob(samples: Any) -> Any:
        logs = torch.log_softmax(samples, -1)
        return torch.logsumexp(logs, 0) - np.log(samples.shape[0])

    def gradient_length(logits: Any, features: Any) -> Any:
        p = torch.softmax(logits, -1)
        squared = (p * p).sum(-1, keepdim=True) - 2 * p + 1
        length = ((features * features).sum(-1) + 1).sqrt()
        return (p * squared.clamp(min=0).sqrt()).sum(-1) * length

    return {
        "entropy": entropy,
        "margin": margin,
        "least_confidence": lambda x: 1 - torch.softmax(x, -1).amax(-1),
        "expected_gradient_length": gradient_length,
        "bald": bald,
        "consensus_kl": bald,
        "expected_entropy": lambda x: entropy(x).mean(0),
        "consensus_entropy": lambda x: entropy_of(torch.softmax(x, -1).mean(0)),
        "mean_std": lambda x: torch.softmax(x, -1).std(0, correction=0).mean(-1),
        "log_mean_prob": log_mean_prob,
        "vote_entropy": lambda x: entropy_of(shares(x)),
        "variation_ratio": lambda x: 1 - shares(x).amax(-1),
    }


def _baal() -> dict[str, Contender]:
    """Heuristics of baal, whose samples are the last axis; margin is turned round."""
    from baal.active.heuristics import BALD, Certainty, Entropy, Margin

    def last(samples: np.ndarray) -> tuple[np.ndarray]:
        return (np.ascontiguousarray(np.moveaxis(samples, 0, -1)),)

    return {
        "entropy": numpy_contender(Entropy().get_uncertainties),
        "margin": numpy_contender(lambda x: 1 - Margin().get_uncertainties(x)),
        "least_confidence": numpy_contender(
            lambda x: 1 - Certainty().get_uncertainties(x)
        ),
        "bald": numpy_contender(BALD().get_uncertainties, last),
    }


class _Given:
    """A classifier that says what it is given."""

    def predict_proba(self, logits: np.ndarray) -> np.ndarray:
        return _softmax(logits)


def _modal() -> dict[str, Contender]:
    """modAL's measures of a classifier; it has no BALD, its committees another KL."""
    from modAL.uncertainty import (
        classifier_entropy,
        classifier_margin,
        classifier_uncertainty,
    )

    given = _Given()
    return {
        "entropy": numpy_contender(lambda x: classifier_entropy(given, x)),
        "margin": numpy_contender(lambda x: 1 - classifier_margin(given, x)),
        "least_confidence": numpy_contender(lambda x: classifier_uncertainty(given, x)),
    }


def _skactiveml() -> dict[str, Contender]:
    """Functions of scikit-activeml; its BALD is BatchBALD's first step."""
    from skactiveml.pool import (
        average_kl_divergence,
        batch_bald,
        uncertainty_scores,
        variation_ratios,
        vote_entropy,
    )

    def uncertainty(method: str) -> Contender:
        return numpy_contender(lambda x: uncertainty_scores(_softmax(x), method=method))

    def votes(samples: np.ndarray) -> np.ndarray:
        return samples.argmax(axis=-1).T

    return {
        "entropy": uncertainty("entropy"),
        "margin": uncertainty("margin_sampling"),
        "least_confidence": uncertainty("least_confident"),
        "bald": numpy_contender(lambda x: batch_bald(_softmax(x), 1)[0]),
        "consensus_kl": numpy_contender(lambda x: average_kl_divergence(_softmax(x))),
        "vote_entropy": numpy_contender(
            lambda x: vote_entropy(votes(x), np.arange(x.shape[-1]))
        ),
        "variation_ratio": numpy_contender(lambda x: variation_ratios(votes(x))),
    }


def _numpy() -> dict[str, Contender]:
    return {name: numpy_contender(function) for name, function in NUMPY.items()}


def _torch() -> dict[str, Contender]:
    return {name: torch_contender(fn) for name, fn in torch_scores().items()}


# What makes the scores of a library, and the distribution it comes in.
LIBRARIES = {
    "numpy": (_numpy, "numpy"),
    "torch": (_torch, "torch"),
    "baal": (_baal, "baal"),
    "modAL": (_modal, "modAL-python"),
    "scikit-activeml": (_skactiveml, "scikit-activeml"),
}


def load(
    names: Iterable[str],
) -> tuple[dict[str, dict[str, Contender]], dict[str, str]]:
    """Returns the scores of libraries, and of each its version or what is wrong."""
    found: dict[str, dict[str, Contender]] = {}
    said = {}
    for name in names:
        make, distribution = LIBRARIES[name]
        try:
            found[name] = make()
            said[name] = importlib.metadata.version(distribution)
        except ImportError as error:
            said[name] = f"not installed: {error}"
        except Exception as error:  # an import may fail in any way
            said[name] = f"failed: {type(error).__name__}: {error}"
    return found, said
