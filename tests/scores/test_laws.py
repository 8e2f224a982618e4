"""Laws of the scores that hold for whatever logits hypothesis thinks of."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxal import scores
from tests.cases import SCORES

S, N, C = 3, 4, 5  # one shape, so that every example reuses one compilation
ATOL = 5e-6
every_score = pytest.mark.parametrize("case", SCORES, ids=str)
few = settings(max_examples=25, deadline=None, derandomize=True)

# Ordinary, saturated, tied and impossible classes; class 0 always stays possible.
values = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([-200.0, 200.0, 0.0, -np.inf]),
)


@st.composite
def sample_logits(draw):
    logits = draw(arrays.arrays(np.float32, (S, N, C), elements=values))
    logits[..., 0] = np.maximum(logits[..., 0], -200)
    return logits


def read(case, logits):
    """What the score sees of `[S, N, C]`: all of it, or the first sample."""
    return logits if case.kind == "samples" else logits[0]


def continuous(case, logits):
    """Logits in which rounding cannot decide a vote: ties broken by a clear step."""
    if not case.counts_votes:
        return logits
    ranks = np.argsort(np.argsort(logits, axis=-1, kind="stable"), axis=-1)
    return ranks.astype(np.float32)


@every_score
@few
@given(logits=sample_logits())
def test_scores_stay_within_their_bounds(case, logits):
    got = np.asarray(case.function(read(case, logits)))
    assert (got <= case.upper(S, C) + ATOL).all()
    assert case.is_per_class or (got >= 0).all()


@every_score
@few
@given(logits=sample_logits(), order=st.permutations(range(C)))
def test_the_order_of_classes_does_not_matter(case, logits, order):
    logits = continuous(case, logits)
    want = np.asarray(case.function(read(case, logits)))
    want = want[..., list(order)] if case.is_per_class else want
    got = case.function(read(case, logits[..., list(order)]))
    np.testing.assert_allclose(got, want, atol=ATOL, rtol=1e-5)


@every_score
@few
@given(logits=sample_logits(), shift=st.integers(-50, 50))
def test_a_constant_added_to_the_logits_does_not_matter(case, logits, shift):
    # Rounded to eighths, so that adding the constant is exact.
    logits = np.round(logits * 8) / 8
    got = case.function(read(case, logits + np.float32(shift)))
    want = case.function(read(case, logits))
    np.testing.assert_allclose(got, want, atol=ATOL, rtol=1e-5)


@every_score
@few
@given(logits=sample_logits())
def test_log_probabilities_are_logits(case, logits):
    logits = continuous(case, logits)
    logs = jax.nn.log_softmax(logits)
    np.testing.assert_allclose(
        case.function(read(case, logs)),
        case.function(read(case, logits)),
        atol=2e-5,
        rtol=2e-5,
    )


@pytest.mark.parametrize("case", [c for c in SCORES if c.kind == "samples"], ids=str)
@few
@given(logits=sample_logits(), order=st.permutations(range(S)))
def test_the_order_of_samples_does_not_matter(case, logits, order):
    np.testing.assert_allclose(
        case.function(logits[list(order)]),
        case.function(logits),
        atol=ATOL,
        rtol=1e-5,
    )


@few
@given(logits=sample_logits())
def test_samples_that_agree_leave_nothing_to_learn(logits):
    same = np.repeat(logits[:1], S, axis=0)
    for score in (scores.bald, scores.consensus_kl, scores.mean_std):
        np.testing.assert_allclose(score(same), 0, atol=ATOL)
    for score in (scores.vote_entropy, scores.variation_ratio):
        np.testing.assert_array_equal(score(same), 0)


@few
@given(logits=sample_logits())
def test_one_voice_is_the_network_itself(logits):
    same = np.repeat(logits[:1], S, axis=0)
    want = scores.entropy(logits[0])
    np.testing.assert_allclose(scores.expected_entropy(same), want, atol=ATOL)
    np.testing.assert_allclose(scores.consensus_entropy(same), want, atol=ATOL)
    np.testing.assert_allclose(
        scores.log_mean_prob(same), jax.nn.log_softmax(logits[0]), rtol=1e-5, atol=ATOL
    )


@few
@given(logits=sample_logits())
def test_total_doubt_is_its_two_parts(logits):
    total = scores.consensus_entropy(logits)
    parts = scores.bald(logits) + scores.expected_entropy(logits)
    np.testing.assert_allclose(total, parts, atol=ATOL)
    np.testing.assert_allclose(
        total, scores.entropy(scores.log_mean_prob(logits)), atol=ATOL
    )
