"""Checkpoints: every byte of them is watched."""

import collections
import errno
import os
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.pools.pool import make_pool
from jaxal.runs import checkpoint
from jaxal.runs.errors import RunError

FACTS = {"pool": "abc"}


class State(NamedTuple):
    weights: dict
    key: jax.Array
    nothing: jax.Array
    count: jax.Array


def make_state(value: int) -> State:
    weights = {"kernel": jnp.full((3, 2), value, jnp.bfloat16), "bias": jnp.zeros(2)}
    return State(weights, jax.random.key(value), jnp.zeros((0, 2)), jnp.int32(value))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def load(folder, *, before=99, facts=FACTS, template=None):
    warnings: list[str] = []
    like = make_state(0) if template is None else template
    found = checkpoint.load_latest(
        folder, like, lambda number: facts, warnings.append, before=before
    )
    return found, warnings


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "checkpoint"
    for number in range(3):
        checkpoint.save(folder, number, make_state(number), FACTS)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoint")


def test_the_last_two_are_kept_and_the_newest_comes_back(folder):
    assert checkpoint.rounds(folder) == [1, 2]
    (number, state), warnings = load(folder)
    assert (number, warnings) == (2, [])
    assert_same(state, make_state(2))


def test_rounds_without_a_line_are_not_looked_at(folder):
    (number, state), _ = load(folder, before=2)
    assert number == 1
    assert_same(state, make_state(1))


def test_a_flipped_byte_in_any_file_is_found(folder):
    newest = folder / "round-00002"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    sizes = collections.Counter()
    for path in files:
        content = path.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1} if content else set():
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            path.write_bytes(flipped)
            (number, state), warnings = load(folder)
            assert number == 1, f"byte {place} of {path} went unnoticed"
            assert_same(state, make_state(1))
            assert str(path) in warnings[0]
            sizes[path.name] += 1
        path.write_bytes(content)
    assert sizes == {checkpoint.MANIFEST: 3, checkpoint.STATE: 3}
    assert load(folder)[0][0] == 2


@pytest.mark.parametrize("name", [checkpoint.MANIFEST, checkpoint.STATE])
@pytest.mark.parametrize("damage", ["torn", "removed", "nested", "a folder"])
def test_torn_and_missing_files_are_found(folder, name, damage):
    path = folder / "round-00002" / name
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-2])  # one is a newline
    elif damage == "nested":
        path.write_text("[" * 100_000)
    else:
        path.unlink()
        _ = damage == "a folder" and path.mkdir()
    (number, _), warnings = load(folder)
    assert number == 1
    assert str(path) in warnings[0]


def test_with_every_checkpoint_damaged_there_is_none(folder):
    for place in folder.iterdir():
        (place / checkpoint.MANIFEST).write_text("{")
    found, warnings = load(folder)
    assert found is None
    assert len(warnings) == 2


@pytest.mark.parametrize(
    "name", ["round-00002.bak", "round-x", "round--0001", "round-7"]
)
def test_what_people_lay_beside_is_left_alone(folder, name):
    (folder / name).mkdir()
    checkpoint.save(folder, 3, make_state(3), FACTS)
    assert checkpoint.rounds(folder) == [2, 3] and (folder / name).is_dir()


def test_a_round_done_again_replaces_what_came_after_it(folder):
    checkpoint.save(folder, 0, make_state(7), FACTS)
    assert checkpoint.rounds(folder) == [0]
    assert_same(load(folder)[0][1], make_state(7))


def test_another_pool_is_refused(folder):
    with pytest.raises(RunError, match="another pool.*--overwrite"):
        load(folder, facts={"pool": "xyz"})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s._replace(count=jnp.float32(0)),
        lambda s: s._replace(nothing=jnp.zeros((0, 3))),
        lambda s: s._replace(weights={"kernel": s.weights["kernel"]}),
        lambda s: s._replace(weights={**s.weights, "scale": jnp.ones(2)}),
    ],
)
def test_another_network_is_refused(folder, change):
    with pytest.raises(RunError, match="network or the optimizer has changed"):
        load(folder, template=change(make_state(0)))


def test_a_sharded_state_comes_back_sharded(tmp_path):
    pool = make_pool(np.arange(16.0, dtype=np.float32)[:, None])
    template = make_pool(np.zeros((16, 1), np.float32))
    checkpoint.save(tmp_path / "checkpoint", 0, pool, FACTS)
    (_, found), _ = load(tmp_path / "checkpoint", template=template)
    assert_same(found, pool)
    assert found.inputs.sharding == pool.inputs.sharding


def test_too_little_space_is_said_before_anything_is_written(folder, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(RunError, match=r"has 0 MiB left.*Earlier rounds.*intact"):
        checkpoint.save(folder, 3, make_state(3), FACTS)
    monkeypatch.undo()
    assert load(folder)[0][0] == 2
    assert [p.name for p in folder.glob(".*")] == []


def test_a_disk_that_fills_up_while_writing_leaves_the_earlier_ones(
    folder, monkeypatch
):
    def save(path, *arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", save)
    with pytest.raises(RunError, match="No space left on device"):
        checkpoint.save(folder, 3, make_state(3), FACTS)
    monkeypatch.undo()
    assert checkpoint.rounds(folder) == [1, 2]
    assert load(folder)[0][0] == 2
