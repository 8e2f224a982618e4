"""Selection: which K of N rows, given scores or embeddings, and masks."""

from jaxal.selection.bait import bait
from jaxal.selection.batch_bald import batch_bald
from jaxal.selection.fisher import FisherEmbedding, fisher_embedding
from jaxal.selection.galaxy import galaxy
from jaxal.selection.greedy import blocked_selection
from jaxal.selection.k_center import K_CENTER, k_center
from jaxal.selection.k_means import Clustering, k_means
from jaxal.selection.k_means_plus_plus import K_MEANS_PLUS_PLUS, k_means_plus_plus
from jaxal.selection.ranked import gumbel_top_k, top_k
from jaxal.selection.stochastic import power_top_k, softmax_top_k, softrank_top_k

__all__ = [
    "Clustering",
    "FisherEmbedding",
    "K_CENTER",
    "K_MEANS_PLUS_PLUS",
    "bait",
    "batch_bald",
    "blocked_selection",
    "fisher_embedding",
    "galaxy",
    "gumbel_top_k",
    "k_center",
    "k_means",
    "k_means_plus_plus",
    "power_top_k",
    "softmax_top_k",
    "softrank_top_k",
    "top_k",
]
