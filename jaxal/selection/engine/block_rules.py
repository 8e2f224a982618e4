"""What one greedy algorithm does with a block of candidates."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxal.embeddings import Embedding
from jaxal.pools.mesh import Shard
from jaxal.selection.engine.distances import squared_distances
from jaxal.selection.engine.picks import Bound


class Candidates(NamedTuple):
    """Rows among which the next picks are decided."""

    rows: Array  # [M] rows of the pool
    values: Array  # [M] weighted squared distances as of the last refresh
    weights: Array  # [M]
    lots: Array  # [M] by which equal rows are told apart
    distances: Array  # [M, M] squared, between candidates
    bound: Bound  # of rows that are no candidates


class Decision(NamedTuple):
    """Which candidates are picked, in the order of picking."""

    order: Array  # [M] positions, the picked ones first
    scores: Array  # [M] value at the time of picking, in the same order
    num: Array


class Rule(NamedTuple):
    """What one greedy algorithm does with a block, given numbers uniform in [0, 1).

    `propose(uniform [3, M], lots [L], shard, values [L])` returns `M` rows of the pool
    and a bound on those left out. `decide(uniform [M], candidates, budget)` picks at
    most `budget` of them; picking none says that nothing is left to pick.
    """

    propose: Callable[[Array, Array, Shard, Array], tuple[Array, Bound]]
    decide: Callable[[Array, Candidates, Array], Decision]
    is_drawn: bool = False  # candidates are draws, so there may be more than rows

    def candidates_of(self, num_candidates: int, num_rows: int) -> int:
        """Returns how many candidates a block of a pool has.

        Draws stay as many where the pool is small, for padding changes its size, and
        how many numbers are drawn is what a key stands for.
        """
        return num_candidates if self.is_drawn else min(num_candidates, num_rows)


def compare(
    rows: Array,
    block: Embedding,
    facts: Sequence[Any],
    bound: Bound,
) -> Candidates:
    """Returns candidates with the distances between them, as seen from the origin.

    The facts are their values, weights (or None) and lots.
    """
    values, weights, lots = facts
    between = squared_distances(block, block.sqnorm(), block)
    return Candidates(
        rows=rows,
        values=values,
        weights=jnp.ones_like(values) if weights is None else weights,
        lots=lots,
        # The same row twice is the same place, whatever rounding says.
        distances=jnp.where(rows[:, None] == rows[None], 0, between),
        bound=bound,
    )
