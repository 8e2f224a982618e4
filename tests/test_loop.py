"""The loop as people, scans and seeds use it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    Model,
    Output,
    Selection,
    View,
    active_learner,
    array_oracle,
    bald,
    bootstrap_ensemble,
    by_score,
    classification_metrics,
    deep_ensemble,
    deterministic,
    laplace,
    make_pool,
    mc_dropout,
    pool_mesh,
    reluctant_oracle,
    seed_axes,
    stateless,
    strategy,
    supervised,
    tell,
    temperature_scaled,
    top_k,
)
from jaxal.pools.mesh import find_mesh
from jaxal.posteriors.networks import by_samples
from jaxal.rounds import round_keys
from tests.thinned import thinned
from tests.toys import DEVICE_COUNTS, blobs, linear

KEY = jax.random.key(0)
INPUTS, LABELS = blobs(40, 3)
NAMES = ("random", "margin", "badge", "coreset", "bald")
# One of each for the whole file: jit knows them by identity and compiles them once.
MODEL = linear(3, dropout=0.3)
LEARNER = supervised(MODEL, epochs=3, batch_size=8)
TEST = (jnp.asarray(INPUTS), jnp.asarray(LABELS))


def a_loop(name="margin", *, devices=1, oracle=None, batch_size=3, **settings):
    mesh = pool_mesh(jax.devices()[:devices])
    loop = active_learner(
        MODEL,
        LEARNER,
        strategy(name) if isinstance(name, str) else name,
        array_oracle(LABELS) if oracle is None else oracle,
        batch_size=batch_size,
        test=TEST,
        **{"chunk_size": 7, **settings},
    )
    return loop, loop.init(KEY, make_pool(INPUTS, mesh=mesh), initial=4)


def labelled(state):
    return np.flatnonzero(np.asarray(state.pool.is_labelled)).tolist()


SLOW_BALD = pytest.param("bald", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", NAMES)
def test_every_round_buys_new_rows_with_their_own_labels(name):
    loop, state = a_loop(name)
    for i in range(3):
        before = labelled(state)
        state, info = loop.step(jax.random.key(i), state)
        assert len(labelled(state)) == len(before) + 3
        assert set(before) < set(labelled(state))
        assert int(info.num_labelled) == len(before)
        assert int(info.num_bad_rows) == 0
    rows = labelled(state)
    np.testing.assert_array_equal(state.pool.labels[jnp.array(rows)], LABELS[rows])
    assert int(state.round) == 3


@pytest.mark.sharded
@pytest.mark.parametrize("name", ("margin", "badge", SLOW_BALD))
def test_picks_do_not_depend_on_devices_or_chunks(name):
    found = []
    for devices, chunk_size in ((1, 40), (2, 7), (jax.device_count(), 3)):
        loop, state = a_loop(name, devices=devices, chunk_size=chunk_size)
        for i in range(2):
            state, _ = loop.step(jax.random.key(i), state)
        found.append(labelled(state))
    assert all(rows == found[0] for rows in found)


@pytest.mark.parametrize("name", ("margin", "badge", SLOW_BALD))
def test_scan_over_rounds_equals_the_python_loop(name):
    loop, state = a_loop(name)
    keys = jax.random.split(KEY, 3)
    expected, infos = state, []
    for key in keys:
        expected, info = loop.step(key, expected)
        infos.append(info)
    found, scanned = jax.jit(
        lambda s, k: jax.lax.scan(lambda s, k: loop.step(k, s), s, k)
    )(state, keys)
    assert labelled(found) == labelled(expected)
    chex.assert_trees_all_close(found.learner, expected.learner, atol=1e-5)
    accuracy = [float(info.metrics.accuracy) for info in infos]
    np.testing.assert_allclose(scanned.metrics.accuracy, accuracy, atol=1e-6)


@pytest.mark.parametrize("name", ("margin", "badge", SLOW_BALD))
def test_vmap_over_seeds_equals_each_seed_alone(name):
    loop, _ = a_loop(name)
    pool = make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))
    states = [loop.init(jax.random.key(i), pool, initial=4) for i in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    stacked = stacked._replace(pool=stacked.pool._replace(inputs=pool.inputs))
    keys = jax.random.split(KEY, 3)
    axes = seed_axes(stacked)
    step = jax.jit(jax.vmap(loop.step, in_axes=(0, axes), out_axes=(axes, 0)))
    found, infos = step(keys, stacked)
    assert found.pool.inputs.shape == pool.inputs.shape  # one copy for all seeds
    for i, (key, state) in enumerate(zip(keys, states, strict=True)):
        expected, info = loop.step(key, state)
        assert np.flatnonzero(found.pool.is_labelled[i]).tolist() == labelled(expected)
        np.testing.assert_allclose(infos.fit.loss[i], info.fit.loss, rtol=1e-4)


def test_later_rounds_trace_nothing():
    traces = []

    def counting(view):
        traces.append(view)
        return view.logits.max(-1)

    def select(key, view, batch_size):
        traces.append(view)
        return top_k(key, view.rows, view.is_available, batch_size=batch_size)

    watched = stateless((), select, {"logits"}, counting)
    loop, state = a_loop(watched, devices=4)
    state, _ = loop.step(jax.random.key(0), state)
    first = len(traces)
    for i in range(1, 4):
        state, _ = loop.step(jax.random.key(i), state)
    assert len(traces) == first > 0


@pytest.fixture(scope="module")
def compiled():
    """Names of everything that JAX has compiled, or read from its cache, so far."""
    seen = []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(details)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seen


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("name", ["badge", "bald"])
def test_later_rounds_compile_nothing_at_all(name, devices, compiled):
    loop, state = a_loop(name, devices=devices)
    parts = ("train", "evaluate", "look", "choose", "tell")
    for i in range(3):
        key, counts = jax.random.key(i), [len(compiled)]
        state, _ = loop.phases.train(key, state)
        counts.append(len(compiled))
        loop.phases.evaluate(key, state)
        counts.append(len(compiled))
        looked = loop.phases.look(key, state)
        counts.append(len(compiled))
        selection = loop.phases.choose(key, state, looked)
        counts.append(len(compiled))
        state = loop.tell(state, selection, jnp.asarray(LABELS)[selection.indices])
        counts.append(len(compiled))
        found = dict(zip(parts, np.diff(counts).tolist(), strict=True))
        if i == 0:
            assert found["choose"] > 0  # the listener hears
        else:
            assert found == dict.fromkeys(parts, 0)


def test_ask_and_tell_is_step():
    loop, state = a_loop("margin")
    key = jax.random.key(5)
    asked, selection, info = loop.ask(key, state)
    told = loop.tell(asked, selection, LABELS[np.asarray(selection.indices)])
    stepped, same = loop.step(key, state)
    chex.assert_trees_all_equal(told, stepped)
    chex.assert_trees_all_equal(info, same)


def test_phases_with_progress_give_the_same_round():
    loop, state = a_loop("bald", devices=2, chunk_size=3)
    key = jax.random.key(5)
    _, expected, _ = loop.ask(key, state)
    seen = []
    trained, _ = loop.phases.train(key, state, lambda *x: seen.append(("fit", *x)))
    looked = loop.phases.look(key, trained, lambda *x: seen.append(("look", *x)))
    selection = loop.phases.choose(key, trained, looked)
    chex.assert_trees_all_equal(selection, expected)
    assert seen[0][:2] == ("fit", 0)
    assert seen[-1] == ("look", 40, 40)
    done = [d for phase, d, _ in seen if phase == "look"]
    assert done == sorted(done) and len(done) > 2


def test_a_schedule_of_batch_sizes_compiles_one_selection():
    loop, state = a_loop("margin", batch_size=np.array([2, 5, 3]))
    counts = [4]
    for i in range(4):
        state, _ = loop.step(jax.random.key(i), state)
        counts.append(len(labelled(state)))
    assert np.diff(counts).tolist() == [2, 5, 3, 3]


def test_a_dry_pool_buys_what_there_is_and_then_nothing():
    loop, state = a_loop("badge", batch_size=25)
    for i in range(3):
        state, _ = loop.step(jax.random.key(i), state)
    assert labelled(state) == list(range(40))


def test_capacity_is_never_exceeded():
    model = linear(3)
    loop = active_learner(
        model,
        supervised(model, epochs=1, capacity=6),
        strategy("random"),
        array_oracle(LABELS),
        batch_size=5,
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=4)
    state, _ = loop.step(KEY, state)
    assert len(labelled(state)) == 6


def test_refused_rows_stay_available_and_are_not_labelled():
    loop, state = a_loop("random", oracle=reluctant_oracle(array_oracle(LABELS), 1.0))
    state, _ = loop.step(KEY, state)
    assert labelled(state) == []
    assert int(state.round) == 1


def nan_model():
    def apply(variables, inputs, *, key=None, train=False):
        logits = inputs @ variables["params"]["w"]
        bad = jnp.where(inputs[:, :1] > 2, jnp.nan, logits)
        return Output(logits if train else bad, inputs), variables

    return Model(linear(3).init, apply)


def test_nan_stops_the_round_before_anything_is_bought():
    model = nan_model()
    loop = active_learner(
        model,
        supervised(model, epochs=1),
        strategy("entropy"),
        array_oracle(LABELS),
        batch_size=3,
    )
    state = loop.init(KEY, make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1])), 4)
    bad = int((INPUTS[:, 0] > 2).sum())
    with pytest.raises(FloatingPointError, match=f"on {bad} rows"):
        loop.ask(KEY, state)
    # Traced code cannot raise: it says so, and buys nothing.
    after, info = jax.jit(loop.step)(KEY, state)
    assert int(info.num_bad_rows) == bad
    assert labelled(after) == labelled(state)


def test_a_nan_draw_is_named_and_padding_is_not():
    def sample(key, variables, inputs):
        is_far = jnp.abs(inputs[None, :, :1]) > 2.5
        bad = is_far & (jnp.arange(5) == 3)[:, None, None]
        draws = mc_dropout(MODEL, 5).sample(key, variables, inputs).logits
        return Output(jnp.where(bad, jnp.nan, draws))

    posterior = by_samples(5, sample, deterministic(MODEL).network)
    loop, state = a_loop("bald", posterior=posterior)
    bad = int((np.abs(INPUTS[:, 0]) > 2.5).sum())
    with pytest.raises(FloatingPointError, match=f"posterior samples on {bad} of"):
        loop.ask(KEY, state)


@pytest.mark.sharded
def test_what_a_model_says_of_padding_reaches_no_strategy():
    def apply(variables, inputs, **settings):
        unit = inputs / jnp.linalg.norm(inputs, axis=-1, keepdims=True)
        return MODEL.apply(variables, unit, **settings)

    model = Model(MODEL.init, apply)
    everything = stateless(
        {"logits", "features", "samples", "predictive"},
        strategy("random").select,
        frozenset({"logits"}),
        lambda view: view.logits.sum(-1),
    )
    devices = DEVICE_COUNTS[-1]
    inputs = INPUTS[: 40 - devices // 2 - 1]
    loop = active_learner(
        model, LEARNER, everything, array_oracle(LABELS), batch_size=2
    )
    pool = make_pool(inputs, mesh=pool_mesh(jax.devices()[:devices]))
    looked = loop.phases.look(KEY, loop.init(KEY, pool, initial=4))
    assert int(looked.num_bad_rows) == 0
    if devices > 1:
        assert not pool.is_valid.all()
    for leaf in jax.tree.leaves(looked.view):
        assert np.isfinite(np.asarray(leaf, np.float32)).all()


@pytest.mark.parametrize(
    ("name", "posterior"),
    [
        ("epig", laplace(MODEL, num_samples=8)),
        pytest.param(
            *("bald", laplace(MODEL, "full", num_samples=8)), marks=pytest.mark.slow
        ),
        pytest.param(
            *("batch_bald", laplace(MODEL, num_samples=8)), marks=pytest.mark.slow
        ),
        pytest.param(
            *("bald", temperature_scaled(mc_dropout(MODEL, 8), TEST)),
            marks=pytest.mark.slow,
        ),
        ("margin", mc_dropout(MODEL, 8)),
    ],
)
def test_any_posterior_goes_with_any_strategy(name, posterior):
    loop, state = a_loop(name, posterior=posterior)
    for i in range(2):
        state, info = loop.step(jax.random.key(i), state)
    assert len(labelled(state)) == 10 and not bool(info.are_samples_equal)
    scanned, _ = jax.jit(lambda s, k: jax.lax.scan(lambda s, k: loop.step(k, s), s, k))(
        state, jax.random.split(KEY, 1)
    )
    expected, _ = loop.step(jax.random.split(KEY, 1)[0], state)
    assert labelled(scanned) == labelled(expected)


@pytest.mark.slow
def test_batch_bald_of_an_ensemble():
    members = bootstrap_ensemble(MODEL, members=4, epochs=3)
    loop = active_learner(
        None,
        members.learner,
        strategy("batch_bald"),
        array_oracle(LABELS),
        batch_size=3,
        posterior=members.posterior,
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=6)
    state, _ = loop.step(KEY, state)
    assert len(labelled(state)) == 9


def test_metrics_are_of_the_mean_over_masks_unless_the_network_is_asked_for():
    posterior = mc_dropout(MODEL, 8)
    trained = None
    for measure in ("predictive", "network"):
        loop, state = a_loop("margin", posterior=posterior, measure=measure)
        state, _ = loop.phases.train(KEY, state)
        trained = state if trained is None else trained
        chex.assert_trees_all_equal(state.learner, trained.learner)
        key = round_keys(KEY).posterior
        outputs = {
            "predictive": posterior.predict(key, state.learner, TEST[0]),
            "network": MODEL.apply(state.learner, TEST[0])[0],
        }[measure]
        expected = classification_metrics(outputs.logits, TEST[1])
        metrics = loop.phases.evaluate(KEY, state)
        chex.assert_trees_all_close(metrics, expected, rtol=1e-5)
        assert loop.measured == measure
    with pytest.raises(ValueError, match="measure is 'mean'"):
        a_loop("margin", measure="mean")


def test_a_learner_with_its_own_measure_is_measured_by_it():
    own = LEARNER._replace(task=None, evaluate=lambda state, x, y: {"size": y.sum()})
    loop = active_learner(
        MODEL, own, strategy("margin"), array_oracle(LABELS), batch_size=2, test=TEST
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=4)
    _, info = loop.step(KEY, state)
    assert loop.measured == "learner" and int(info.metrics["size"]) == LABELS.sum()


def test_a_view_holds_what_is_predicted():
    posterior = mc_dropout(MODEL, 6)
    reader = stateless({"predictive"}, strategy("random").select)
    loop, state = a_loop(reader, posterior=posterior)
    found = loop.phases.look(KEY, state).view.predictive
    key = round_keys(KEY).posterior
    expected = posterior.predict(key, state.learner, jnp.asarray(INPUTS)).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_equal_samples_are_refused():
    plain = linear(3)
    learner = supervised(plain, epochs=1)
    pool = make_pool(INPUTS)
    parts = learner, strategy("bald"), array_oracle(LABELS)
    for posterior in (deterministic(plain), mc_dropout(plain, 1)):
        with pytest.raises(ValueError, match="has 1. Use a network with dropout"):
            active_learner(plain, *parts, batch_size=2, posterior=posterior)
    with pytest.raises(ValueError, match="neither a model nor"):
        active_learner(None, *parts, batch_size=2)
    # No dropout in the network: known before anything is trained.
    with pytest.raises(ValueError, match="do not depend on the key"):
        active_learner(plain, *parts, batch_size=2).init(KEY, pool, initial=4)


@pytest.mark.parametrize("scale", thinned([1e-7, 0.0], 1))
def test_samples_that_differ_by_rounding_are_refused(scale):
    def sample(key, variables, inputs):
        noise = 1 + scale * jax.random.uniform(key, (5, 1, 1))
        return Output(MODEL.apply(variables, inputs)[0].logits[None] * noise)

    posterior = by_samples(5, sample, deterministic(MODEL).network)
    loop, state = a_loop("bald", posterior=posterior)
    with pytest.raises(ValueError, match="All posterior samples are equal"):
        loop.ask(KEY, state)
    # Traced code cannot raise: it says so, and buys nothing.
    after, info = jax.jit(loop.step)(KEY, state)
    assert bool(info.are_samples_equal) and labelled(after) == labelled(state)
    # Nothing labelled yet: a network may well be constant, and chance decides.
    cold = loop.init(KEY, make_pool(INPUTS))
    cold, _ = loop.step(KEY, cold)
    assert len(labelled(cold)) == 3


def test_one_row_on_which_samples_differ_is_enough():
    def sample(key, variables, inputs):
        noise = jax.random.normal(key, (5, 1, 1)) * (inputs[None, :, :1] > 3)
        return Output(MODEL.apply(variables, inputs)[0].logits[None] + noise)

    posterior = by_samples(5, sample, deterministic(MODEL).network)
    loop, state = a_loop("bald", posterior=posterior)
    loop.ask(KEY, state)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1]), r"expected \[3\]"),
        (np.array([0.0, 1.0, 2.0]), "class numbers"),
        (np.array([0, 1, -7]), "-7"),
        (np.array([0, 1, 3]), "3"),
    ],
)
def test_bad_answers_are_refused_and_nothing_is_lost(labels, message):
    loop, state = a_loop()
    state, selection, _ = loop.ask(KEY, state)
    with pytest.raises(ValueError, match=message):
        loop.tell(state, selection, labels)
    good = loop.tell(state, selection, LABELS[np.asarray(selection.indices)])
    assert len(labelled(good)) == 7


def test_a_row_is_not_labelled_twice():
    loop, state = a_loop()
    state, selection, _ = loop.ask(KEY, state)
    answers = LABELS[np.asarray(selection.indices)]
    told = loop.tell(state, selection, answers)
    with pytest.raises(ValueError, match="labelled already"):
        tell(told, selection, answers)


def test_bald_through_the_loop_is_bald_of_its_samples():
    posterior = mc_dropout(MODEL, num_samples=9)
    loop, state = a_loop("bald", posterior=posterior)
    looked = loop.phases.look(KEY, state)
    samples = posterior.sample(
        round_keys(KEY).posterior, state.learner, jnp.asarray(INPUTS)
    )
    expected = bald(samples.logits)
    np.testing.assert_allclose(looked.view.rows, expected, atol=1e-5)
    assert looked.view.samples is None  # [S, N, C] was never kept


def test_a_strategy_sees_what_it_named_and_no_truth():
    seen = []

    def select(key, view, batch_size):
        seen.append(view)
        return top_k(key, view.logits[:, 0], view.is_available, batch_size=batch_size)

    needy = stateless({"logits", "samples", "labels"}, select)
    loop, state = a_loop(needy, posterior=mc_dropout(MODEL, 5))
    loop.ask(KEY, state)
    (view,) = seen
    assert view.logits.shape == (40, 3)
    assert view.samples.shape == (5, 40, 3)
    assert view.features is None and view.inputs is None
    looked = loop.phases.look(KEY, state)
    is_bought = np.asarray(state.pool.is_labelled)
    assert (np.asarray(looked.view.labels)[~is_bought] == -1).all()


def test_deep_ensemble_through_the_loop():
    model = linear(3)
    loop = active_learner(
        model,
        supervised(model, epochs=3, members=3),
        strategy("bald"),
        array_oracle(LABELS),
        batch_size=4,
        posterior=deep_ensemble(model, 3),
        test=(jnp.asarray(INPUTS), jnp.asarray(LABELS)),
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=6)
    assert state.learner["params"]["w"].shape == (3, 2, 3)
    state, info = loop.step(KEY, state)
    assert len(labelled(state)) == 10
    assert np.isfinite(info.metrics.accuracy)


def test_streams_of_randomness_are_apart():
    """Another strategy changes the picks, not the weights that are trained."""
    states = []
    for name in ("margin", "random"):
        loop, state = a_loop(name)
        states.append(loop.phases.train(KEY, state)[0])
    chex.assert_trees_all_equal(states[0].learner, states[1].learner)


def test_unknown_needs_and_missing_features_are_explained():
    def nothing(key, view: View, batch_size) -> Selection:
        raise AssertionError

    with pytest.raises(ValueError, match="needs \\['gradients'\\]"):
        a_loop(stateless({"gradients"}, nothing))

    def apply(variables, inputs, *, key=None, train=False):
        return Output(inputs @ variables["params"]["w"]), variables

    model = Model(linear(3).init, apply)
    loop = active_learner(
        model,
        supervised(model),
        strategy("coreset"),
        array_oracle(LABELS),
        batch_size=2,
    )
    state = loop.init(KEY, make_pool(INPUTS), initial=4)
    with pytest.raises(ValueError, match="the model returns none"):
        loop.ask(KEY, state)


def test_step_without_an_oracle_says_what_to_do():
    model = linear(3)
    loop = active_learner(
        model, supervised(model), by_score(lambda x: x[:, 0]), batch_size=1
    )
    state = loop.init(KEY, make_pool(INPUTS))
    with pytest.raises(ValueError, match="ask"):
        loop.step(KEY, state)
    for size in (0, True, 2.0, (), (3, 0)):
        with pytest.raises(ValueError, match="batch_size"):
            active_learner(
                model, supervised(model), strategy("random"), batch_size=size
            )


@pytest.mark.parametrize(
    ("name", "missing"), [("badge", "logits"), ("bald", "samples")]
)
def test_strategies_on_plain_arrays_say_what_is_missing(name, missing):
    nobody = jnp.zeros(5, bool)
    with pytest.raises(ValueError, match=f"no {missing}"):
        strategy(name).select(KEY, View(~nobody, nobody), 2)


@pytest.mark.slow
@pytest.mark.sharded
def test_a_strategy_is_traced_knowing_the_mesh_of_the_pool():
    seen = []

    def select(key, view, batch_size):
        seen.append(find_mesh(None, view.features))
        return top_k(key, view.features[:, 0], view.is_available, batch_size=batch_size)

    inputs, labels = blobs()
    model, chosen = linear(3), stateless({"features"}, select)
    loop = active_learner(
        model, supervised(model, epochs=1), chosen, array_oracle(labels), batch_size=2
    )
    for count in DEVICE_COUNTS:
        seen.clear()
        mesh = pool_mesh(jax.devices()[:count])
        state = loop.init(jax.random.key(0), make_pool(inputs, mesh=mesh), initial=6)
        loop.ask(jax.random.key(1), state)
        assert [1 if mesh is None else mesh.size for mesh in seen] == [count]


def test_a_short_last_batch_names_no_row_beyond_the_pool():
    def answers(key, rows):
        return jnp.asarray(LABELS[np.asarray(rows)])  # NumPy refuses what is beyond

    loop, state = a_loop(oracle=answers, batch_size=25)
    for index in range(2):
        state, _ = loop.step(jax.random.fold_in(KEY, index), state)
    assert state.pool.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("measure", ["predictive", "network"])
def test_a_round_fits_the_posterior_once(measure):
    fits = []

    def fit(key, variables, pool):
        jax.debug.callback(lambda: fits.append(1))
        return variables

    posterior = mc_dropout(MODEL, 4)._replace(fit=fit)
    loop, state = a_loop("bald", posterior=posterior, measure=measure)
    for i in range(2):
        state, _ = loop.step(jax.random.key(i), state)
        jax.effects_barrier()
        assert len(fits) == i + 1
