"""Equal rows are drawn with the key, each as often as the others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxal.pools.mesh import Shard
from jaxal.selection import galaxy, k_center, prob_cover, top_k
from jaxal.selection.engine.chance import lots_of, row_lots
from jaxal.selection.engine.picks import TIE_UNITS, group_numbers, least_equal
from jaxal.streaming import stream_k_center, stream_top_k
from tests.cases_picks import DETERMINISTIC, SELECTORS, mesh_of, rows_of_all_kinds

NUM_PLACES, NUM_COPIES, NUM_KEYS = 8, 5, 100
NUM_ROWS = NUM_PLACES * NUM_COPIES
KEYS = jax.random.split(jax.random.key(0), NUM_KEYS)
FREE = np.ones(NUM_ROWS, bool)


def place_of(rows):
    return np.asarray(rows) // NUM_COPIES


def copies():
    """Rows of few kinds, kind by kind, as a pool sorted by class is."""

    def repeat(name, array):
        return np.repeat(array, NUM_COPIES, axis=1 if name == "samples" else 0)

    rows = rows_of_all_kinds(1, NUM_PLACES)
    return {name: repeat(name, array) for name, array in rows.items()}


def check_even(counts):
    assert stats.chisquare(counts).pvalue > 1e-3, counts


def over_keys(select):
    return jax.jit(jax.vmap(select))(KEYS)


@pytest.mark.slow  # a law of jaxal.testing, of strategies by this
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_each_of_equal_rows_is_first_as_often(name):
    rows, nobody = copies(), ~FREE
    found = over_keys(lambda k: SELECTORS[name](k, rows, FREE, nobody, batch_size=3))
    first = np.asarray(found.indices[:, 0])
    check_even(np.bincount(first % NUM_COPIES, minlength=NUM_COPIES))
    if name in ("log_determinant", "dcom"):  # all are of one length, and cover as many
        check_even(np.bincount(place_of(first), minlength=NUM_PLACES))
    else:
        assert len(set(place_of(first))) == 1  # which kind is best is no luck
    np.testing.assert_allclose(found.scores[:, 0], found.scores[0, 0], rtol=1e-5)


@pytest.mark.slow  # a law of jaxal.testing, of strategies by this
@pytest.mark.parametrize("name", ["typiclust", "cluster_margin", "k_means_nearest"])
def test_so_it_is_where_clusters_take_turns(name):
    rows, nobody = copies(), ~FREE
    if name == "cluster_margin":
        rows["scores"] = np.zeros(NUM_ROWS, np.float32)
    found = over_keys(lambda k: SELECTORS[name](k, rows, FREE, nobody, batch_size=4))
    check_even(np.bincount(np.ravel(found.indices) % NUM_COPIES, minlength=NUM_COPIES))
    if name == "cluster_margin":  # clusters of one size, each as often the first
        check_even(np.bincount(place_of(found.indices[:, 0]), minlength=NUM_PLACES))


def test_the_last_of_the_highest_are_drawn_among_their_equals():
    scores = jnp.asarray(np.repeat([3.0, 1.0, 2.0], [4, 20, 6]), jnp.float32)
    free = jnp.arange(30) != 2
    found = over_keys(lambda k: top_k(k, scores, free, batch_size=14))
    indices = np.asarray(found.indices)
    assert (np.sort(indices[:, :3]) == [0, 1, 3]).all()
    assert (np.sort(indices[:, 3:9]) == np.arange(24, 30)).all()
    assert ((indices[:, 9:] >= 4) & (indices[:, 9:] < 24)).all()
    check_even(np.bincount(indices[:, 0], minlength=4)[[0, 1, 3]])
    check_even(np.bincount(np.ravel(indices[:, 9:]), minlength=30)[4:24])
    assert (np.diff(np.asarray(found.scores)) <= 0).all()


def test_scores_that_rounding_tells_apart_are_equal():
    rng = np.random.default_rng(0)
    scores = np.repeat(np.float32([0.7, 0.3]), 20)
    for _ in range(2):  # up to two units in the last place, upwards
        scores = np.where(rng.random(40) < 0.5, np.nextafter(scores, 9), scores)
    assert len(set(scores.tolist())) == 6
    found = over_keys(lambda k: top_k(k, scores, np.ones(40, bool), batch_size=25))
    indices = np.asarray(found.indices)
    assert (np.sort(indices[:, :20]) == np.arange(20)).all()
    check_even(np.bincount(indices[:, 0], minlength=20))
    check_even(np.bincount(np.ravel(indices[:, 20:]), minlength=40)[20:])
    picked = np.take(scores, indices)
    np.testing.assert_array_equal(found.scores, picked)  # scores are untouched


def test_what_is_further_apart_than_rounding_is_not_equal():
    scores = np.float32([1.0, 1.0]) + np.float32([0, 2 * TIE_UNITS * 2**-23])
    found = over_keys(lambda k: top_k(k, scores, np.ones(2, bool), batch_size=1))
    assert (found.indices == 1).all()
    halves = jnp.array([1.0, 1.0078125], jnp.bfloat16)  # neighbours there
    found = over_keys(lambda k: top_k(k, halves, np.ones(2, bool), batch_size=1))
    assert (found.indices == 1).all()


def test_groups_are_numbered_by_their_values():
    values = jnp.array([2.0, jnp.inf, -1.0, 2.0 + 2e-7, jnp.inf, -jnp.inf, -1.0])
    assert group_numbers(values).tolist() == [2, 3, 1, 2, 3, 0, 1]
    lowest = jnp.array([jnp.finfo(jnp.float32).min, -jnp.inf, jnp.inf])
    assert least_equal(lowest).tolist() == lowest.tolist()


@pytest.mark.sharded
@pytest.mark.parametrize("num_devices", [8])
def test_ties_are_drawn_alike_on_any_number_of_devices(num_devices):
    if num_devices > len(jax.devices()):
        pytest.skip("set JAXAL_TEST_DEVICES=8")
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, 603).astype(np.float32)
    x = rng.integers(-2, 3, size=(603, 3)).astype(np.float32)
    free = rng.random(603) < 0.9
    for mesh in (mesh_of(num_devices),):
        for select in (
            functools.partial(top_k, jax.random.key(5), scores, free),
            functools.partial(k_center, jax.random.key(6), x, free),
            functools.partial(prob_cover, jax.random.key(7), x, free, radius=1.5),
        ):
            alone, spread = select(batch_size=40), select(batch_size=40, mesh=mesh)
            assert spread.indices.tolist() == alone.indices.tolist()


def test_a_longer_pool_of_masked_rows_draws_the_same():
    scores, free = np.zeros(50, np.float32), np.ones(50, bool)
    padded = np.pad(scores, (0, 14)), np.pad(free, (0, 14))
    for seed in range(3):
        key = jax.random.key(seed)
        plain = top_k(key, scores, free, batch_size=9).indices.tolist()
        assert top_k(key, *padded, batch_size=9).indices.tolist() == plain


@pytest.mark.slow
def test_streams_draw_as_memory_does_whatever_the_chunks():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 3, 500).astype(np.float32) / 3
    x = rng.integers(-2, 3, size=(500, 3)).astype(np.float32)
    free, key = rng.random(500) < 0.8, jax.random.key(8)
    expected = top_k(key, scores, free, batch_size=150).indices.tolist()
    far = k_center(key, x, free, batch_size=60, first="largest_norm").indices.tolist()
    for size in (7, 64, 500):
        found = stream_top_k(
            key, lambda s: s, scores, free, batch_size=150, chunk_size=size
        )
        assert found.indices.tolist() == expected
        streamed = stream_k_center(
            key, x, free, batch_size=60, chunk_size=size, first="largest_norm"
        )
        assert streamed.selection.indices.tolist() == far


@pytest.mark.parametrize("num_candidates", [3, 16, 200])
def test_blocks_of_k_center_change_no_tie(num_candidates):
    x = np.random.default_rng(3).integers(-2, 3, size=(200, 3)).astype(np.float32)
    free = np.ones(200, bool)
    settings = {"batch_size": 50, "first": "largest_norm"}
    for seed in range(4):
        key = jax.random.key(seed)
        one = k_center(key, x, free, num_candidates=1, **settings)
        many = k_center(key, x, free, num_candidates=num_candidates, **settings)
        assert many.indices.tolist() == one.indices.tolist()


def test_stretches_of_one_length_are_halved_as_often():
    # Surely 0 to surely 1, and answers that change four times: four pairs of gaps.
    yes = np.linspace(4, -4, 13, dtype=np.float32)
    logits = np.stack([yes, 0 * yes], axis=1)
    labels = np.where(np.arange(13) % 3 == 0, np.arange(13) // 3 % 2, -1)
    found = over_keys(lambda k: galaxy(k, logits, labels < 0, labels, batch_size=1))
    counts = np.bincount(np.ravel(found.indices), minlength=13)
    check_even(counts[[1, 4, 7, 10]] + counts[[2, 5, 8, 11]])


def test_lots_belong_to_rows():
    from jaxal.selection.engine.chance import row_lots

    short, long = (row_lots(KEYS[0], Shard(None, 1, n)) for n in (300, 1000))
    np.testing.assert_array_equal(short, long[:300])
    assert len(set(np.asarray(long).tolist())) == 1000 and long.min() >= 0


@pytest.mark.parametrize("num_tied", [0, 2, 3, 4, 40])
@pytest.mark.parametrize("num_devices", [1, 4])
def test_lots_of_a_few_rows_are_those_of_all(num_tied, num_devices):
    """In a large pool lots are drawn of the rows found alone, where that will do."""
    num_rows, batch_size = 4 * 2048, 4
    scores = np.linspace(0, 1, num_rows, dtype=np.float32)
    tied = np.arange(num_tied) * 97 + 5
    scores[tied] = 2
    lots = np.asarray(row_lots(KEYS[0], Shard(None, 1, num_rows)))
    np.testing.assert_array_equal(lots_of(KEYS[0], jnp.asarray(tied)), lots[tied])
    free, mesh = np.ones(num_rows, bool), mesh_of(num_devices)
    found = top_k(KEYS[0], scores, free, batch_size=batch_size, mesh=mesh)
    expected = [*tied[np.argsort(-lots[tied])], *range(num_rows - 1, 0, -1)]
    assert found.indices.tolist() == expected[:batch_size]
