"""A run on disk: configuration, rounds, queries, checkpoints, reports."""
