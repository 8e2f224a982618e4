"""One pass: top-k, Gumbel top-k and reservoirs; and how a source is read."""

import io
import itertools
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jaxal.selection import gumbel_top_k, top_k
from jaxal.streaming import (
    as_source,
    pass_bar,
    stream_gumbel_top_k,
    stream_reservoir,
    stream_scores,
    stream_top_k,
)
from jaxal.streaming.pieces import rechunked
from jaxal.streaming.reading import Reader, prefetched

N, K = 1000, 30
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(1)
    values = rng.integers(-40, 40, size=N).astype(np.float32)  # many ties
    values[::17] = -np.inf
    return values, rng.random(N) < 0.6


def same(rows):
    return rows


@pytest.mark.parametrize("chunk_size", [100, 256, 999, None])
@pytest.mark.parametrize(
    ("streamed", "whole"), [(stream_top_k, top_k), (stream_gumbel_top_k, gumbel_top_k)]
)
def test_picks_are_those_of_memory_in_any_chunks(pool, streamed, whole, chunk_size):
    values, free = pool
    expected = whole(KEY, jnp.asarray(values), jnp.asarray(free), batch_size=K)
    args = {"batch_size": K, "chunk_size": chunk_size}
    chunks = (values[i : i + 77] for i in range(0, N, 77))
    for source in (values, chunks):
        found = streamed(KEY, same, source, free, **args)
        assert found.indices.tolist() == expected.indices.tolist()
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert found.is_valid.all()


def test_scores_of_rows_do_not_depend_on_chunks(pool):
    values, _ = pool
    rows = np.stack([values, values + 1], axis=-1)
    found = stream_scores(lambda x: x.sum(-1), rows, chunk_size=64)
    np.testing.assert_array_equal(found, rows.sum(-1))
    # What jit hands through untouched is not a view of a buffer used again.
    np.testing.assert_array_equal(stream_scores(same, values, chunk_size=64), values)


def test_masks_by_row_and_by_chunk_agree(pool):
    values, _ = pool
    seen = []

    def is_positive(rows):
        seen.append(len(rows))
        return rows > 0

    args = {"batch_size": K, "chunk_size": 256}
    by_chunk = stream_top_k(KEY, same, values, is_positive, **args)
    by_row = stream_top_k(KEY, same, values, values > 0, **args)
    assert by_chunk.indices.tolist() == by_row.indices.tolist()
    assert seen == [256, 256, 256, 232]  # never a row of padding


def test_a_dry_pool_is_not_filled_up(pool):
    values, _ = pool
    few = np.isin(np.arange(N), [3, 900])
    for streamed in (stream_top_k, stream_gumbel_top_k):
        found = streamed(KEY, same, values, few, batch_size=4, chunk_size=300)
        assert sorted(found.indices.tolist()) == [3, 900, N, N]
        assert found.is_valid.tolist() == [True, True, False, False]


def test_nan_scores_are_refused_with_their_number(pool):
    values, _ = pool
    broken = values.copy()
    broken[[1, 500, 999]] = np.nan
    with pytest.raises(ValueError, match=f"score of 3 of {N} rows is NaN"):
        stream_top_k(KEY, same, broken, batch_size=2, chunk_size=256)
    with pytest.raises(ValueError, match="negative"):
        stream_reservoir(KEY, values, batch_size=2, weights=same, chunk_size=256)
    fine = ~np.isnan(broken)
    found = stream_top_k(KEY, same, broken, fine, batch_size=2, chunk_size=256)
    assert fine[found.indices].all()


def test_new_weights_of_a_model_compile_nothing():
    traces = []

    def score(weights, rows):
        traces.append(rows.shape)
        return rows @ weights

    rows = np.eye(9, dtype=np.float32)
    for best in (2, 7):
        weights = jax.nn.one_hot(best, 9)
        picks = stream_top_k(KEY, Partial(score, weights), rows, batch_size=1)
        assert picks.indices.tolist() == [best]
        if best == 2:
            first = len(traces)
    assert len(traces) == first


def test_a_reservoir_holds_what_it_names(pool):
    values, free = pool
    rows = {"x": np.stack([values, values], -1), "row": np.arange(N)}
    draw = stream_reservoir(KEY, rows, free, batch_size=K, chunk_size=100)
    chosen = np.asarray(draw.selection.indices)
    assert free[chosen].all() and len(set(chosen.tolist())) == K
    np.testing.assert_array_equal(draw.rows["row"], chosen)
    np.testing.assert_array_equal(draw.rows["x"], rows["x"][chosen])


