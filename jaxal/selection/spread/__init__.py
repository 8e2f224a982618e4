"""Selectors whose picks lie apart from each other."""
