"""Training: from labelled rows to a fitted model."""
