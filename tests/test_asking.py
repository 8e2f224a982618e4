"""Asking and telling: bad rows, asking ahead, answers in parts, states kept."""

import io
import pickle

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    LoopState,
    Selection,
    Task,
    active_learner,
    array_oracle,
    by_score,
    correct,
    extend,
    forget,
    make_pool,
    margin,
    noisy_oracle,
    pool_mesh,
    regression_pool,
    reluctant_oracle,
    strategy,
    supervised,
    tell,
    withdraw,
)
from jaxal.models import mlp
from jaxal.training.weights import warm_start
from tests.toys import DEVICE_COUNTS, blobs, linear

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(40, 3)
MODEL = linear(3)
LEARNER = supervised(MODEL, epochs=3, batch_size=8)
LOOP = active_learner(
    MODEL, LEARNER, strategy("margin"), array_oracle(LABELS), batch_size=4, chunk_size=7
)


def a_state(devices=1, initial=4, loop=LOOP, **settings):
    mesh = pool_mesh(jax.devices()[:devices])
    return loop.init(KEY, make_pool(INPUTS, mesh=mesh, **settings), initial)


def rows_of(mask):
    return np.flatnonzero(np.asarray(mask)).tolist()


def saved_and_loaded(state):
    file = io.BytesIO()
    np.savez(file, *jax.tree.leaves(state))
    file.seek(0)
    arrays = np.load(file)
    return jax.tree.unflatten(jax.tree.structure(state), [arrays[k] for k in arrays])


def chosen(*rows):
    ones = jnp.ones(len(rows), bool)
    return Selection(jnp.array(rows), jnp.zeros(len(rows)), ones)


@pytest.mark.parametrize("ask_by", [chosen, lambda *rows: np.array(rows)])
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([-1], [1], r"names \[-1\]"),
        ([6], [1], r"names \[6\]"),
        ([2, 2, 2], [0, 0, 1], r"\[2\] more than once"),
        ([5], [-2], r"holds \[-2\]"),
    ],
)
def test_rows_and_answers_that_are_none_are_refused(rows, labels, message, ask_by):
    pool = make_pool(jnp.zeros([6, 1]), mesh=pool_mesh(jax.devices()[:1]))
    state = LoopState(pool, {}, jnp.int32(0))
    with pytest.raises(ValueError, match=message):
        tell(state, ask_by(*rows), jnp.array(labels))
    after = jax.jit(tell)(state, ask_by(*rows), jnp.array(labels))
    assert rows_of(after.pool.is_labelled) == []  # traced: not written down


def test_classes_beyond_those_of_the_model_are_no_answers_where_traced():
    state = a_state()
    free = rows_of(state.pool.is_available)[:3]
    told = jax.jit(LOOP.tell)(state, jnp.array(free), jnp.array([3, 2, -7]))
    assert told.pool.labels[jnp.array(free)].tolist() == [-1, 2, -1]
    with pytest.raises(ValueError, match=r"holds \[-7, 3\], expected classes 0 to 2"):
        LOOP.tell(state, jnp.array(free), jnp.array([3, 2, -7]))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: noisy_oracle(x, 0.5, 3)])
def test_an_oracle_shorter_than_the_pool_is_refused(wrap):
    oracle = wrap(reluctant_oracle(array_oracle(LABELS[:10]), 0.0))
    with pytest.raises(ValueError, match="has labels for rows 0 to 9"):
        oracle(KEY, jnp.array([3, 10]))
    with pytest.raises(ValueError, match="has labels for rows 0 to 9"):
        oracle(KEY, np.array([-1]))
    found = jax.jit(oracle)(KEY, jnp.array([10, -1, 39]))
    assert found.tolist() == [-1, -1, -1]
    loop = active_learner(MODEL, LEARNER, strategy("margin"), oracle, batch_size=4)
    with pytest.raises(ValueError, match="one label for each row"):
        a_state(initial=20, loop=loop)


@pytest.mark.parametrize(
    "initial", [20, np.int64(20), np.ceil(0.5 * 40).astype(int), jnp.asarray(20)]
)
def test_a_number_of_initial_rows_is_one_of_any_kind(initial):
    found = a_state(initial=initial).pool
    np.testing.assert_array_equal(found.labels, a_state(initial=20).pool.labels)
    assert int(found.is_labelled.sum()) == 20


@pytest.mark.parametrize("devices", DEVICE_COUNTS)
@pytest.mark.parametrize(
    "initial",
    [
        [3, 7],
        (3, 7),
        np.array([3, 7], np.uint8),
        jnp.array([3, 7]),
        np.arange(40) % 4 == 3,
    ],
)
def test_initial_rows_are_numbers_or_a_mask(initial, devices):
    expected = [3, 7] if len(initial) == 2 else list(range(3, 40, 4))
    state = a_state(devices, initial)
    assert rows_of(state.pool.is_labelled) == expected
    assert state.pool.labels[jnp.array(expected)].tolist() == LABELS[expected].tolist()


