"""Machinery that selectors share: greedy in blocks, exact, on any number of devices."""
