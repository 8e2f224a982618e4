"""Every score of the table against its paper, at the edges, and in every dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxal.pools.pool
from jaxal import gradient_embedding, scores
from tests.cases import SCORES

NUM_SAMPLES = 3
SINGLE = [case for case in SCORES if case.kind == "single"]
SAMPLES = [case for case in SCORES if case.kind == "samples"]
STREAMS = [case for case in SCORES if case.stream is not None]
every_score = pytest.mark.parametrize("case", SCORES, ids=str)


def logits_for(case, rows, num_classes, seed=0, scale=3.0):
    """Random logits of the shape a score reads, no two of a row equal."""
    shape = (*rows, num_classes)
    shape = (NUM_SAMPLES, *shape) if case.kind == "samples" else shape
    noise = np.random.default_rng(seed).normal(scale=scale, size=shape)
    return noise.astype(np.float32)


def edge_rows(num_classes):
    """Certain, impossible, tied and enormous predictions, `[6, C]`."""
    c = np.arange(num_classes)
    one_hot = np.where(c == 1, 100.0, 0.0)
    only = np.where(c == 1, 0.0, -np.inf)
    two_left = np.where(c < 2, 1.0, -np.inf)
    uniform = np.zeros(num_classes)
    huge = np.where(c == 0, 3e38, -3e38)
    tiny = np.where(c == 0, -3e38, -np.inf)
    return np.stack([one_hot, only, two_left, uniform, huge, tiny]).astype(np.float32)


def edges_for(case, num_classes):
    rows = edge_rows(num_classes)
    if case.kind == "single":
        return rows
    # Every row meets itself, then a neighbour, so that samples agree and disagree.
    return np.stack([rows, rows, np.roll(rows, 1, axis=0)])


@every_score
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_agrees_with_its_paper_edges_included(case, num_classes):
    ordinary = logits_for(case, (5,), num_classes)
    logits = np.concatenate([ordinary, edges_for(case, num_classes)], axis=-2)
    got = np.asarray(case.function(logits))
    assert case.is_per_class or np.isfinite(got).all()
    np.testing.assert_allclose(got, case.reference(logits), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_many_samples_agree_with_the_paper(case):
    shape = (60, 4, 6)
    samples = np.random.default_rng(1).normal(scale=2, size=shape).astype(np.float32)
    np.testing.assert_allclose(
        case.function(samples), case.reference(samples), rtol=2e-5, atol=2e-6
    )


@every_score
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_dtype_is_kept_and_sums_are_wider(case, dtype):
    # Sums of 300 terms in bfloat16 are off by percents; one rounding at the end is not.
    logits = jnp.asarray(logits_for(case, (3,), 300), dtype)
    got = case.function(logits)
    assert got.dtype == dtype
    want = case.reference(np.asarray(logits, np.float64))
    precision = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), want, rtol=precision + 2e-5, atol=2e-6
    )


@pytest.fixture
def x64():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@every_score
def test_float64_stays_float64(case, x64):
    logits = logits_for(case, (3,), 5).astype(np.float64)
    got = case.function(jnp.asarray(logits))
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, case.reference(logits), rtol=1e-12, atol=1e-14)


@every_score
def test_jit_is_eager(case):
    logits = logits_for(case, (7,), 5)
    np.testing.assert_allclose(
        jax.jit(case.function)(logits), case.function(logits), rtol=1e-6
    )


@every_score
def test_vmap_is_a_loop(case):
    logits = np.stack([logits_for(case, (4,), 5, seed) for seed in range(3)])
    loop = np.stack([case.function(one) for one in logits])
    np.testing.assert_allclose(
        jax.vmap(case.function)(logits), loop, rtol=1e-6, atol=1e-7
    )


@every_score
@pytest.mark.parametrize("rows", [(1,), (2, 3)])
def test_row_axes_are_kept(case, rows):
    if case.kind == "single" and rows == (1,):
        rows = ()
    logits = logits_for(case, rows, 4)
    want = rows + (4,) if case.is_per_class else rows
    assert jax.eval_shape(case.function, logits).shape == want


@every_score
def test_sharded_rows_stay_where_they_are(case):
    mesh = jaxal.pools.pool.pool_mesh()
    logits = logits_for(case, (16,), 5)
    axes = (None, "pool") if case.kind == "samples" else ("pool",)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
    sharded = jax.device_put(logits, sharding)
    compiled = jax.jit(case.function).lower(sharded).compile()
    for moved in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert moved not in compiled.as_text()
    np.testing.assert_allclose(
        compiled(sharded), case.function(logits), rtol=1e-6, atol=1e-7
    )


@every_score
def test_a_row_that_is_no_distribution_is_nan(case):
    logits = logits_for(case, (7,), 5)
    logits[..., 1, :] = -np.inf
    got = np.asarray(case.function(logits)).reshape(7, -1)
    if not case.counts_votes:
        assert np.isnan(got[1]).all()
    assert np.isfinite(got[2:]).all()


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_stream_gives_what_the_whole_gives(case):
    logits = logits_for(case, (4,), 6)
    carry = case.stream.init(logits.shape[1:], logits.dtype)
    for sample in logits:
        carry = case.stream.update(carry, sample)
    got = case.stream.finish(carry)
    np.testing.assert_allclose(got, case.function(logits), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_stream_answers_in_the_dtype_it_read(case):
    logits = jnp.asarray(logits_for(case, (4,), 6), jnp.bfloat16)
    carry = case.stream.init(logits.shape[1:], logits.dtype)
    carry = jax.lax.fori_loop(
        0, 3, lambda s, carry: case.stream.update(carry, logits[s]), carry
    )
    assert case.stream.finish(carry).dtype == jnp.bfloat16


@every_score
def test_integers_are_refused_with_a_cure(case):
    logits = np.zeros((3, 4, 5), np.int32)
    with pytest.raises(TypeError, match="int32.*floating point. Pass"):
        case.function(logits)


@every_score
def test_missing_axes_are_refused_with_a_cure(case):
    cure = "last axis holds the classes" if case.kind == "single" else "first axis"
    too_few = np.zeros((4, 5) if case.kind == "samples" else (), np.float32)
    with pytest.raises((ValueError, IndexError), match=cure):
        case.function(too_few)


@every_score
def test_empty_axes_are_refused_with_a_cure(case):
    for num_classes in (0, 1):
        with pytest.raises(ValueError, match=r"no classes to doubt.*\[0, z\]"):
            case.function(np.zeros((3, 4, num_classes), np.float32))
    if case.kind == "samples":
        with pytest.raises(ValueError, match="at least one posterior sample"):
            case.function(np.zeros((0, 4, 5), np.float32))


@pytest.mark.parametrize("num_classes", [3, 40])
def test_votes_on_a_tie_go_to_the_lowest_class(num_classes):
    samples = np.full((2, 1, num_classes), -1.0, np.float32)
    samples[0, 0, [0, 2]] = 1.0  # a tie: class 0 has it
    samples[1, 0, 0] = 1.0
    assert scores.vote_entropy(samples) == 0
    assert scores.variation_ratio(samples) == 0
    samples[1, 0, [0, 1, 2]] = [0.0, 1.0, 1.0]  # and here class 1 has it
    np.testing.assert_allclose(scores.variation_ratio(samples), 0.5)


@pytest.mark.parametrize("num_classes", [3, 40])
def test_margin_of_a_tie_is_one(num_classes):
    logits = np.zeros((2, num_classes), np.float32)
    logits[0, [0, 2]] = 5.0
    logits[1, 1] = 5.0
    tied, apart = scores.margin(logits)
    assert tied == 1
    assert apart < 1


def test_log_mean_prob_outlives_probabilities():
    samples = np.array([[[0.0, -500.0]], [[0.0, -510.0]]], np.float32)
    got = scores.log_mean_prob(samples)[0, 1]
    want = np.log((1 + np.exp(-10.0)) / 2) - 500
    np.testing.assert_allclose(got, want, rtol=1e-6)


ROWS = np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)
BY_THEMSELVES = {
    "epig": lambda: scores.epig(ROWS[None], ROWS[None]),
    "information_density": lambda: scores.information_density(
        ROWS[:, 0], ROWS, is_valid=ROWS[:, 0] < 9
    ),
    "expected_error_reduction": lambda: scores.expected_error_reduction(
        *(jnp.asarray(ROWS), jnp.asarray(ROWS), jnp.zeros(6, int), ROWS[:, 0] < 0),
        candidates=jnp.arange(2),
        targets=jnp.arange(3),
    ),
    "gradient_embedding": lambda: gradient_embedding(ROWS, ROWS, bias=True).sqnorm(),
}


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_strict_promotion_of_dtypes_changes_nothing(name):
    expected = BY_THEMSELVES[name]()
    jax.clear_caches()
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_array_equal(BY_THEMSELVES[name](), expected)


@every_score
def test_nor_does_it_of_scores_and_streams(case):
    samples = case.kind == "samples"
    logits = np.stack([ROWS, 2 * ROWS]) if samples else ROWS
    expected = case.function(logits)
    jax.clear_caches()
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_array_equal(case.function(logits), expected)
        if case.stream is not None:
            carry = case.stream.init(ROWS.shape, jnp.float32)
            for sample in logits:
                carry = case.stream.update(carry, sample)
            found = case.stream.finish(carry)
            np.testing.assert_allclose(found, expected, atol=1e-6)