def ordered_probabilities(weights):
    """Two draws without replacement, one after another, by enumeration."""
    pairs = itertools.permutations(range(len(weights)), 2)
    total = sum(weights)
    return {
        (i, j): weights[i] / total * weights[j] / (total - weights[i]) for i, j in pairs
    }


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param([1.0, 1.0, 1.0, 1.0], marks=pytest.mark.slow),
        [1.0, 2.0, 4.0, 0.5],
    ],
)
def test_reservoirs_are_fair(weights):
    rows, draws = np.asarray(weights, np.float32), 800
    counts = dict.fromkeys(itertools.permutations(range(4), 2), 0)
    is_uniform = len(set(weights)) == 1
    for key in jax.random.split(jax.random.key(0), draws):
        found = stream_reservoir(
            key,
            rows,
            batch_size=2,
            weights=None if is_uniform else same,
            chunk_size=3,
        )
        counts[tuple(found.selection.indices.tolist())] += 1

    def chi_square(probabilities):
        expected = {pair: draws * p for pair, p in probabilities.items()}
        return sum((counts[pair] - e) ** 2 / e for pair, e in expected.items())

    assert chi_square(ordered_probabilities(weights)) < 31.3  # 11 degrees, p = 0.001
    other = [1.0, 1.0, 1.0, 2.0] if is_uniform else [1.0] * 4
    assert chi_square(ordered_probabilities(other)) > 31.3  # the test can fail


def test_one_chunk_is_read_ahead_while_another_is_used():
    read, used = [], threading.Event()

    def items():
        for number in range(5):
            if number == 2:  # nothing but the use of item 0 can let this one be read
                assert used.wait(10)
            read.append(number)
            yield number

    for number in prefetched(items()):
        if number == 0:
            used.set()
        assert len(read) <= number + 2  # one ahead, not the whole pool
    assert read == list(range(5))


def test_what_reading_raises_is_raised_by_the_pass():
    def chunks():
        yield np.ones(4, np.float32)
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        stream_top_k(KEY, same, chunks(), batch_size=1, chunk_size=4)
    half = prefetched(iter(range(100)))
    assert next(half) == 0
    half.close()  # gives the thread back
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "prefetch" in name]


def test_rechunked_keeps_rows_in_order():
    pieces = [np.arange(a, b) for a, b in ((0, 3), (3, 3), (3, 14), (14, 15))]
    found = list(rechunked(pieces, 4))
    assert [len(chunk) for chunk in found] == [4, 4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(found), np.arange(15))


def test_parts_that_end_at_different_rows_are_refused():
    def two():
        return iter([np.ones(5, np.float32)])

    with pytest.raises(ValueError, match=r"end at different rows, \[5, 6\]"):
        stream_scores(lambda c: c[0], (two, np.ones(6, np.float32)), chunk_size=10)
    with pytest.raises(ValueError, match="end at different rows"):
        stream_scores(lambda c: c[0], (two, np.ones(6, np.float32)), chunk_size=5)


def test_changes_to_a_private_memory_map_are_read(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(64, np.float32))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[40] = 5  # exists in memory alone: pages must not be given back
    for _ in range(2):
        found = stream_scores(same, private, chunk_size=32)
        assert found[40] == 5 and found.sum() == 5


def test_nobody_knows_how_long_an_iterator_is():
    reported = []
    chunks = iter([np.ones(3, np.float32)] * 2)
    stream_scores(same, chunks, progress=lambda *told: reported.append(told))
    assert reported == [(0, 0, None), (0, 6, None)]


def test_the_bar_is_drawn_on_terminals_only(monkeypatch):
    pytest.importorskip("tqdm")
    values = np.ones(64, np.float32)
    for is_terminal in (False, True):
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda it=is_terminal: it)
        monkeypatch.setattr(sys, "stderr", screen)
        stream_scores(same, values, chunk_size=32, progress=pass_bar("looking"))
        assert ("looking 1" in screen.getvalue()) == is_terminal


def test_bad_scores_and_masks_are_refused(pool):
    values, free = pool
    with pytest.raises(ValueError, match=r"one number a row.*margin"):
        stream_top_k(KEY, lambda x: jnp.ones(2), values, batch_size=2)
    with pytest.raises(TypeError, match="floating"):
        stream_top_k(KEY, lambda x: x > 0, values, batch_size=2)
    with pytest.raises(ValueError, match="is_available"):
        stream_top_k(KEY, same, values, free[:-1], batch_size=2, chunk_size=999)
    with pytest.raises(ValueError, match="is_available"):
        stream_top_k(KEY, same, iter([values[:-1]]), free, batch_size=2)
    with pytest.raises(ValueError, match="batch_size is 1001"):
        stream_top_k(KEY, same, iter([values]), batch_size=N + 1)
    with pytest.raises(TypeError, match="typed key"):
        stream_top_k(jnp.zeros(2, jnp.uint32), same, values, batch_size=2)
    once = as_source(iter([values]))
    stream_scores(same, once)
    with pytest.raises(ValueError, match="has been read already|exhausted"):
        stream_scores(same, once)


def test_default_chunks_hold_about_16_mebibytes():
    wide = np.broadcast_to(np.float32(0), (100_000, 1024))
    assert Reader(as_source(wide), None, None).chunk_size == 4096
    images = np.broadcast_to(np.uint8(0), (100_000, 256, 256, 3))
    assert Reader(as_source(images), None, None).chunk_size == 64
