"""Preparing without TensorFlow: what TFDS then reads, and whatever goes wrong."""

import errno
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest

from jaxal.data import UnavailableError, downloading, load
from jaxal.data.archives import READERS
from jaxal.data.downloading import fetch
from jaxal.data.preparing import prepare
from tests import data_archives as archives

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """(data_dir, folder, archive contents) of a tiny CIFAR-10, prepared once."""
    data_dir = tmp_path_factory.mktemp("prepared")
    archive, *contents = archives.cifar10()
    with archives.serving({archives.CIFAR10: archive}) as server:
        downloads = [archives.download(server, archives.CIFAR10)]
        folder = prepare("cifar10", data_dir, downloads=downloads)
        assert prepare("cifar10", data_dir, downloads=downloads) == folder
        assert server.hits == 1
    return data_dir, folder, contents


def by_id(images, labels, ids):
    return {name: (images[i], labels[i]) for i, name in enumerate(ids)}


def test_tfds_reads_what_was_prepared_as_its_own(cifar10):
    data_dir, folder, (train_x, train_y, test_x, test_y) = cifar10
    own = tfds.builder("cifar10", data_dir=data_dir)
    assert str(folder) == str(own.data_dir)
    assert own.is_prepared()
    assert list(own.info.features) == ["id", "image", "label"]
    assert own.info.features["label"].names == archives.CLASSES10
    for split, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        records = list(tfds.data_source("cifar10", split=split, data_dir=data_dir))
        assert len(records) == len(x)
        for record in records:
            prefix, row = record["id"].decode().split("_")
            assert prefix == split
            np.testing.assert_array_equal(record["image"], x[int(row)])
            assert record["label"] == y[int(row)]


def test_metadata_is_that_of_tfds(cifar10):
    _, folder, _ = cifar10
    own = tfds.builder("cifar10", data_dir="nowhere")
    read = tfds.builder_from_directory(folder)
    assert read.version == own.version
    assert read.info.description == own.info.description
    assert read.info.features.to_json() == own.info.features.to_json()
    info = json.loads((folder / "dataset_info.json").read_text())
    assert info["moduleName"] == type(own).__module__


def test_load_reads_it(cifar10):
    data_dir, _, (train_x, train_y, test_x, _) = cifar10
    data = load("cifar10", data_dir=data_dir, download=False)
    assert data.name == "cifar10" and data.class_names == tuple(archives.CLASSES10)
    assert len(data.test.labels) == len(test_x)
    rows = by_id(*data.train)
    for i in range(len(train_x)):
        image, label = rows[f"train_{i:05d}"]
        np.testing.assert_array_equal(image, train_x[i])
        assert label == train_y[i]


def test_cifar100_labels_are_the_fine_ones(tmp_path):
    archive, images, coarse, fine = archives.cifar100()
    with archives.serving({archives.CIFAR100: archive}) as server:
        downloads = [archives.download(server, archives.CIFAR100)]
        prepare("cifar100", tmp_path, downloads=downloads)
    data = load("cifar100", data_dir=tmp_path)
    assert data.class_names[37] == "fine37"
    train = by_id(*data.train)
    for i in range(20):
        image, label = train[f"train_{i:05d}"]
        np.testing.assert_array_equal(image, images[i])
        assert label == fine[i]
    source = tfds.data_source("cifar100", split="test", data_dir=tmp_path)
    for record in source:
        row = int(record["id"].decode().split("_")[1])
        assert record["coarse_label"] == coarse[20 + row]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files(name, tmp_path):
    files, images, labels = archives.mnist()
    with archives.serving(files) as server:
        downloads = [archives.download(server, file) for file in files]
        prepare(name, tmp_path, downloads=downloads)
    data = load(name, data_dir=tmp_path)
    assert data.train.inputs.shape == (20, 28, 28, 1)
    assert data.class_names[2] == ("2" if name == "mnist" else "Pullover")
    rows = np.concatenate([data.train.inputs, data.test.inputs])[..., 0]
    numbers = np.concatenate([data.train.labels, data.test.labels])
    found = {(r.tobytes(), int(n)) for r, n in zip(rows, numbers, strict=True)}
    wanted = zip(images.astype(np.uint8), labels, strict=True)
    assert found == {(image.tobytes(), int(label)) for image, label in wanted}


