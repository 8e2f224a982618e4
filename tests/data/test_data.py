"""Loading by name or path: splits, values, and refusals that name the cure."""

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxal import data
from jaxal.app.cli import run_command
from jaxal.data import load
from jaxal.data.splits import fixed_test, imbalance, quotas, split_validation
from jaxal.data.types import Split

EMBEDDED = ("digits", "iris", "make_classification", "two_moons")


def ids(split):
    return set(split.ids.tolist())


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


# Embedded data sets


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded(name):
    loaded = load(name)
    train, test = loaded.train, loaded.test
    assert loaded.name == name and loaded.validation is None
    assert train.inputs.dtype == (np.uint8 if name == "digits" else np.float32)
    assert train.labels.dtype == test.labels.dtype == np.int32
    assert not ids(train) & ids(test)
    classes = range(len(loaded.class_names))
    for split in (train, test):
        assert len(split.inputs) == len(split.labels) == len(split.ids)
        assert set(split.labels.tolist()) == set(classes)
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    # A fifth of every class, rounded.
    assert np.abs(np.bincount(test.labels) - counts / 5).max() <= 0.5


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    bunch, loaded = load_digits(), load("digits")
    assert loaded.train.inputs.shape[1:] == (8, 8, 1)
    assert loaded.train.inputs.max() == 255
    for split in loaded.train, loaded.test:
        np.testing.assert_array_equal(split.labels, bunch.target[split.ids])
        levels = split.inputs[..., 0].astype(float) * 16 / 255
        np.testing.assert_array_equal(np.round(levels), bunch.images[split.ids])
    assert len(ids(loaded.train) | ids(loaded.test)) == 1797


def test_test_split_and_ids_do_not_depend_on_the_seed():
    first, second = load("digits", seed=0), load("digits", seed=1, num_validation=50)
    assert_same(first.test, second.test)
    assert ids(first.train) == ids(second.train) | ids(second.validation)


def test_fingerprint_follows_content_and_split_only():
    plain = load("iris").fingerprint
    assert plain == load("iris", seed=5).fingerprint
    others = [
        load("two_moons").fingerprint,
        load("iris", num_validation=10).fingerprint,
        load("iris", num_validation=10, seed=1).fingerprint,
        load("iris", keep_ratios=[1, 1, 0.5]).fingerprint,
    ]
    assert len({plain, *others}) == 5
    again = load("iris", num_validation=10).fingerprint
    assert again == others[1]


# Splits


def made_up(counts, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    labels = np.random.default_rng(seed).permutation(labels)
    n = len(labels)
    return Split(np.arange(n, dtype=np.float32)[:, None], labels, np.arange(n))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0, 1))
def test_quotas_are_whole_and_proportional(counts, share):
    if not sum(counts):
        return
    counts = np.array(counts)
    total = int(share * counts.sum())
    shares = quotas(counts, total)
    assert shares.sum() == total
    assert (shares >= 0).all() and (shares <= counts).all()
    assert np.abs(shares - counts * total / counts.sum()).max() < 1


def test_validation_is_stratified_and_from_the_pool():
    train = made_up([60, 30, 10])
    rest, validation = split_validation(train, 20, 3, seed=0)
    assert np.bincount(validation.labels).tolist() == [12, 6, 2]
    assert ids(rest) | ids(validation) == ids(train)
    assert not ids(rest) & ids(validation)
    assert (np.diff(rest.ids) > 0).all()  # the order of the source
    _, other = split_validation(train, 20, 3, seed=1)
    assert ids(other) != ids(validation)
    for bad in (100, 101, -1):
        with pytest.raises(ValueError, match="0 to 99"):
            split_validation(train, bad, 3, seed=0)


def test_rows_stay_together():
    train = made_up([20, 20])
    for part in split_validation(train, 15, 2, seed=3):
        np.testing.assert_array_equal(part.inputs[:, 0], part.ids)
        np.testing.assert_array_equal(part.labels, train.labels[part.ids])


def test_imbalance_keeps_the_share_of_each_class():
    train = made_up([100, 100, 7])
    names = ("a", "b", "c")
    kept = imbalance(train, [1.0, 0.25, 0.01], names, seed=0)
    assert np.bincount(kept.labels).tolist() == [100, 25, 1]
    assert_same(kept, imbalance(train, {"b": 0.25, "c": 0.01}, names, seed=0))
    fewer = imbalance(train, [0.5, 0.1, 0.01], names, seed=0)
    assert ids(fewer) < ids(kept)  # nested
    assert ids(imbalance(train, [1, 0.25, 0.01], names, seed=1)) != ids(kept)
    assert imbalance(train, [1, 1, 1], names, seed=0) is train


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ([1, 1], "2 entries, expected 3"),
        ([1, 1, 0], r"in \(0, 1\]"),
        ([1, 1, 1.5], r"in \(0, 1\]"),
        ([1, 1, float("nan")], r"in \(0, 1\]"),
        ({"setosa": 0.5, "tulip": 0.5}, "tulip"),
    ],
)
def test_bad_ratios(ratios, message):
    with pytest.raises(ValueError, match=message):
        load("iris", keep_ratios=ratios)


