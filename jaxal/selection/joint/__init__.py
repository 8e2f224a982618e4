"""Selectors that ask what a model says of several rows together."""
