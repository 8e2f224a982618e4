"""Selectors whose picks stand for the pool."""
