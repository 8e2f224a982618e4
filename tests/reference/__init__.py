"""Slow, independent answers: NumPy float64 and loops, written from the papers."""