def test_imbalance_and_validation_leave_the_test_split_alone():
    plain = load("iris")
    thin = load("iris", keep_ratios={"virginica": 0.25}, num_validation=18, seed=2)
    assert_same(plain.test, thin.test)
    # 40, 40 and 10 left in the pool; a fifth of each goes to validation.
    assert np.bincount(thin.validation.labels).tolist() == [8, 8, 2]
    assert np.bincount(thin.train.labels).tolist() == [32, 32, 8]


def test_fixed_test_moves_no_old_row_when_rows_are_added():
    many = made_up([50, 50])
    few = Split(*(array[:-1] for array in many))
    before, after = fixed_test(few, 2)[1], fixed_test(many, 2)[1]
    assert len(ids(before) - ids(after)) <= 1


def test_single_examples_train():
    train, test = fixed_test(made_up([1, 2, 0, 10]), 4)
    assert np.bincount(train.labels, minlength=4).tolist() == [1, 1, 0, 8]
    assert np.bincount(test.labels, minlength=4).tolist() == [0, 1, 0, 2]


# Names


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [("digts", "digits"), ("cifar-10", "cifar10"), ("two_moon", "two_moons")],
)
def test_unknown_name_suggests_the_nearest(typo, nearest):
    with pytest.raises(ValueError, match=f"{typo}'.*mean .*{nearest}"):
        load(typo)


def test_unknown_name_like_no_other():
    with pytest.raises(ValueError, match="Known: .*digits"):
        load("qqqqqqqq")


def test_bare_word_is_never_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_pool").mkdir()
    with pytest.raises(ValueError, match="pass './my_pool'"):
        load("my_pool")


def test_missing_extra_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxal\[experiments\]'"):
        load("digits")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxal\[experiments\]'"):
        load("cifar100", data_dir="nowhere")


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, jaxal.data; "
        "heavy = {'tensorflow_datasets', 'sklearn', 'PIL', 'tqdm', 'tensorflow'}; "
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_can_be_loaded_or_are_known():
    assert set(EMBEDDED) | {"auto", "cifar10", "mnist"} <= set(data.names())
    assert list(data.names()) == sorted(data.names())


# image_size


def test_image_size_resizes_images_only():
    loaded = load("digits", image_size=(16, 12))
    assert loaded.train.inputs.shape[1:] == (16, 12, 1)
    with pytest.raises(ValueError, match="Leave it out"):
        load("iris", image_size=16)
    for bad in (0, (3, -1), (1, 2, 3), 10**5):
        with pytest.raises(ValueError, match="positive number"):
            load("digits", image_size=bad)


# .npz files


def arrays(num=20, classes=4, shape=(5, 5, 3), seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (num, *shape), np.uint8),
        np.arange(num, dtype=np.int64) % classes,
    )


def saved(path, **contents):
    np.savez(path, **contents)
    return path


def test_npz_with_both_splits(tmp_path):
    (x, y), (tx, ty) = arrays(), arrays(8, seed=1)
    path = saved(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=tx, y_test=ty)
    for name in (path, str(path)):
        loaded = load(name)
        assert loaded.name == "mine" and str(path) in loaded.source
        assert_same(loaded.train[:2], (x, y))
        assert_same(loaded.test[:2], (tx, ty))
        assert loaded.train.ids[3] == "train_3" and loaded.test.ids[3] == "test_3"


def test_npz_with_one_split_and_names(tmp_path):
    x, y = arrays(50, 2, (3,))
    path = saved(
        tmp_path / "a.npz",
        inputs=x.astype(np.float64),
        labels=np.array(["cat", "dog"])[y],
    )
    loaded = load(path)
    assert loaded.class_names == ("cat", "dog")
    assert loaded.train.inputs.dtype == np.float32
    assert len(loaded.train.labels) == 40 and len(loaded.test.labels) == 10
    rows = [int(name.split("_")[1]) for name in loaded.test.ids]
    assert_same(loaded.test[:2], (x[rows], y[rows]))
    grey = {"inputs": arrays(50, 2, (5, 5))[0], "labels": y}
    path = saved(tmp_path / "b.npz", **grey, class_names=["a", "b"])
    assert load(path).class_names == ("a", "b")
    assert load(path).train.inputs.shape == (40, 5, 5, 1)


