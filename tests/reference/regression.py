"""Gaussian predictions in float64 NumPy, with loops, and by simulation."""

import numpy as np


def mixture_variance(means, variances):
    """Variance of a draw from one of S Gaussians, each as likely: E[y^2] - E[y]^2."""
    first = np.mean([m for m in means])
    second = np.mean([m**2 + v for m, v in zip(means, variances, strict=True)])
    return second - first**2


def gaussian_entropy(variance):
    """Entropy of a Gaussian, nats."""
    return 0.5 * np.log(2 * np.pi * np.e * variance)


def gaussian_bald(means, variances):
    """Entropy of the matched Gaussian less the mean entropy of the members."""
    total = gaussian_entropy(mixture_variance(means, variances))
    return total - np.mean([gaussian_entropy(v) for v in variances])


def log_density(y, mean, variance):
    """Of a Gaussian at y."""
    return -0.5 * (np.log(2 * np.pi * variance) + (y - mean) ** 2 / variance)
