"""What a float64 loop calls equal: a selector may take any of these."""

import numpy as np


class Follow:
    """In the place of `np.argmax`: goes where given picks went, if they may.

    Args:
      picks: rows picked, in order.
      tolerance: part of the best value by which float32 may miss it.
      floor: what a smaller best value is taken for.
    """

    def __init__(self, picks, tolerance: float = 1e-6, floor: float = 1e-30):
        self._picks = iter(np.asarray(picks).tolist())
        self._tolerance, self._floor = tolerance, floor

    def __call__(self, values: np.ndarray) -> int:
        pick, best = int(next(self._picks)), np.max(values)
        least = best - self._tolerance * max(abs(best), self._floor)
        assert values[pick] >= least, f"{pick} has {values[pick]}, the best {best}"
        return pick