def nothing_was_prepared(data_dir):
    return not list(data_dir.rglob("dataset_info.json"))


def nothing_was_kept(data_dir):
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    return all(path.suffix == ".lock" for path in files)


def test_truncated_transfer(tmp_path):
    archive, *_ = archives.cifar10()
    with archives.serving({archives.CIFAR10: archive}) as server:
        server.cut = len(archive) // 2
        downloads = [archives.download(server, archives.CIFAR10)]
        with pytest.raises(UnavailableError, match="cannot be downloaded"):
            prepare("cifar10", tmp_path, downloads=downloads)
        assert nothing_was_kept(tmp_path)
        server.cut = None
        prepare("cifar10", tmp_path, downloads=downloads)
    assert not nothing_was_prepared(tmp_path)


def test_wrong_checksum(tmp_path):
    archive, *_ = archives.cifar10()
    with archives.serving({archives.CIFAR10: archive}) as server:
        wrong = archives.download(server, archives.CIFAR10, sha256="0" * 64)
        with pytest.raises(UnavailableError, match="SHA-256 .* expected 0000"):
            prepare("cifar10", tmp_path, downloads=[wrong])
    assert nothing_was_kept(tmp_path)


def test_more_bytes_than_registered(tmp_path):
    with archives.serving({"a": bytes(2_000_000)}) as server:
        wrong = archives.download(server, "a", size=10)
        with pytest.raises(UnavailableError, match="expected 10"):
            fetch(wrong, tmp_path)
    assert nothing_was_kept(tmp_path)


def test_file_put_there_by_hand_is_used_if_right(tmp_path):
    right = downloading.Download("http://127.0.0.1:9/a", 3, "", "a")
    right = right._replace(sha256=hashlib.sha256(b"abc").hexdigest())
    (tmp_path / "a").write_bytes(b"abc")
    assert fetch(right, tmp_path).read_bytes() == b"abc"
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(UnavailableError, match="Delete it"):
        fetch(right, tmp_path)


def test_missing_file_and_dead_host(tmp_path):
    with archives.serving({"a": b""}) as server:
        gone = archives.download(
            server, "a", url=archives.download(server, "a").url + "b"
        )
        with pytest.raises(UnavailableError, match="404"):
            fetch(gone, tmp_path)
    with pytest.raises(UnavailableError, match="put the file at"):
        fetch(gone, tmp_path)  # the server has gone
    assert nothing_was_kept(tmp_path)


def test_silent_host_gives_up_quickly(tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "OPEN_SECONDS", 0.2)
    with archives.serving({"a": b"a"}) as server:
        server.delay = 1.0
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="no answer within"):
            fetch(archives.download(server, "a"), tmp_path)
        assert time.monotonic() - start < 0.9


def test_a_host_that_drips_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "READ_SECONDS", 0.3)
    with archives.serving({"a": bytes(100)}) as server:
        server.drip = 0.05  # never silent for long, and five seconds in all
        start = time.monotonic()
        with pytest.raises(UnavailableError, match="too slow.*put the file at"):
            fetch(archives.download(server, "a"), tmp_path)
        assert time.monotonic() - start < 2
    assert nothing_was_kept(tmp_path)


