"""Columns are bent where labels ask for it, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.preprocessing import power_transform

from jaxal import gaussian_process_head, pool_mesh, regression_pool
from jaxal.training.heads.warping import normal_warp, straight, warped, yeo_johnson

KEY = jax.random.key(0)


@pytest.mark.parametrize("power", [-2.0, 0.0, 0.5, 1.0, 2.0, 3.0])
def test_powers_are_those_of_yeo_and_johnson(power):
    x = np.linspace(-3, 3, 41)
    above, below = x[x >= 0], x[x < 0]
    expected = [
        -(((1 - below) ** (2 - power) - 1) / (2 - power))
        if power != 2
        else -np.log(1 - below),
        ((1 + above) ** power - 1) / power if power else np.log(1 + above),
    ]
    actual = yeo_johnson(jnp.asarray(x, jnp.float32), jnp.float32(power))
    np.testing.assert_allclose(actual, np.concatenate(expected), rtol=2e-5, atol=1e-6)


def test_the_warp_makes_columns_as_normal_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    columns = [np.exp(rng.normal(size=900)), -(rng.gamma(2, size=900) ** 2)]
    rows = np.stack([*columns, rng.normal(size=900)], axis=1)
    rows = ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
    warp = normal_warp(jnp.asarray(rows), jnp.ones(900, bool))
    ours, theirs = warped(warp, jnp.asarray(rows)), power_transform(rows)
    assert np.abs(np.mean(np.asarray(ours) ** 3, axis=0)).max() < 0.3  # skewness
    assert np.abs(np.mean(theirs**3, axis=0)).max() < 0.5
    np.testing.assert_allclose(ours.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(ours.std(0), 1, atol=1e-3)
    assert warp.powers[0] < 0.5 and warp.powers[1] < 0.5 < warp.powers[2] < 1.5
    turned = normal_warp(-jnp.asarray(rows), jnp.ones(900, bool))
    np.testing.assert_allclose(warped(turned, -rows), ours, rtol=1e-3, atol=1e-3)


def test_invalid_rows_and_constant_columns_say_nothing():
    rng = np.random.default_rng(1)
    rows = np.exp(rng.normal(size=(60, 3))).astype(np.float32)
    rows[:, 1] = 0
    is_valid = np.arange(60) < 50
    alone = normal_warp(jnp.asarray(rows[:50]), jnp.ones(50, bool))
    rows[50:] = np.nan
    for actual, expected in zip(normal_warp(rows, is_valid), alone, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert alone.powers[1] == 1
    np.testing.assert_array_equal(warped(alone, rows[:50])[:, 1], 0)
    nobody = normal_warp(rows, np.zeros(60, bool))
    assert all(np.isfinite(part).all() for part in nobody)


def skewed(answer, num_labelled=40):
    rng = np.random.default_rng(2)
    inputs = np.exp(rng.normal(size=(400, 3))).astype(np.float32)
    targets = (answer(inputs) + 0.1 * rng.normal(size=400)).astype(np.float32)
    known = np.where(np.arange(400) < num_labelled, targets, np.nan)
    mesh = pool_mesh(jax.devices()[:1])
    return regression_pool(inputs, known.astype(np.float32), mesh=mesh), targets


def error(head, pool, targets):
    state = head.learner.init(KEY, pool.inputs)
    state, _ = jax.jit(head.learner.fit)(KEY, state, pool)
    return state, float(head.learner.evaluate(state, pool.inputs, targets).rmse)


def test_columns_are_bent_where_labels_follow_their_logarithms():
    pool, targets = skewed(lambda x: np.log(x).sum(-1))
    state, bent = error(gaussian_process_head(capacity=40), pool, targets)
    _, plain = error(gaussian_process_head(capacity=40, warp=False), pool, targets)
    assert bent < 0.6 * plain
    assert (state["warp"].powers < 0.5).all()


def test_columns_stay_straight_where_labels_follow_them():
    pool, targets = skewed(lambda x: x.sum(-1))
    state, chosen = error(gaussian_process_head(capacity=40), pool, targets)
    _, plain = error(gaussian_process_head(capacity=40, warp=False), pool, targets)
    assert (state["warp"].powers == 1).all()
    np.testing.assert_allclose(chosen, plain, rtol=1e-2)


def test_more_labels_than_decide_are_all_used():
    pool, targets = skewed(lambda x: np.log(x).sum(-1), num_labelled=200)
    _, few = error(
        gaussian_process_head(capacity=40), *skewed(lambda x: np.log(x).sum(-1))
    )
    state, many = error(gaussian_process_head(capacity=200), pool, targets)
    assert many < few
    assert (state["warp"].powers < 0.5).all()


def test_a_row_far_outside_is_answered():
    pool, targets = skewed(lambda x: np.log(x).sum(-1))
    head = gaussian_process_head(capacity=40)
    state, _ = error(head, pool, targets)
    far = jnp.full((2, 3), 1e6).at[1].set(-1e6)
    assert jnp.isfinite(head.model.apply(state, far)[0].logits).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_far_outside_spoil_nothing_once_they_are_labelled(seed):
    rng = np.random.default_rng(seed)
    inputs = np.exp(rng.normal(size=(4000, 4))).astype(np.float32)
    targets = np.log(inputs).sum(1) + 0.1 * rng.normal(size=4000)
    targets = targets.astype(np.float32)
    order = rng.permutation(4000)
    odd = order[(order % 4 != 0)][-6:]  # the pool's sample has one row in four
    inputs[odd] = -10 * (1 + 1e-3 * rng.random((6, 4)))
    first = np.setdiff1d(order[:60], odd)[:40]
    head = gaussian_process_head(capacity=80)
    fit, state, errors = jax.jit(head.learner.fit), None, []
    for rows in (first, [*first, *odd], [*first, *odd, *order[100:134]]):
        known = np.full(4000, np.nan, np.float32)
        known[rows] = targets[rows]
        pool = regression_pool(inputs, known, mesh=pool_mesh(jax.devices()[:1]))
        state = head.learner.init(KEY, pool.inputs) if state is None else state
        state, _ = fit(KEY, state, pool)
        others = np.delete(np.arange(4000), odd)
        found = head.learner.evaluate(state, inputs[others], targets[others])
        errors.append(float(found.rmse))
    assert errors[1] < 1.2 * errors[0] and errors[2] < 2.5 * errors[0]


def test_a_start_that_is_no_number_is_begun_anew():
    pool, targets = skewed(lambda x: np.log(x).sum(-1))
    head = gaussian_process_head(capacity=40)
    state, expected = error(head, pool, targets)
    lost = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), state["params"])
    begun = head.learner.init(KEY, pool.inputs) | {"params": lost}
    state, _ = jax.jit(head.learner.fit)(KEY, begun, pool)
    found = head.learner.evaluate(state, pool.inputs, targets).rmse
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_the_bend_has_a_slope_at_its_origin():
    slope = jax.grad(lambda x: yeo_johnson(x, jnp.float32(0.5)))
    assert slope(0.0) == 1.0


def test_straight_changes_nothing():
    rows = jax.random.normal(KEY, (5, 3))
    np.testing.assert_allclose(warped(straight(rows), rows), rows, rtol=1e-6)
    assert warped(None, rows) is rows
