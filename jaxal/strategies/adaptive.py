"""Strategies that look at the answers so far to decide how to ask."""

from jax import Array

from jaxal.selection.joint.galaxy import galaxy as bisect
from jaxal.strategies.fields import field
from jaxal.types import Selection, Strategy, View


def galaxy() -> Strategy:
    """Returns GALAXY: halve, class by class, the stretch between unlike answers.

    Rows picked earlier in a batch count as labelled with their predicted class, as
    their answers come after the batch; see `jaxal.selection.joint.galaxy`.

    Returns:
      A `Strategy` that needs logits and labels.

    Example:
      >>> from jaxal import strategy
      >>> sorted(strategy("galaxy").needs)
      ['labels', 'logits']

    Reference:
      Zhang, Katz-Samuels and Nowak, "GALAXY: Graph-based Active Learning at the
      Extreme", ICML 2022. https://arxiv.org/abs/2202.01402
    """

    def select(key: Array, view: View, batch_size: int) -> Selection:
        logits, labels = field(view, "logits"), field(view, "labels")
        return bisect(key, logits, view.is_available, labels, batch_size=batch_size)

    return Strategy(frozenset({"logits", "labels"}), select)
