"""Images from folders and from prepared data sets of several kinds."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxal.data import UnavailableError, load, loading
from jaxal.data.reading import prepared_folder, read_prepared

tfds = pytest.importorskip("tensorflow_datasets")


def image(seed, shape=(6, 5, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


# A folder of images per class


def make_folder(root, splits=("",), classes=("cat", "dog"), num=10, **kwargs):
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            for i in range(num):
                file = root / split / name / f"{i}.png"
                save(file, image(100 * s + 10 * c + i, **kwargs))
    return root


def test_folder_with_one_split(tmp_path):
    folder = make_folder(tmp_path / "pets")
    (folder / ".hidden").mkdir()
    (folder / "cat" / ".DS_Store").write_text("")
    loaded = load(str(folder), data_dir=tmp_path / "data")
    assert loaded.name == "pets" and loaded.class_names == ("cat", "dog")
    assert loaded.train.inputs.shape == (16, 6, 5, 3)
    assert np.bincount(loaded.test.labels).tolist() == [2, 2]
    for split in loaded.train, loaded.test:
        for array, label, name in zip(*split, strict=True):
            c, i = name.removesuffix(".png").split("/")
            assert c == loaded.class_names[label]
            np.testing.assert_array_equal(array, image(10 * label + int(i)))


def test_folder_with_both_splits(tmp_path):
    folder = make_folder(tmp_path / "pets", ("train", "test"), num=3)
    loaded = load(folder, data_dir=tmp_path / "data")
    assert len(loaded.train.labels) == len(loaded.test.labels) == 6
    assert loaded.test.ids[0] == "test/cat/0.png"
    np.testing.assert_array_equal(loaded.test.inputs[0], image(100))


def test_changed_folder_is_decoded_again(tmp_path):
    folder = make_folder(tmp_path / "pets", ("train", "test"), num=3)
    first = load(folder, data_dir=tmp_path / "data")
    assert load(folder, data_dir=tmp_path / "data").fingerprint == first.fingerprint
    save(folder / "train" / "cat" / "new.png", image(77))
    second = load(folder, data_dir=tmp_path / "data")
    assert second.fingerprint != first.fingerprint
    row = second.train.ids.tolist().index("train/cat/new.png")
    np.testing.assert_array_equal(second.train.inputs[row], image(77))


def test_grey_folder_has_one_channel_and_mixed_has_three(tmp_path):
    folder = make_folder(tmp_path / "grey", shape=(4, 4))
    loaded = load(folder, data_dir=tmp_path)
    assert loaded.train.inputs.shape[1:] == (4, 4, 1)
    save(folder / "cat" / "colour.png", image(3, (4, 4, 3)))
    loaded = load(folder, data_dir=tmp_path)
    assert loaded.train.inputs.shape[1:] == (4, 4, 3)


def test_sizes_that_differ_need_image_size(tmp_path):
    folder = make_folder(tmp_path / "pets")
    save(folder / "cat" / "wide.png", image(3, (6, 9, 3)))
    with pytest.raises(ValueError, match=r"one size.* Pass image_size"):
        load(folder, data_dir=tmp_path)
    loaded = load(folder, data_dir=tmp_path, image_size=(6, 5))
    assert loaded.train.inputs.shape[1:] == (6, 5, 3)
    row = loaded.train.ids.tolist().index("cat/1.png")
    np.testing.assert_array_equal(loaded.train.inputs[row], image(1))  # untouched


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "bird").mkdir(), "bird has no image"),
        (lambda f: (f / "cat" / "notes.txt").write_text("x"), "notes.txt"),
        (lambda f: (f / "cat" / "1.png").write_bytes(b"x"), "not an image"),
        (lambda f: cut(f / "cat" / "1.png"), "damaged|not an image"),
        (lambda f: (f / "train").mkdir(), "no test/"),
    ],
)
def test_bad_folder(spoil, message, tmp_path):
    folder = make_folder(tmp_path / "pets", shape=(30, 30, 3))
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        load(folder, data_dir=tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-800])


def test_classes_of_train_and_test_must_agree(tmp_path):
    folder = make_folder(tmp_path / "pets", ("train", "test"), num=2)
    save(folder / "test" / "bird" / "0.png", image(0))
    with pytest.raises(ValueError, match=r"\['bird'\] are in only one"):
        load(folder, data_dir=tmp_path)


def test_absent_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(tmp_path / "absent", data_dir=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="0 class folders"):
        load(tmp_path / "empty", data_dir=tmp_path)


# Prepared data sets


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    file.seek(0)
    return file


def prepared(data_dir, splits, *, shape=(6, 5, 3), extra=None, sizes=None):
    """Prepares "made_up", in which split s holds rows (image(i), i % 3)."""
    features = {
        "photo": tfds.features.Image(shape=shape),
        "kind": tfds.features.ClassLabel(names=["a", "b", "c"]),
        **(extra or {}),
    }
    with tfds.core.registered.skip_registration():

        class MadeUp(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.2.3")
            pkg_dir_path = None

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    description="Made up.",
                    features=tfds.features.FeaturesDict(features),
                )

            def _split_generators(self, dl_manager):
                del dl_manager
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split):
                for i in range(splits[split]):
                    size = (6, 5, 3) if sizes is None else sizes[i % len(sizes)]
                    hidden = split == "test" and splits.get("hidden_test")
                    label = -1 if hidden else i % 3
                    more = {name: i for name in extra or {}}
                    yield i, {"photo": png(image(i, size)), "kind": label, **more}

    builder = MadeUp(data_dir=data_dir, file_format="array_record")
    tfds.disable_progress_bar()
    builder.download_and_prepare()
    return load("made_up", data_dir=data_dir, download=False)


def test_prepared_data_set_of_any_name(tmp_path):
    loaded = prepared(tmp_path, {"train": 12, "test": 6})
    assert loaded.class_names == ("a", "b", "c")
    assert "made_up 1.2.3" in loaded.source and "Made up." in loaded.source
    images = {image(i).tobytes(): i % 3 for i in range(12)}
    found = {a.tobytes(): n for a, n, _ in zip(*loaded.train, strict=True)}
    assert found == images
    assert loaded.train.ids.tolist() == [f"train_{i:05d}" for i in range(12)]


def test_split_without_labels_gives_way_to_validation(tmp_path):
    splits = {"train": 12, "validation": 9, "test": 6, "hidden_test": 1}
    loaded = prepared(tmp_path, splits)
    assert len(loaded.train.labels) == 12 and len(loaded.test.labels) == 9


def test_single_split_gives_up_a_fifth(tmp_path):
    loaded = prepared(tmp_path, {"test": 30})
    assert np.bincount(loaded.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(loaded.test.labels).tolist() == [2, 2, 2]


def test_splits_it_cannot_interpret(tmp_path):
    with pytest.raises(ValueError, match="expected 'train' and 'test'"):
        prepared(tmp_path, {"left": 3, "right": 3})


def test_two_images_a_row(tmp_path):
    other = {"other": tfds.features.ClassLabel(num_classes=99)}
    with pytest.raises(ValueError, match="expected one of each"):
        prepared(tmp_path, {"train": 3, "test": 3}, extra=other)


def test_sizes_that_differ(tmp_path):
    sizes = [(6, 5, 3), (9, 4, 3)]
    with pytest.raises(ValueError, match="Pass image_size"):
        prepared(tmp_path, {"train": 4, "test": 4}, shape=(None, None, 3), sizes=sizes)
    loaded = load("made_up", data_dir=tmp_path, image_size=(6, 5))
    assert loaded.test.inputs.shape == (4, 6, 5, 3)
    again = load("made_up", data_dir=tmp_path, image_size=7)
    assert again.test.inputs.shape == (4, 7, 7, 3)


def test_newest_version_wins_unless_one_is_asked_for(tmp_path):
    for version in ("1.2.3", "1.10.0", "incomplete.AB_9.0.0"):
        folder = tmp_path / "name" / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "name" / "2.0.0").mkdir()  # without its last file
    assert prepared_folder(tmp_path, "name").name == "1.10.0"
    assert prepared_folder(tmp_path, "name:1.2.3").name == "1.2.3"
    assert prepared_folder(tmp_path, "name:2.0.0") is None
    assert prepared_folder(tmp_path, "other") is None


def test_format_only_tensorflow_reads(tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"fileFormat": "tfrecord"}')
    with pytest.raises(UnavailableError, match="file_format='array_record'"):
        read_prepared(tmp_path, "name", tmp_path / "data", None)


def test_what_tensorflow_prepared_gets_a_copy_beside_it(tmp_path, monkeypatch, capsys):
    theirs = tmp_path / "cifar10" / "3.0.2"
    theirs.mkdir(parents=True)
    (theirs / "dataset_info.json").write_text('{"fileFormat": "tfrecord"}')
    asked = []

    def prepare(name, data_dir, *, download):
        asked.append((name, data_dir, download))
        if not download:
            raise UnavailableError("no download")
        folder = data_dir / name / "3.0.2"
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text('{"fileFormat": "array_record"}')
        return folder

    def read(folder, name, data_dir, size):
        raise InterruptedError(str(folder))

    monkeypatch.setattr(loading, "prepare", prepare)
    monkeypatch.setattr(loading, "read_prepared", read)
    beside = tmp_path / loading.BESIDE
    with pytest.raises(UnavailableError, match="as tfrecord.*cannot be made: no down"):
        load("cifar10", data_dir=tmp_path, download=False)
    data = load("auto", data_dir=tmp_path, download=False)
    assert data.name == "digits"
    assert "NOT CIFAR-10" in data.source and "as tfrecord" in data.source
    for _ in range(2):  # the copy is made once
        with pytest.raises(InterruptedError, match=str(beside / "cifar10" / "3.0.2")):
            load("cifar10", data_dir=tmp_path)
    assert asked == [("cifar10", beside, False)] * 2 + [("cifar10", beside, True)]
    assert f"preparing a copy in {beside}" in capsys.readouterr().err


def flip(data):
    return data[:90_000] + bytes([data[90_000] ^ 1]) + data[90_001:]


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:70_000], flip],
    ids=["empty", "cut", "flipped"],
)
def test_damaged_records(damage, tmp_path):
    prepared(tmp_path, {"train": 30, "test": 6}, shape=(60, 50, 3), sizes=[(60, 50, 3)])
    [file] = (tmp_path / "made_up" / "1.2.3").glob("*train.array_record*")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UnavailableError, match="Delete that folder"):
        load("made_up", data_dir=tmp_path, download=False)
