"""Query by committee: rows that the members of a committee answer differently.

The committee is whatever gives `samples`: an ensemble, dropout masks, networks and
functions side by side (`jaxal.committee`), or classifiers of another library
(`jaxal.classifier_view`).
"""

from jaxal import scores
from jaxal.strategies.ranked import by_score
from jaxal.types import Strategy


def vote_entropy() -> Strategy:
    r"""Returns query by committee with hard votes: the entropy of who names what.

    $-\sum_c \frac{V_c}{S} \log \frac{V_c}{S}$, where $V_c$ of S members rank class c
    first. With few members many rows tie, and ties go to the lower row.

    Returns:
      A `Strategy` that streams samples. Cost: `S N C` operations.

    Example:
      >>> from jaxal.strategies import vote_entropy
      >>> sorted(vote_entropy().streams)
      ['samples']

    Reference:
      Engelson and Dagan, "Minimizing Manual Annotation Cost in Supervised Training from
      Corpora", ACL 1996. https://aclanthology.org/P96-1042. Query by committee: Seung,
      Opper and Sompolinsky, COLT 1992. https://doi.org/10.1145/130385.130417
    """
    return by_score(scores.vote_entropy, "samples")


def consensus_entropy() -> Strategy:
    r"""Returns query by committee with soft votes: the entropy of the mean prediction.

    $H(\frac1S \sum_s p_s)$: high where the members disagree and where all are unsure.

    Returns:
      A `Strategy` that streams samples. Cost: `S N C` operations.

    Example:
      >>> from jaxal.strategies import consensus_entropy
      >>> sorted(consensus_entropy().streams)
      ['samples']

    Reference:
      Settles, "Active Learning Literature Survey", 2009, section 3.2.
      https://minds.wisconsin.edu/handle/1793/60660
    """
    return by_score(scores.consensus_entropy, "samples")


def consensus_kl() -> Strategy:
    r"""Returns query by committee by divergence from the consensus.

    $\frac1S \sum_s \mathrm{KL}(p_s \,\|\, \frac1S \sum_t p_t)$: high only where the
    members disagree. The same number as BALD, which found it by another road.

    Returns:
      A `Strategy` that streams samples. Cost: `S N C` operations.

    Example:
      >>> from jaxal.strategies import consensus_kl
      >>> sorted(consensus_kl().streams)
      ['samples']

    Reference:
      McCallum and Nigam, "Employing EM and Pool-Based Active Learning for Text
      Classification", ICML 1998.
      https://www.cs.cmu.edu/~knigam/papers/emactive-icml98.pdf
    """
    return by_score(scores.consensus_kl, "samples")
