"""jaxal: functional active learning for JAX."""

__version__ = "0.1.0"
