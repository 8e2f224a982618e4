"""Heads that are solved, not trained: convex models of fixed rows."""
