"""Strategies that cover the pool by kernels."""

from jax import Array

from jaxal import scores
from jaxal.selection.cover.max_herding import NUM_TARGETS
from jaxal.selection.cover.max_herding import max_herding as select_by_herding
from jaxal.selection.cover.uherding import calibrated_temperature
from jaxal.selection.cover.uherding import uherding as select_by_uncertainty
from jaxal.selection.engine.kernels import Bandwidth
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def max_herding(
    *,
    of: str = "features",
    bandwidth: Bandwidth = 1.0,
    num_targets: int | None = NUM_TARGETS,
) -> Strategy:
    """Returns MaxHerding: rows whose Gaussian kernels cover the pool's features.

    Args:
      of: which field of the view is covered. The paper uses self-supervised features.
      bandwidth: of the kernel, on rows of unit length; the default is the paper's.
      num_targets: rows the coverage is estimated on, None for all.

    Returns:
      A `Strategy` that needs features.

    Example:
      >>> from jaxal.strategies import max_herding
      >>> sorted(max_herding().needs)
      ['features']

    Reference:
      Bae, Noh and Sutherland, "Generalized Coverage for More Robust Low-Budget Active
      Learning", ECCV 2024. https://arxiv.org/abs/2407.12212
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        return select_by_herding(
            key,
            field(view, of),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            bandwidth=bandwidth,
            num_targets=num_targets,
        )

    return Strategy(frozenset({of}), select)


def uherding(
    *,
    of: str = "features",
    bandwidth: Bandwidth = "nearest_labelled",
    temperature: float | None = None,
    num_targets: int | None = NUM_TARGETS,
) -> Strategy:
    """Returns Uncertainty Herding: MaxHerding weighted by calibrated margins.

    Logits are divided by the temperature that calibrates them on the labelled rows.
    The paper finds it on labelled rows held out of training; a view knows one network,
    trained on them all, so temperatures come out lower here; they search 1 to 20,
    this 0.1 to 10. Pass one found otherwise where that matters.

    Args:
      of: which field of the view is covered.
      bandwidth: of the kernel, on rows of unit length: by default, as in the paper,
        the least distance of two labelled rows, and 1 where there are none.
      temperature: what logits are divided by, None to calibrate.
      num_targets: rows the coverage is estimated on, None for all.

    Returns:
      A `Strategy` that needs features, logits and labels.

    Example:
      >>> from jaxal.strategies import uherding
      >>> sorted(uherding().needs)
      ['features', 'labels', 'logits']

    Reference:
      Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method
      for All Label Budgets", ICLR 2025. https://arxiv.org/abs/2412.20644
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        logits, divisor = field(view, "logits"), temperature
        if divisor is None:
            labels = field(view, "labels")
            divisor = calibrated_temperature(logits, labels, view.is_labelled)
        return select_by_uncertainty(
            key,
            field(view, of),
            view.is_available,
            view.is_labelled,
            batch_size=batch_size,
            uncertainty=scores.margin(logits.astype("float32") / divisor),
            bandwidth=bandwidth,
            num_targets=num_targets,
        )

    needs = {of, "logits"} | ({"labels"} if temperature is None else set())
    return Strategy(frozenset(needs), select)
