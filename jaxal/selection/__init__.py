"""Selection: which K of N rows, given scores or embeddings, and masks."""

from jaxal.selection.cover.active_ft import active_ft
from jaxal.selection.cover.dcom import dcom
from jaxal.selection.cover.facility_location import facility_location
from jaxal.selection.cover.graph_cut import graph_cut
from jaxal.selection.cover.log_determinant import log_determinant
from jaxal.selection.cover.max_herding import max_herding
from jaxal.selection.cover.prob_cover import prob_cover, purity_radius
from jaxal.selection.cover.typiclust import typiclust
from jaxal.selection.cover.uherding import uherding
from jaxal.selection.engine.by_distance import blocked_selection
from jaxal.selection.engine.neighbours import (
    Neighbours,
    nearest_neighbours,
    radius_degrees,
)
from jaxal.selection.joint.alfa_mix import alfa_mix
from jaxal.selection.joint.bait import bait
from jaxal.selection.joint.batch_bald import batch_bald
from jaxal.selection.joint.drop_query import drop_query
from jaxal.selection.joint.fisher import FisherEmbedding, fisher_embedding
from jaxal.selection.joint.galaxy import galaxy
from jaxal.selection.joint.head import LinearHead, linear_head
from jaxal.selection.ranked import gumbel_top_k, top_k
from jaxal.selection.spread.cluster_margin import cluster_margin
from jaxal.selection.spread.frank_wolfe import frank_wolfe
from jaxal.selection.spread.k_center import K_CENTER, k_center
from jaxal.selection.spread.k_means import Clustering, k_means
from jaxal.selection.spread.k_means_nearest import k_means_nearest
from jaxal.selection.spread.k_means_plus_plus import (
    K_MEANS_PLUS_PLUS,
    k_means_plus_plus,
)
from jaxal.selection.spread.lcmd import lcmd
from jaxal.selection.spread.max_det import max_det
from jaxal.selection.spread.vessal import vessal
from jaxal.selection.stochastic import power_top_k, softmax_top_k, softrank_top_k

__all__ = [
    "Clustering",
    "FisherEmbedding",
    "K_CENTER",
    "K_MEANS_PLUS_PLUS",
    "LinearHead",
    "Neighbours",
    "active_ft",
    "alfa_mix",
    "bait",
    "batch_bald",
    "blocked_selection",
    "cluster_margin",
    "dcom",
    "drop_query",
    "facility_location",
    "fisher_embedding",
    "frank_wolfe",
    "galaxy",
    "graph_cut",
    "gumbel_top_k",
    "k_center",
    "k_means",
    "k_means_nearest",
    "k_means_plus_plus",
    "lcmd",
    "linear_head",
    "log_determinant",
    "max_det",
    "max_herding",
    "nearest_neighbours",
    "power_top_k",
    "prob_cover",
    "purity_radius",
    "radius_degrees",
    "softmax_top_k",
    "softrank_top_k",
    "top_k",
    "typiclust",
    "uherding",
    "vessal",
]
