"""GALAXY halves the shortest stretch between unlike answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import galaxy
from tests.cases_picks import MASKS, POOLS, masks, mesh_of
from tests.reference import combinators as reference
from tests.selection.test_laws import check_laws

NUM_ROWS, NUM_CLASSES = 24, 3
KEY = jax.random.key(0)
ask = jax.jit(functools.partial(galaxy, batch_size=8))


def random_pool(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(NUM_ROWS, NUM_CLASSES)).astype(np.float32)
    truth = rng.integers(0, NUM_CLASSES, NUM_ROWS).astype(np.int32)
    part = 0.4 if seed % 4 else 0.05
    state = rng.choice(
        3, NUM_ROWS, p=[part, 0.1, 0.9 - part]
    )  # labelled, padding, free
    if seed % 3 == 0:  # answers that agree with the model: few cuts, long stretches
        truth = np.argmax(logits, axis=-1).astype(np.int32)
    return logits, state == 2, np.where(state == 0, truth, -1), truth


def test_every_pick_is_the_middle_of_a_shortest_shortest_path():
    counts = {"halved": 0, "linked": 0, "random": 0}
    for seed in range(40):
        logits, is_available, labels, truth = random_pool(seed)
        key = jax.random.key(seed)
        picks = ask(key, logits, is_available, labels, assumed=truth)
        lines = jax.random.randint(jax.random.split(key)[0], (8,), 0, NUM_CLASSES)
        known, free = labels.copy(), is_available.copy()
        rows = zip(
            np.asarray(picks.indices), np.asarray(picks.scores), lines, strict=True
        )
        for row, score, line in rows:
            if not free.any():
                assert row == NUM_ROWS
                continue
            may, order = reference.galaxy_choices(logits, free, known, int(line))
            assert row in may
            kind = "random" if order is None else "halved" if order == 1 else "linked"
            counts[kind] += 1
            if order is None:
                assert score == -2 * NUM_ROWS - 1
            elif order > 1:
                assert score == -NUM_ROWS - order
            else:
                assert -NUM_ROWS < score < 0
            known[row], free[row] = truth[row], False
    assert min(counts.values()) >= 10, counts


def test_a_line_known_by_looking():
    """Class 1 is rare: of 16 rows only 0, 1 and 2. It gets its share of the labels."""
    yes = np.linspace(3, -3, 16, dtype=np.float32)
    logits = np.stack([0 * yes, yes], axis=1)
    truth = (np.arange(16) < 3).astype(np.int32)
    labels = np.where(np.isin(np.arange(16), [0, 15]), truth, -1)
    picks = galaxy(KEY, logits, labels < 0, labels, batch_size=7, assumed=truth)
    # 0 | 7 | 15, then 3, 1, 2: the change lies between 2 and 3. Then outwards.
    rows = picks.indices.tolist()
    assert rows[0] in (7, 8)
    assert set(rows) >= {2, 3}
    assert truth[rows].sum() == 2 and set(rows[-2:]) <= {1, 4, 5, 6}


@pytest.mark.parametrize("kind", MASKS)
def test_laws(kind):
    is_available, is_labelled = masks(kind)
    labels = np.where(is_labelled, np.arange(40) % 3, -1)
    for x in POOLS.values():
        if x.dtype == np.float32:
            picks = galaxy(KEY, x, is_available, labels, batch_size=9)
            check_laws(picks, is_available)
    certain = np.where(np.arange(3)[None] == np.arange(40)[:, None] % 3, 0, -np.inf)
    picks = galaxy(KEY, np.float32(certain), is_available, labels, batch_size=9)
    check_laws(picks, is_available)


def test_all_rows_one_row_and_more_classes_than_picks():
    is_available, is_labelled = masks("some_labelled")
    x = jnp.asarray(POOLS["bfloat16"])
    labels = np.where(is_labelled, np.arange(40) % 3, -1)
    check_laws(galaxy(KEY, x, is_available, labels, batch_size=40), is_available, 40)
    # One sort a pick gives what one sort a class gives.
    few = galaxy(KEY, x, is_available, labels, batch_size=2)
    check_laws(few, is_available, 2)


def test_sorting_by_pick_or_by_class_is_the_same():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 12)).astype(np.float32)
    is_available, is_labelled = masks("some_labelled")
    labels = np.where(is_labelled, rng.integers(0, 12, 40), -1)
    known = np.array(labels)
    one_by_one = []
    lines = jax.random.randint(jax.random.split(KEY)[0], (12,), 0, 12)
    picks = galaxy(KEY, logits, is_available, labels, batch_size=12)
    for row, line in zip(picks.indices.tolist(), lines.tolist(), strict=True):
        may, _ = reference.galaxy_choices(logits, known < 0, known, line)
        one_by_one.append(row in may)
        known[row] = np.argmax(logits[row])
    assert all(one_by_one)
    few = galaxy(KEY, logits, is_available, labels, batch_size=5)
    line = int(jax.random.randint(jax.random.split(KEY)[0], (5,), 0, 12)[0])
    may, _ = reference.galaxy_choices(logits, is_available, labels, line)
    assert int(few.indices[0]) in may


@pytest.mark.slow
@pytest.mark.sharded
def test_devices_and_transformations_do_not_change_the_picks():
    from jax.sharding import NamedSharding, PartitionSpec

    logits, is_available, labels, _ = random_pool(1)
    alone = ask(KEY, logits, is_available, labels).indices
    spec = NamedSharding(mesh_of(min(4, len(jax.devices()))), PartitionSpec("pool"))
    spread = [jax.device_put(x, spec) for x in (logits, is_available, labels)]
    np.testing.assert_array_equal(ask(KEY, *spread).indices, alone)
    eager = galaxy(KEY, logits, is_available, labels, batch_size=8)
    np.testing.assert_array_equal(eager.indices, alone)
    keys = jnp.stack([KEY, jax.random.key(9)])
    both = jax.vmap(ask, (0, None, None, None))(keys, logits, is_available, labels)
    np.testing.assert_array_equal(both.indices[0], alone)


def test_wrong_shapes_are_refused():
    free = jnp.ones(4, bool)
    with pytest.raises(ValueError, match="labels has shape"):
        galaxy(KEY, jnp.zeros([4, 2]), free, jnp.zeros(3, int), batch_size=1)
    with pytest.raises(ValueError, match=r"expected \[N, C\]"):
        galaxy(KEY, jnp.zeros(4), free, jnp.zeros(4, int), batch_size=1)
