"""Posteriors: predictive samples, whoever draws them."""