X, Y = arrays()
GOOD = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
NOT_FINITE = np.ones((20, 3), np.float32)
NOT_FINITE[4, 1], NOT_FINITE[7] = np.nan, np.inf


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y_test": None}, ValueError, r"missing \['y_test'\]"),
        ({"x_train": X[:-1]}, ValueError, "19 inputs, 20 labels"),
        ({"y_train": Y + 1}, ValueError, "no example of class 0"),
        ({"y_train": Y - 1}, ValueError, "first at row 0: -1"),
        ({"y_train": np.where(Y == 2, 9, Y)}, ValueError, "without gaps"),
        ({"y_train": Y % 3}, ValueError, "no example of class 3"),
        ({"y_train": Y.astype(float)}, TypeError, "astype"),
        ({"y_train": Y[:, None]}, ValueError, "ravel"),
        ({"x_train": X.astype(int)}, TypeError, "uint8"),
        ({"x_train": X[:, :4]}, ValueError, "expected one shape"),
        ({"x_train": X.astype(float)}, TypeError, "one dtype"),
        ({"x_train": X[:, 0, 0, 0]}, ValueError, "expected .N, D."),
        ({"x_train": NOT_FINITE}, ValueError, "1 NaN and 3 infinite .* 2 of 20 rows"),
        ({"x_train": np.full((20, 2), 1e300)}, ValueError, "40 infinite"),
        ({"x_train": np.array([object()] * 20)}, ValueError, "pickled"),
        ({"x_train": X[..., None]}, ValueError, "uint8 .20, 5, 5, 3, 1., expected"),
        ({"x_train": np.float32(3)}, ValueError, "shape .., expected .N, D."),
        ({"y_train": np.int32(3)}, ValueError, "labels have shape .., expected"),
        ({"y_train": Y.astype(str)}, TypeError, "strings and numbers"),
        ({"y_train": Y.astype("M8[s]")}, TypeError, "dtype datetime64"),
        ({"y_test": np.zeros(20, [("a", float)])}, TypeError, "expected integers"),
        ({"class_names": list("aabc")}, ValueError, "repeat"),
        ({"class_names": list("abc")}, ValueError, "outside 0 .. 2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_npz(change, error, message, tmp_path):
    contents = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    path = saved(tmp_path / "bad.npz", **contents)
    with pytest.raises(error, match=message) as told:
        load(path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize(
    "asked",
    [
        {"keep_ratios": [1, 1]},
        {"keep_ratios": {"z": 0.5}},
        {"num_validation": 99},
        {"image_size": 4},
    ],
)
def test_what_is_asked_of_a_file_and_cannot_be_names_it(asked, tmp_path):
    x, y = X.reshape(20, -1).astype(float), Y
    for contents in ({"inputs": x, "labels": y}, GOOD | {"x_train": x, "x_test": x}):
        path = saved(tmp_path / "table.npz", **contents)
        with pytest.raises(ValueError, match=f"{path}: {next(iter(asked))}"):
            load(path, **asked)


@pytest.mark.parametrize("rates", [[], ["--learning-rate=.1", "--weight-decay=0"]])
def test_a_file_whose_shape_suits_no_such_network_is_named(tmp_path, capsys, rates):
    path = saved(tmp_path / "table.npz", inputs=X.reshape(20, -1) / 255, labels=Y)
    words = [f"--dataset={path}", "--model=gal_cnn", f"--output={tmp_path}", *rates]
    assert run_command([*words, "--preset=smoke", "--initial=4"]) == 1
    error = capsys.readouterr().err
    assert f"--dataset={path} with --model gal_cnn: inputs have shape" in error


def test_npz_of_one_example_a_class(tmp_path):
    path = saved(tmp_path / "few.npz", inputs=X[:4], labels=Y[:4])
    with pytest.raises(ValueError, match=f"{path}: 4 rows of 4 classes, none"):
        load(path)


def test_npz_whose_header_or_members_are_not_true(tmp_path):
    members = {"none": (b"x", "missing")}
    for name, size, message in (("vast", 13, "memory"), ("endless", 30, "be read")):
        header = io.BytesIO()
        shape = {"descr": "<f8", "fortran_order": False, "shape": (10**size,)}
        np.lib.format.write_array_header_1_0(header, shape)
        members[name] = header.getvalue(), message
    for name, (content, message) in members.items():
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as file:
            file.writestr("inputs.npy", content)
            file.writestr("labels.npy", content)
        with pytest.raises(ValueError, match=f"{name}.npz.*{message}"):
            load(tmp_path / f"{name}.npz")


def test_npz_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match="text.npz"):
        load(tmp_path / "text.npz")
    whole = saved(tmp_path / "cut.npz", **GOOD).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="not a whole"):
        load(tmp_path / "cut.npz")
    flipped = bytearray(whole)
    flipped[len(whole) // 4] ^= 1
    (tmp_path / "flipped.npz").write_bytes(flipped)
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path / "flipped.npz")
