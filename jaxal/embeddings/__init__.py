"""Embeddings: what selectors know of the rows of a pool."""

from jaxal.embeddings.base import Dense, Embedding, Outer, as_embedding
from jaxal.embeddings.compositions import Concatenated, Scaled, random_projection
from jaxal.embeddings.divergence import SymmetricKL, kl_embedding
from jaxal.embeddings.gradients import (
    gradient_embedding,
    per_example_gradients,
    pseudo_label_loss,
)

__all__ = [
    "Concatenated",
    "Dense",
    "Embedding",
    "Outer",
    "Scaled",
    "SymmetricKL",
    "as_embedding",
    "gradient_embedding",
    "kl_embedding",
    "per_example_gradients",
    "pseudo_label_loss",
    "random_projection",
]