@pytest.mark.parametrize("initial", [None, 0, np.int64(0), [], np.zeros(40, bool)])
def test_nobody_may_be_labelled_at_first(initial):
    assert rows_of(a_state(initial=initial).pool.is_labelled) == []


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (41, "initial is 41, expected 0 to 40"),
        (-1, "initial is -1"),
        (0.1, r"of a share, int\(share \* N\)"),
        ([0.0, 1.0], "float64"),
        (True, "bool"),
        ([3, 40], r"names \[40\]"),
        ([-1], r"names \[-1\]"),
        ([3, 3], r"\[3\] more than once"),
        ([[1, 2]], "shape"),
        (np.ones(39, bool), "mask of 39 rows"),
        ([0, 5], r"initial names \[0\], which are labelled"),
    ],
)
def test_initial_rows_that_are_none_are_refused(initial, message):
    is_taken = isinstance(initial, list) and 5 in initial
    known = np.where(np.arange(40) == 0, LABELS, -1) if is_taken else None
    with pytest.raises((TypeError, ValueError), match=message):
        a_state(initial=initial, labels=known)


def test_answers_to_the_initial_set_are_checked():
    for oracle, message in [
        (lambda key, rows: rows + 3, "expected classes 0 to 2"),
        (lambda key, rows: jnp.zeros(2, int), r"expected \[4\]"),
        (lambda key, rows: jnp.zeros(4), "class numbers"),
    ]:
        loop = active_learner(MODEL, LEARNER, strategy("margin"), oracle, batch_size=4)
        with pytest.raises(ValueError, match=message):
            a_state(loop=loop)


def test_classes_outside_the_models_are_refused_wherever_they_enter():
    with pytest.raises(ValueError, match=r"pool.labels holds \[3\].*unlabelled=255"):
        a_state(initial=None, labels=LABELS + 1)
    parts = MODEL, LEARNER, strategy("margin"), array_oracle(LABELS)
    odd = np.where(np.arange(40) < 4, 255, LABELS)
    for labels in (odd, jnp.asarray(odd), np.where(odd == 255, -1, odd)):
        loop = active_learner(*parts, batch_size=4, test=(INPUTS, labels))
        with pytest.raises(ValueError, match="test holds .*ignore="):
            a_state(loop=loop)
        loop = active_learner(
            *parts, batch_size=4, test=(INPUTS, labels), ignore=int(labels[0])
        )
        rest = active_learner(*parts, batch_size=4, test=(INPUTS[4:], LABELS[4:]))
        state = a_state(loop=loop)
        chex.assert_trees_all_equal(
            loop.phases.evaluate(KEY, state), rest.phases.evaluate(KEY, state)
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda pool, rows: correct(pool, rows[:1], [99]),
        lambda pool, rows: extend(pool, INPUTS[:1], [3])[0],
    ],
)
def test_a_label_that_is_no_class_is_never_trained_on(change):
    state = a_state(initial=8, capacity=41)
    pool = change(state.pool, rows_of(state.pool.is_labelled))
    state = state._replace(pool=pool)
    with pytest.raises(ValueError, match=r"pool.labels holds \[.*expected classes 0"):
        LOOP.ask(KEY, state)
    after, info = jax.jit(LOOP.step)(KEY, state)
    assert not info.fit.is_sound  # traced: nothing is bought
    np.testing.assert_array_equal(after.pool.is_labelled, pool.is_labelled)


def test_what_is_measured_on_has_classes_too():
    with pytest.raises(ValueError, match=r"test holds \[9\].*ignore="):
        LOOP.phases.measure(KEY, a_state(), INPUTS, np.full(40, 9))
    loop = active_learner(MODEL, LEARNER, strategy("random"), batch_size=4)
    with pytest.raises(ValueError, match="the learner classifies.*least_squares"):
        loop.init(KEY, regression_pool(INPUTS))


def test_a_loop_begins_where_the_key_is_traced_and_the_pool_known():
    pool = make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))
    found = jax.jit(lambda key: LOOP.init(key, pool, 4).pool.labels)(KEY)
    assert found.tolist() == a_state().pool.labels.tolist()


