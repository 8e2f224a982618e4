"""Files of a run: what a kill, a full disk or a second process can do to them."""

import errno
import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles

RECORDS = [{"round": 0, "row": 7}, {"round": 0, "row": 3}, {"round": 1, "row": 4}]


def test_lines_come_back_as_they_were(tmp_path):
    path = tmp_path / "queries.jsonl"
    store.append_lines(path, RECORDS[:2])
    store.append_lines(path, RECORDS[2:])
    assert store.read_lines(path) == RECORDS


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-38, 16777217.0])
def test_a_float32_survives_the_file_bit_for_bit(tmp_path, value):
    path = tmp_path / "rounds.jsonl"
    store.append_lines(path, [{"nll": jnp.float32(value)}])
    assert np.float32(store.read_lines(path)[0]["nll"]) == np.float32(value)


def test_what_is_not_finite_is_strict_json():
    line = store.encode({"a": float("nan"), "b": [np.float32("inf")], "c": np.int64(3)})
    assert json.loads(line, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None],
        "c": 3,
    }


def test_a_line_torn_anywhere_is_cut_off(tmp_path):
    path = tmp_path / "queries.jsonl"
    store.append_lines(path, RECORDS)
    whole = path.read_bytes()
    end_of_second = whole.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(end_of_second, len(whole)):
        path.write_bytes(whole[:length])
        kept = RECORDS[: 3 if length == len(whole) - 1 else 2]  # its end alone is lost
        assert store.read_lines(path) == kept
        assert store.repair_lines(path) == kept
        store.append_lines(path, RECORDS[len(kept) :])
        assert path.read_bytes() == whole


def test_reading_leaves_a_file_that_is_being_written_alone(tmp_path):
    path = tmp_path / "rounds.jsonl"
    path.write_bytes(b'{"round": 0}\n{"rou')
    store.read_lines(path)
    assert path.read_bytes() == b'{"round": 0}\n{"rou'


def test_damage_in_the_middle_names_file_and_line(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b'{"row": 1}\n{"row": \xff}\n{"row": 3}\n')
    with pytest.raises(RunError, match=r"Line 2 of .*queries.jsonl is damaged"):
        store.read_lines(path)


def _deepened(path):
    path.write_text("[" * 100_000 + "\n")


@pytest.mark.parametrize("read", [store.read_json, store.read_lines])
@pytest.mark.parametrize("spoil", [Path.mkdir, lambda p: p.symlink_to(p), _deepened])
def test_what_cannot_be_read_is_named(tmp_path, read, spoil):
    path = tmp_path / "config.json"
    spoil(path)
    with pytest.raises(RunError, match=r"config\.json (does not ex|is dam|cannot be)"):
        read(path)


def test_a_full_disk_leaves_the_lines_before(tmp_path, monkeypatch):
    path = tmp_path / "queries.jsonl"
    store.append_lines(path, RECORDS[:1])
    real = os.write

    def write_a_little(file, content):
        if len(content) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content[:8])

    monkeypatch.setattr(os, "write", write_a_little)
    with pytest.raises(RunError, match=r"queries.jsonl: No space left.*intact: free"):
        store.append_lines(path, RECORDS[1:])
    monkeypatch.undo()
    assert path.read_text() == store.encode(RECORDS[0]) + "\n"
    store.append_lines(path, RECORDS[1:])
    assert store.read_lines(path) == RECORDS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_really_full(tmp_path):
    path = tmp_path / "queries.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left on device"):
        store.append_lines(path, RECORDS)


@pytest.mark.parametrize("dies_in", ["write", "fsync", "replace"])
def test_a_json_file_is_the_old_or_the_new_one(tmp_path, monkeypatch, dies_in):
    path = tmp_path / "config.json"
    store.write_json(path, {"seed": 0})

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, dies_in, fail)
    with pytest.raises(RunError, match=r"config.json"):
        store.write_json(path, {"seed": 1})
    monkeypatch.undo()
    assert store.read_json(path) == {"seed": 0}
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(RunError, match="Is this the folder of a run"):
        store.read_json(tmp_path / "config.json")


def test_a_run_is_run_by_one_process(tmp_path):
    folder = tmp_path / "run"
    with (
        store.locked(folder),
        pytest.raises(RunError, match="another process"),
        store.locked(folder),
    ):
        pass
    with store.locked(folder):  # and is free again afterwards
        pass


def test_clearing_removes_only_what_a_run_wrote(tmp_path):
    files = RunFiles(tmp_path)
    store.append_lines(files.rounds, RECORDS)
    store.append_lines(files.queries, RECORDS)
    store.write_json(files.config, {})
    files.checkpoint.mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    store.clear(files)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