KILLED_DOWNLOAD = """
import os, signal, sys
from pathlib import Path
from jaxal.data import downloading
from jaxal.data.downloading import Download, fetch

downloading._copy = lambda download, file: os.kill(os.getpid(), signal.SIGKILL)
fetch(Download("http://127.0.0.1:9/a", 3, "", sys.argv[2]), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_a_killed_download_left_is_removed(tmp_path, by_hand):
    name = "a[1].gz"
    command = [sys.executable, "-c", KILLED_DOWNLOAD, str(tmp_path), name]
    for _ in range(2):
        assert subprocess.run(command, check=False).returncode < 0
        assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / "another.gz.1.part"
    other.write_bytes(b"of a download that goes on")
    with archives.serving({name: b"abc"}) as server:
        if by_hand:
            (tmp_path / name).write_bytes(b"abc")
        fetch(archives.download(server, name, url=f"{url_of(server)}/{name}"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name, other.name}


def url_of(server):
    return f"http://127.0.0.1:{server.server_address[1]}"


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


FOLDER = "cifar-10-batches-bin"


@pytest.mark.parametrize(
    "odd",
    [
        {"../outside.bin": b"x"},
        {f"{FOLDER}/../../outside.bin": b"x"},
        {"/tmp/outside.bin": b"x"},
        {f"{FOLDER}/link": link(f"{FOLDER}/link", "/etc/passwd", tarfile.SYMTYPE)},
        {f"{FOLDER}/hard": link(f"{FOLDER}/hard", "../../x", tarfile.LNKTYPE)},
        {f"{FOLDER}/device": link(f"{FOLDER}/device", "", tarfile.CHRTYPE)},
    ],
    ids=["parent", "inner parent", "absolute", "symlink", "hard link", "device"],
)
def test_archive_that_reaches_outside_is_refused(odd, tmp_path):
    archive, *_ = archives.cifar10(extra=odd)
    (tmp_path / archives.CIFAR10).write_bytes(archive)
    with pytest.raises(UnavailableError, match="not the published one"):
        READERS["cifar10"]({archives.CIFAR10: tmp_path / archives.CIFAR10})
    assert {path.name for path in tmp_path.iterdir()} == {archives.CIFAR10}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a[: len(a) // 2], "not a whole"),
        (lambda a: archives.tar_gz({f"{FOLDER}/other": b""}), "has no data_batch_1"),
        (lambda a: b"no archive", "not a whole"),
    ],
    ids=["cut", "other members", "no archive"],
)
def test_bad_archive_prepares_nothing(damage, message, tmp_path):
    archive = damage(archives.cifar10()[0])
    with archives.serving({archives.CIFAR10: archive}) as server:
        downloads = [archives.download(server, archives.CIFAR10)]
        with pytest.raises(UnavailableError, match=message):
            prepare("cifar10", tmp_path, downloads=downloads)
    assert nothing_was_prepared(tmp_path)


def test_rows_cut_short_and_wrong_idx(tmp_path):
    rows = archives.tar_gz({f"{FOLDER}/data_batch_1.bin": b"x" * 4000})
    path = tmp_path / archives.CIFAR10
    path.write_bytes(rows)
    with pytest.raises(UnavailableError, match="has no"):
        READERS["cifar10"]({archives.CIFAR10: path})
    files, images, _ = archives.mnist()
    files["train-images-idx3-ubyte.gz"] = archives.idx(images[:, 0, 0])
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)
    archive = READERS["mnist"]({name: tmp_path / name for name in files})
    with pytest.raises(UnavailableError, match="idx file of 3 axes"):
        list(archive.train)


def test_failure_half_way_leaves_nothing_that_looks_prepared(tmp_path):
    """Labels run out after the images were already being written."""
    files, *_ = archives.mnist()
    files["t10k-labels-idx1-ubyte.gz"] = archives.idx(np.zeros(3))
    with archives.serving(files) as server:
        downloads = [archives.download(server, file) for file in files]
        with pytest.raises(UnavailableError, match="10 images"):
            prepare("mnist", tmp_path, downloads=downloads)
    assert nothing_was_prepared(tmp_path)


def test_folder_that_was_never_completed_is_named(tmp_path):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    files, *_ = archives.mnist()
    with archives.serving(files) as server:
        downloads = [archives.download(server, file) for file in files]
        with pytest.raises(UnavailableError, match="never completed"):
            prepare("mnist", tmp_path, downloads=downloads)


PREPARE_AND_LOAD = """
import json, sys
from pathlib import Path
from jaxal.data import load
from jaxal.data.downloading import Download
from jaxal.data.preparing import prepare
data_dir = Path(sys.argv[1])
downloads = [Download(*d) for d in json.loads(sys.argv[2])]
prepare("mnist", data_dir, downloads=downloads)
data = load("mnist", data_dir=data_dir, download=False)
print(data.fingerprint)
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
def test_two_processes_prepare_and_decode_at_once(tmp_path):
    files, *_ = archives.mnist()
    with archives.serving(files) as server:
        downloads = json.dumps([archives.download(server, file) for file in files])
        command = [sys.executable, "-W", "error", "-c", PREPARE_AND_LOAD]
        processes = [
            subprocess.Popen(
                [*command, str(tmp_path), downloads], stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        assert server.hits == len(files)  # the second waited, and downloaded nothing
    assert outputs[0] == outputs[1]
    assert len(list(tmp_path.rglob("dataset_info.json"))) == 1
    assert not list(tmp_path.rglob("*tmp-*")) and not list(tmp_path.rglob("*.part"))


KILLED = """
import json, os, signal, sys
from pathlib import Path
from jaxal.data import preparing
from jaxal.data.downloading import Download

encode, calls = preparing._png, []

def kill_at_last(image):
    calls.append(image)
    if len(calls) == 25:  # among the test rows: the train split is written
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(image)

preparing._png = kill_at_last
downloads = [Download(*d) for d in json.loads(sys.argv[2])]
preparing.prepare("mnist", Path(sys.argv[1]), downloads=downloads)
"""


def test_killed_while_preparing(tmp_path):
    files, *_ = archives.mnist()
    with archives.serving(files) as server:
        downloads = [archives.download(server, file) for file in files]
        command = [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(downloads)]
        assert subprocess.run(command, check=False).returncode < 0
        assert list(tmp_path.rglob("incomplete*/*train*"))
        with pytest.raises(UnavailableError, match="not prepared"):
            load("mnist", data_dir=tmp_path, download=False)
        prepare("mnist", tmp_path, downloads=downloads)
        assert server.hits == len(files)  # what was verified is not fetched again
        assert not list(tmp_path.rglob("incomplete*"))
    assert len(load("mnist", data_dir=tmp_path).train.labels) == 20


def test_auto_and_cifar10_without_a_network(tmp_path, monkeypatch):
    def refuse(url):
        raise OSError("no route to host")

    monkeypatch.setattr(downloading, "_open", refuse)
    data = load("auto", data_dir=tmp_path)
    assert data.name == "digits"
    assert "NOT CIFAR-10" in data.source and "no route to host" in data.source
    assert "\n" not in data.source
    with pytest.raises(UnavailableError, match="put the file at .*cifar-10-binary"):
        load("cifar10", data_dir=tmp_path)
    with pytest.raises(UnavailableError, match="downloading is switched off"):
        load("cifar10", data_dir=tmp_path, download=False)
    assert load("auto", data_dir=tmp_path, download=False).name == "digits"


def test_auto_is_cifar10_where_it_is_prepared(cifar10):
    data = load("auto", data_dir=cifar10[0])
    assert data.name == "cifar10" and "NOT" not in data.source


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_broken_network(tmp_path, monkeypatch, number):
    def full(download, file):
        raise OSError(number, "the disk is full")

    monkeypatch.setattr(downloading, "_copy", full)
    with pytest.raises(UnavailableError, match="no space left in .* MB") as told:
        load("cifar10", data_dir=tmp_path)
    assert "network" not in str(told.value)
    assert nothing_was_kept(tmp_path)


def test_a_disk_that_fills_while_records_are_written(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    archive, *_ = archives.cifar10()  # 222 kB, and as much again as records
    try:
        with archives.serving({archives.CIFAR10: archive}) as server:
            downloads = [archives.download(server, archives.CIFAR10)]
            with pytest.raises(UnavailableError, match="No space left.*Free some"):
                prepare("cifar10", tmp_path, downloads=downloads)
            assert nothing_was_prepared(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_other_data_sets_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'jaxal\[prepare\]'"):
        load("svhn_cropped", data_dir=tmp_path)
    with pytest.raises(ValueError, match="not a data set for image classification"):
        load("imdb_reviews", data_dir=tmp_path)


def test_unknown_version(tmp_path):
    with pytest.raises(ValueError, match=r"9\.9\.9"):
        load("cifar10:9.9.9", data_dir=tmp_path)