def test_a_test_set_is_taken_as_a_pool_is():
    parts = MODEL, LEARNER, strategy("margin")
    found = []
    for inputs, labels in (
        (INPUTS, LABELS),
        (INPUTS.tolist(), LABELS.tolist()),
        (np.asarray(INPUTS, np.float64), np.asarray(LABELS, np.uint8)),
    ):
        loop = active_learner(*parts, batch_size=4, test=(inputs, labels))
        state = loop.init(KEY, make_pool(INPUTS))
        found.append(loop.phases.evaluate(KEY, state))
    chex.assert_trees_all_equal(*found)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (INPUTS, LABELS[:9], r"40 rows and labels of shape \[9\]"),
        (INPUTS, LABELS.astype(str), "label_names"),
        (INPUTS, LABELS / 1.0, "test has dtype float.*as integers"),
        (np.full([40, 2], np.nan), LABELS, r"40 of 40 rows of test\[0\] hold NaN"),
        (np.zeros([40, 3]), LABELS, r"test\[0\] has float32 rows of shape \[3\]"),
        ({"x": INPUTS}, LABELS, "The test rows are a dict of 'x'"),
        (INPUTS, np.full(40, 7), "no labels but 7"),
    ],
)
def test_a_test_set_that_is_none_is_refused(inputs, labels, message):
    with pytest.raises(ValueError, match=message):
        active_learner(
            *(MODEL, LEARNER, strategy("margin")),
            batch_size=4,
            test=(inputs, labels),
            ignore=7,
        ).init(KEY, make_pool(INPUTS))


def test_a_task_of_ones_own_is_not_judged_by_its_columns():
    task = Task(
        lambda z, y: jnp.logaddexp(0, -z[:, 0] * (2 * y - 1)),
        lambda z, y: ((z[:, 0] > 0) == y).mean(),
        lambda z: z.mean(0),
    )
    model = linear(1)
    loop = active_learner(
        model,
        supervised(model, epochs=5, task=task),
        by_score(lambda z: -jnp.abs(z[..., 0])),
        array_oracle(LABELS > 0),
        batch_size=5,
    )
    state = a_state(initial=10, loop=loop)
    for step in (loop.step, jax.jit(loop.step)):
        assert len(rows_of(step(KEY, state)[0].pool.is_labelled)) == 15


@pytest.mark.parametrize("devices", DEVICE_COUNTS)
def test_what_was_asked_is_not_asked_again_before_it_is_answered(devices):
    first = a_state(devices)
    state, one, _ = LOOP.ask(jax.random.key(1), first)
    state, two, _ = LOOP.ask(jax.random.key(2), state)
    asked = [*one.indices.tolist(), *two.indices.tolist()]
    assert len(set(asked)) == 8 and not set(asked) & set(
        rows_of(first.pool.is_labelled)
    )
    # The second is answered first, by row, backwards and in parts; the first as asked.
    for part in (two.indices[::-1][:3], two.indices[:1]):
        answers = LABELS[np.asarray(part)]
        state = LOOP.tell(state, part, answers, ends_round=part.size == 1)
    state = LOOP.tell(state, one, LABELS[np.asarray(one.indices)])
    assert int(state.round) == 2 and not state.pool.is_pending.any()
    at_once = tell(first, jnp.array(asked), LABELS[asked])
    chex.assert_trees_all_equal(state.pool, at_once.pool)
    with pytest.raises(ValueError, match="labelled already"):
        LOOP.tell(state, one, LABELS[np.asarray(one.indices)])


def test_a_row_without_an_answer_may_be_asked_again_and_one_in_waiting_may_not():
    state = a_state()
    _, everything, _ = LOOP.ask(KEY, state)
    state, _, _ = LOOP.ask(KEY, state)
    state = LOOP.tell(state, everything.indices[:2], jnp.array([-1, 0]))
    assert rows_of(state.pool.is_pending) == sorted(everything.indices[2:].tolist())
    assert bool(state.pool.is_available[everything.indices[0]])


def test_capacity_counts_what_is_waited_for():
    learner = supervised(MODEL, epochs=1, capacity=9)
    loop = active_learner(MODEL, learner, strategy("random"), batch_size=4)
    state = loop.init(KEY, make_pool(INPUTS, np.where(np.arange(40) < 3, LABELS, -1)))
    for expected in (4, 2, 0):
        state, selection, _ = loop.ask(KEY, state)
        assert int(selection.is_valid.sum()) == expected


