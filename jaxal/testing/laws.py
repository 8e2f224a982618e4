"""What every strategy keeps, by name, and what is said when it does not."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

LAWS = {
    "fields": "needs and streams name fields of a view, and streams have a rowwise",
    "runs": "choosing raises nothing",
    "types": "K int32 indices, K floating scores and a bool mask of K",
    "no nan": "no score is NaN",
    "count": "min(K, available rows) picks are valid, and they come first",
    "available": "picks are rows of the pool, neither labelled nor padding",
    "distinct": "no row is picked twice",
    "blanks": "where a pick is invalid its index is N and its score -inf",
    "repeats": "the same key, view and memory give the same picks",
    "memory": "memory is a pytree of arrays that keep shape and dtype from round to "
    "round, and follows from key, view and memory alone, however it is run",
    "select": "select is step from init",
    "short batch": "where the last round has fewer rows than K they are bought, and "
    "the rest of the batch is blank",
    "empty classes": "classes that nobody labelled or the network never predicts do no "
    "harm",
    "padding": "what padding rows hold changes nothing",
    "masked": "NaN, infinity and 1e30 in rows neither available nor labelled change "
    "nothing",
    "bad row": "a NaN in an available row is refused in words or makes the selection "
    "invalid, and under jit the latter",
    "key": "the key of a deterministic strategy changes nothing",
    "permutation": "permuting the pool permutes the picks of a deterministic strategy",
    "ties": "rows that are equal have equal chances: ties are drawn with the key",
    "utility": "utility is [N] floating, finite or -inf on available rows, the same "
    "under jit, and what a deterministic strategy ranks by",
    "chunks": "rowwise looks at each row by itself: chunks change nothing",
    "whole": "a view in which rows is None gives the picks of one that has them",
    "jit": "under jax.jit the picks are those of an eager call",
    "vmap": "under jax.vmap over keys the picks are those of a loop over them",
    "scan": "under jax.lax.scan over rounds the picks are those of a loop",
    "devices": "a pool spread over all devices gives the picks of one device",
    "x64": "with jax_enable_x64 float32 is traced, and float64 gives finite scores, "
    "int32 indices and the picks of float32 where the strategy is deterministic",
    "strict": "with jax_numpy_dtype_promotion='strict' it can be traced",
}
"""Every law by name, and what it says."""


class Where(NamedTuple):
    """Which strategy was given what, and in which round."""

    strategy: str
    pool: str
    seed: int
    round: int = 0


class BrokenLawError(AssertionError):
    """A strategy broke a law; says which, on what pool, when, and what was seen."""

    def __init__(self, law: str, where: Where, seen: str):
        super().__init__(
            f"Strategy {where.strategy!r} breaks the law {law!r} ({LAWS[law]}) on the "
            f"pool {where.pool!r}, seed {where.seed}, round {where.round}: {seen}."
        )
        self.law, self.where, self.seen = law, where, seen
        self.strategy, self.pool, self.seed, self.round = where


@contextlib.contextmanager
def no_error(where: Where, law: str = "runs") -> Iterator[None]:
    """A context in which whatever is raised breaks a law."""
    try:
        yield
    except BrokenLawError:
        raise
    except Exception as error:
        seen = f"raised {type(error).__name__}: {str(error)[:300]}"
        raise BrokenLawError(law, where, seen) from error


@contextlib.contextmanager
def counted_as(law: str | None) -> Iterator[None]:
    """A context in which any broken law counts as this one, whose case it is."""
    try:
        yield
    except BrokenLawError as error:
        if law is None or error.law == law:
            raise
        seen = f"{error.law!r}: {error.seen}"
        raise BrokenLawError(law, error.where, seen) from error
