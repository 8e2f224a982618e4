"""Selection: which K of N rows, given scores or embeddings, and masks."""

from jaxal.selection.alfa_mix import alfa_mix
from jaxal.selection.bait import bait
from jaxal.selection.batch_bald import batch_bald
from jaxal.selection.cluster_margin import cluster_margin
from jaxal.selection.drop_query import drop_query
from jaxal.selection.fisher import FisherEmbedding, fisher_embedding
from jaxal.selection.greedy import blocked_selection
from jaxal.selection.head import LinearHead, linear_head
from jaxal.selection.k_center import K_CENTER, k_center
from jaxal.selection.k_means import Clustering, k_means
from jaxal.selection.k_means_nearest import k_means_nearest
from jaxal.selection.k_means_plus_plus import K_MEANS_PLUS_PLUS, k_means_plus_plus
from jaxal.selection.ranked import gumbel_top_k, top_k
from jaxal.selection.stochastic import power_top_k, softmax_top_k, softrank_top_k
from jaxal.selection.vessal import vessal

__all__ = [
    "Clustering",
    "FisherEmbedding",
    "K_CENTER",
    "K_MEANS_PLUS_PLUS",
    "LinearHead",
    "alfa_mix",
    "bait",
    "batch_bald",
    "blocked_selection",
    "cluster_margin",
    "drop_query",
    "fisher_embedding",
    "gumbel_top_k",
    "k_center",
    "k_means",
    "k_means_nearest",
    "k_means_plus_plus",
    "linear_head",
    "power_top_k",
    "softmax_top_k",
    "softrank_top_k",
    "top_k",
    "vessal",
]
