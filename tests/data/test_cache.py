"""Decoded images on disk: reused when whole, rebuilt when not, by one process."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from jaxal.data import UnavailableError, cache
from jaxal.data.cache import cached, write_split
from jaxal.data.types import Content, fingerprint

NUM = 7


def rows(num=NUM, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(num):
        yield rng.integers(0, 256, (4, 3, 3), np.uint8), i % 2, f"row {i}"


class Builder:
    """Counts how often content is decoded."""

    def __init__(self, seed=0):
        self.seed, self.calls = seed, 0

    def __call__(self, out):
        self.calls += 1
        train = write_split(out, "train", rows(seed=self.seed), NUM, "made up")
        return Content(train, None, ("even", "odd"), "made up")


def test_decoded_once_then_mapped(tmp_path):
    build = Builder()
    first, digest = cached(tmp_path, "made-up", {"v": 1}, build)
    second, again = cached(tmp_path, "made-up", {"v": 1}, build)
    assert build.calls == 1 and digest == again
    for content in (first, second):
        images = np.stack([image for image, _, _ in rows()])
        np.testing.assert_array_equal(content.train.inputs, images)
        assert content.train.inputs.dtype == np.uint8
        assert content.train.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
        assert content.train.ids.tolist() == [f"row {i}" for i in range(NUM)]
        assert content[1:] == (None, ("even", "odd"), "made up")
    assert isinstance(second.train.inputs, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second.train.inputs[0] = 0
    assert digest == fingerprint(second.class_names, second.train, None)


def test_key_and_content_decide(tmp_path):
    _, first = cached(tmp_path, "a", {"v": 1}, Builder())
    _, same_content = cached(tmp_path, "a", {"v": 2}, build := Builder())
    _, other_content = cached(tmp_path, "a", {"v": 3}, Builder(seed=1))
    assert build.calls == 1
    assert first == same_content != other_content


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    "file", ["train_inputs.npy", "train_labels.npy", "train_ids.npy", cache.ENTRY]
)
@pytest.mark.parametrize("damage", [flip_a_bit, cut, os.remove])
def test_damage_is_seen_and_repaired(file, damage, tmp_path):
    build = Builder()
    _, digest = cached(tmp_path, "a", {}, build)
    damage(tmp_path / "jaxal_cache" / "a" / file)
    content, again = cached(tmp_path, "a", {}, build)
    assert build.calls == 2 and digest == again
    assert fingerprint(content.class_names, content.train, None) == digest
    assert {p.name for p in (tmp_path / "jaxal_cache").iterdir()} == {"a", "a.lock"}


def test_who_has_it_mapped_keeps_it_when_it_is_replaced(tmp_path):
    old, _ = cached(tmp_path, "a", {"v": 1}, Builder(seed=0))
    cached(tmp_path, "a", {"v": 2}, Builder(seed=1))
    images = np.stack([image for image, _, _ in rows(seed=0)])
    np.testing.assert_array_equal(old.train.inputs, images)


def test_failed_build_leaves_nothing(tmp_path):
    def fail(out):
        write_split(out, "train", rows(), NUM, "made up")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cached(tmp_path, "a", {}, fail)
    assert {p.name for p in (tmp_path / "jaxal_cache").iterdir()} == {"a.lock"}


def test_leftovers_of_a_killed_process_go_away(tmp_path):
    left = tmp_path / "jaxal_cache" / "a.tmp-killed"
    left.mkdir(parents=True)
    (left / "train_inputs.npy").write_bytes(b"half")
    cached(tmp_path, "a", {}, Builder())
    assert not left.exists()


def test_full_disk_is_said_clearly(tmp_path):
    def full(out):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UnavailableError, match="no space left in .*data_dir"):
        cached(tmp_path, "a", {}, full)


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "jaxal_cache").write_text("a file in the way")
    build = Builder()
    cached(tmp_path / "shared", "a", {}, build)
    cached(tmp_path / "shared", "a", {}, build)
    assert build.calls == 1
    assert list((tmp_path / "mine").rglob(cache.ENTRY))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([np.zeros((4, 3, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)], "one size"),
        ([np.zeros((4, 3, 3), np.float32)], "expected uint8"),
        ([np.zeros((4, 3), np.uint8)], r"expected uint8 \[H, W, C\]"),
        ([np.zeros((4, 3, 3), np.uint8)], "1 images, expected 2"),
        ([], "0 images"),
    ],
)
def test_images_that_cannot_be(bad, message, tmp_path):
    some = [(image, 0, str(i)) for i, image in enumerate(bad)]
    with pytest.raises(ValueError, match=message):
        write_split(tmp_path, "train", some, 2, "made up")


def test_ids_that_repeat_become_positions(tmp_path):
    same = [(image, label, "same") for image, label, _ in rows()]
    split = write_split(tmp_path, "train", same, NUM, "made up")
    assert len(set(split.ids.tolist())) == NUM


RACE = """
import sys, time
import numpy as np
from pathlib import Path
from jaxal.data.cache import cached, write_split
from jaxal.data.types import Content

def build(out):
    print("built")
    images = ((np.full((2, 2, 1), i, np.uint8), 0, str(i)) for i in range(50))
    train = write_split(out, "train", images, 50, "made up")
    time.sleep(0.5)
    return Content(train, None, ("a",), "")

content, digest = cached(Path(sys.argv[1]), "race", {}, build)
print(int(content.train.inputs.sum()), digest)
"""


def test_processes_that_start_together_build_once(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert "".join(outputs).count("built") == 1
    assert len({output.replace("built\n", "") for output in outputs}) == 1


KILLED = """
import os, sys, signal
from pathlib import Path
from jaxal.data.cache import cached

def build(out):
    (out / "train_inputs.npy").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

cached(Path(sys.argv[1]), "a", {}, build)
"""


def test_killed_while_decoding(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode < 0
    build = Builder()
    cached(tmp_path, "a", {}, build)  # the lock died with its holder
    assert build.calls == 1
    assert {p.name for p in (tmp_path / "jaxal_cache").iterdir()} == {"a", "a.lock"}


def test_entry_says_what_it_holds(tmp_path):
    cached(tmp_path, "a", {"files": [["x", 1]]}, Builder())
    entry = json.loads((tmp_path / "jaxal_cache" / "a" / cache.ENTRY).read_text())
    assert entry["key"]["files"] == [["x", 1]]
    assert entry["class_names"] == ["even", "odd"]
