"""Selection: which K of N rows, given scores or embeddings, and masks."""

from jaxal.selection.greedy import blocked_selection
from jaxal.selection.k_center import K_CENTER, k_center
from jaxal.selection.k_means import Clustering, k_means
from jaxal.selection.k_means_plus_plus import K_MEANS_PLUS_PLUS, k_means_plus_plus
from jaxal.selection.ranked import gumbel_top_k, top_k

__all__ = [
    "Clustering",
    "K_CENTER",
    "K_MEANS_PLUS_PLUS",
    "blocked_selection",
    "gumbel_top_k",
    "k_center",
    "k_means",
    "k_means_plus_plus",
    "top_k",
]