@pytest.mark.parametrize("devices", DEVICE_COUNTS[-1:])
def test_a_pool_that_lives_compiles_nothing(devices):
    state = a_state(devices, capacity=48)
    seen = []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    state, _ = LOOP.step(KEY, state)
    known = rows_of(state.pool.is_labelled)
    pool, new = extend(state.pool, INPUTS[:3] + 9)
    pool = withdraw(correct(pool, known[:1], np.array([1])), known[1:2])
    pool = withdraw(forget(pool, known[2:3]), new[:1])
    state = state._replace(pool=pool)
    jax.monitoring.register_event_duration_secs_listener(listen)
    asked, selection, info = LOOP.ask(KEY, state)
    state = LOOP.tell(asked, selection, LABELS[:4])
    assert not seen
    jax.clear_caches()
    assert int(info.num_labelled) == len(known) - 2
    withdrawn = {known[1], int(new[0])}
    for i in range(12):  # until the pool is dry
        state, selection, _ = LOOP.ask(jax.random.key(i), state)
        rows = selection.indices[selection.is_valid]
        assert not withdrawn & set(rows.tolist())
        state = LOOP.tell(state, rows, np.zeros(rows.size, int))
    assert set(rows_of(state.pool.is_labelled)) == set(range(43)) - withdrawn


def test_a_withdrawn_row_is_not_trained_on_though_it_had_a_label():
    labels = np.where(np.arange(40) < 12, LABELS, -1)
    wrong = np.where(np.arange(40) < 4, (labels + 1) % 3, labels)
    states = []
    for given in (labels, wrong):
        pool = withdraw(make_pool(INPUTS, given), np.arange(4))
        states.append(LOOP.phases.train(KEY, LOOP.init(KEY, pool))[0].learner)
    chex.assert_trees_all_equal(*states)


def test_a_trained_model_starts_the_loop_as_it_is():
    model = mlp(3, dropout=0.0)
    learner = supervised(model, epochs=30)
    full = make_pool(INPUTS + 5, LABELS, mesh=pool_mesh(jax.devices()[:1]))
    trained, _ = jax.jit(learner.fit)(KEY, learner.init(KEY, full.inputs), full)
    pool = make_pool(INPUTS + 5, mesh=pool_mesh(jax.devices()[:1]))
    loop = active_learner(model, learner, strategy("margin"), batch_size=5)
    expected = np.argsort(-margin(model.apply(trained, full.inputs)[0].logits))[:5]
    for given in (trained, jax.device_get(trained)):
        for state in (
            loop.init(KEY, pool, trained=given),
            loop.init(KEY, pool)._replace(learner=given),
        ):
            after, picks, info = loop.ask(jax.random.key(3), state)
            assert picks.indices.tolist() == expected.tolist()
            assert int(info.fit.num_steps) == 0
            chex.assert_trees_all_equal(after.learner, trained)


def test_a_trained_model_that_is_not_asked_is_said():
    pool, given = make_pool(INPUTS), MODEL.init(KEY, INPUTS)
    with pytest.warns(UserWarning, match="refit=warm_start"):
        LOOP.init(KEY, pool, 4, trained=given)
    learner = supervised(MODEL, epochs=3, batch_size=8, refit=warm_start)
    loop = active_learner(
        MODEL, learner, strategy("margin"), array_oracle(LABELS), batch_size=4
    )
    loop.init(KEY, pool, 4, trained=given)
    for odd, message in (
        (linear(2).init(KEY, INPUTS), r"shape \[2\], the learner's \[3\]"),
        (given["params"], r"trained\['params'\].* has shape None"),
    ):
        with pytest.raises(ValueError, match=message):
            LOOP.init(KEY, pool, trained=odd)


KEPT = {
    "np.savez": saved_and_loaded,
    "device_get": jax.device_get,
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
    "pickle of NumPy": lambda state: pickle.loads(pickle.dumps(jax.device_get(state))),
    "flax": lambda state: flax.serialization.from_bytes(
        state, flax.serialization.to_bytes(state)
    ),
}


@pytest.mark.parametrize("devices", [1, DEVICE_COUNTS[-1]])
@pytest.mark.parametrize("keep", KEPT.values(), ids=KEPT)
def test_a_state_that_was_kept_goes_on(keep, devices):
    state, _ = LOOP.step(jax.random.key(1), a_state(devices))
    state, waiting, _ = LOOP.ask(jax.random.key(2), state)
    back = keep(state)
    for ask in (LOOP.ask, LOOP.ask):
        expected, found = (ask(jax.random.key(3), one) for one in (state, back))
        assert found[1].indices.tolist() == expected[1].indices.tolist()
    told = LOOP.tell(back, waiting, LABELS[np.asarray(waiting.indices)])
    assert len(rows_of(told.pool.is_labelled)) == 12
    half = state._replace(learner=keep(state.learner))
    chex.assert_trees_all_equal(LOOP.step(KEY, half)[0], LOOP.step(KEY, state)[0])


def test_an_old_key_is_refused_at_the_start():
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        LOOP.init(jax.random.PRNGKey(0), make_pool(INPUTS))
