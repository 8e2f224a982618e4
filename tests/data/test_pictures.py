"""Pictures of a folder: what a person sees is loaded, or a sentence says why not."""

import os
import socket
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxal.data import load

CLASSES = ("cat", "dog")
SHAPE = (4, 6)


def numbers(seed, *channels, high=256, dtype=np.uint8):
    shape = (*SHAPE, *channels)
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def folder_of(root, make, suffix="png", num=5):
    """A folder of pictures that `make` returns, saved with their options."""
    for c, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(num):
            picture, options = make(10 * c + i)
            picture.save(root / name / f"{i}.{suffix}", **options)
    return root


def by_id(root, tmp_path):
    loaded = load(root, data_dir=tmp_path / "data")
    splits = loaded.train, loaded.test
    return {name: row for s in splits for row, _, name in zip(*s, strict=True)}


def plain(array, mode=None):
    picture = Image.fromarray(array)
    return picture if mode is None else picture.convert(mode)


# Depth


@pytest.mark.parametrize(
    ("suffix", "high", "dtype"),
    [
        ("png", 65_536, np.uint16),
        ("png", 4_096, np.uint16),
        ("tif", 65_536, np.uint16),
        ("tif", 1_000, np.int32),
        ("tif", 2**31 - 1, np.int32),
        ("tif", 2, np.float32),
        ("tif", 1_000_000, np.float32),
    ],
)
def test_more_than_eight_bits_are_refused_not_cut(suffix, high, dtype, tmp_path):
    def make(seed):
        return plain(numbers(seed, high=high, dtype=dtype)), {}

    root = folder_of(tmp_path / "deep", make, suffix)
    with pytest.raises(ValueError, match=rf"cat/0.{suffix} has more than 8 bits.*npz"):
        load(root, data_dir=tmp_path)


def png_of(depth, kind, channels):
    """A PNG with any depth, which Pillow does not write: one row of zeros."""
    head = struct.pack(">IIBBBBB", 1, 1, depth, kind, 0, 0, 0)
    data = zlib.compress(bytes(1 + channels * depth // 8))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(both))
        for name, body in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
        for both in (name + body,)
    )


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_colours_of_sixteen_bits_are_refused_too(kind, channels, tmp_path):
    root = folder_of(tmp_path / "deep", lambda seed: (plain(numbers(seed, 3)), {}))
    (root / "dog" / "3.png").write_bytes(png_of(16, kind, channels))
    with pytest.raises(ValueError, match=r"dog/3.png has more than 8 bits"):
        load(root, data_dir=tmp_path)


def test_so_are_those_of_a_portable_pixmap(tmp_path):
    root = folder_of(tmp_path / "deep", lambda seed: (plain(numbers(seed, 3)), {}))
    (root / "dog" / "3.ppm").write_bytes(b"P6 1 1 1023\n" + bytes(6))
    with pytest.raises(ValueError, match=r"dog/3.ppm has more than 8 bits"):
        load(root, data_dir=tmp_path)


# Colour and transparency


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_colours_are_those_a_person_sees(mode, tmp_path):
    pictures = [plain(numbers(seed, 3), mode) for seed in range(15)]
    suffix = "tif" if mode == "CMYK" else "png"
    root = folder_of(tmp_path / "set", lambda seed: (pictures[seed], {}), suffix)
    rows, seen = by_id(root, tmp_path), "L" if mode in "1L" else "RGB"
    for c, name in enumerate(CLASSES):
        for i in range(5):
            wanted = np.asarray(pictures[10 * c + i].convert(seen)).reshape(*SHAPE, -1)
            np.testing.assert_array_equal(rows[f"{name}/{i}.{suffix}"], wanted)


def palette(seed, **options):
    picture = plain(numbers(seed, 3), "P")
    used = int(np.asarray(picture)[0, 0])
    return picture, {k: used if v is None else v for k, v in options.items()}


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: (plain(numbers(seed, 4)), {}),
        lambda seed: (plain(numbers(seed, 2)), {}),
        lambda seed: palette(seed, transparency=None),
        lambda seed: palette(seed, transparency=bytes([9] * 256)),
        lambda seed: (plain(numbers(1, high=9)), {"transparency": 3}),
        lambda seed: (
            plain(numbers(1, 3)),
            {"transparency": tuple(numbers(1, 3)[0, 0].tolist())},
        ),
    ],
    ids=["RGBA", "LA", "palette", "palette of bytes", "a grey", "a colour"],
)
def test_what_is_transparent_is_refused(make, tmp_path):
    root = folder_of(tmp_path / "set", make)
    with pytest.raises(ValueError, match=r"cat/0.png is transparent.*background"):
        load(root, data_dir=tmp_path)


@pytest.mark.parametrize(("channels", "kept"), [(4, 3), (2, 1)])
def test_an_alpha_channel_that_hides_nothing_is_left_out(channels, kept, tmp_path):
    arrays = [numbers(seed, channels) for seed in range(15)]
    for array in arrays:
        array[..., -1] = 255
    root = folder_of(tmp_path / "set", lambda seed: (plain(arrays[seed]), {}))
    found = by_id(root, tmp_path)["dog/2.png"]
    np.testing.assert_array_equal(found, arrays[12][..., :kept])


# Frames, and which way is up


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_several_frames_are_no_picture(suffix, tmp_path):
    def make(seed):
        more = [plain(numbers(seed + i, 3)) for i in (100, 200)]
        return plain(numbers(seed, 3)), {"save_all": True, "append_images": more}

    root = folder_of(tmp_path / "moving", make, suffix)
    with pytest.raises(
        ValueError, match=rf"cat/0.{suffix} has 3 frames .*expected one"
    ):
        load(root, data_dir=tmp_path)


def test_previews_of_a_camera_are_no_frames(tmp_path):
    white, black = (np.full((*SHAPE, 3), value, np.uint8) for value in (255, 0))

    def make(seed):
        more = {"save_all": True, "append_images": [plain(black)]}
        return plain(white), {"format": "MPO", **more}

    rows = by_id(folder_of(tmp_path / "set", make, "jpg"), tmp_path)
    assert all((row == 255).all() for row in rows.values())


TURNS = {  # EXIF's orientation: how a person sees rows of pixels as they are stored
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_pictures_are_turned_as_their_camera_says(turn, suffix, tmp_path):
    def make(seed):
        exif = Image.Exif()
        exif[0x112] = turn
        lossless = {"lossless": True} if suffix == "webp" else {}
        return plain(numbers(seed, 3)), {"exif": exif, **lossless}

    rows = by_id(folder_of(tmp_path / "set", make, suffix), tmp_path)
    for c, name in enumerate(CLASSES):
        wanted = TURNS[turn](numbers(10 * c + 4, 3))
        np.testing.assert_array_equal(rows[f"{name}/4.{suffix}"], wanted)


# What is no picture


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_decoded(side, tmp_path):
    root = folder_of(tmp_path / "set", lambda seed: (plain(numbers(seed, 3)), {}))
    small = (root / "dog" / "1.png").read_bytes()
    head = small[12:16] + struct.pack(">II", side, side) + small[24:29]
    whole = small[:12] + head + struct.pack(">I", zlib.crc32(head)) + small[33:]
    (root / "dog" / "1.png").write_bytes(whole)
    with pytest.raises(ValueError, match=r"dog/1.png says it is too large"):
        load(root, data_dir=tmp_path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # such a name may have a hundred characters only
        made.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        bound,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere"),
    ],
    ids=["fifo", "socket", "folder", "device", "dangling"],
)
@pytest.mark.parametrize("split", ["", "train"])
def test_what_is_no_plain_file_is_refused_unread(make, split, tmp_path):
    parts = [tmp_path / "set" / part for part in ([split, "test"] if split else [""])]
    for root in parts:
        folder_of(root, lambda seed: (plain(numbers(seed, 3)), {}))
    make(parts[0] / "dog" / "odd.png")
    with pytest.raises(ValueError, match=r"dog holds 1 entr.* odd.png.*plain files"):
        load(tmp_path / "set", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "owl").symlink_to("nowhere"), "owl is a link to nothing"),
        (
            lambda root: os.rename(root / "dog", os.fsencode(root) + b"/d\xff"),
            "no UTF-8",
        ),
        (
            lambda root: (root / "dog" / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0"),
            "a.png is damaged, or not an image .*identify",
        ),
    ],
)
def test_what_would_be_lost_or_run_is_refused(spoil, message, tmp_path):
    root = folder_of(tmp_path / "set", lambda seed: (plain(numbers(seed, 3)), {}))
    spoil(root)
    with pytest.raises(ValueError, match=message):
        load(root, data_dir=tmp_path)


@pytest.mark.parametrize("name", ["unlabelled", "Unlabeled"])
@pytest.mark.parametrize(("split", "place"), [("", ""), ("train", ""), ("train",) * 2])
def test_what_is_unlabelled_is_no_class(name, split, place, tmp_path):
    for part in [split, "test"] if split else [""]:
        folder_of(
            tmp_path / "set" / part, lambda seed: (plain(numbers(seed, 3)), {}), num=2
        )
    (tmp_path / "set" / place / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is no class.*rename"):
        load(tmp_path / "set", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["test", "Test", "val", "Validation", "Train"])
def test_a_split_alone_is_no_class(name, tmp_path):
    root = folder_of(tmp_path / "set", lambda seed: (plain(numbers(seed, 3)), {}))
    folder_of(root / name, lambda seed: (plain(numbers(seed, 3)), {}))
    with pytest.raises(
        ValueError, match=f"{name} has the name of a split and would be"
    ):
        load(root, data_dir=tmp_path)


def test_what_lies_beside_train_and_test_is_said_and_is_no_class(tmp_path):
    def make(seed):
        return plain(numbers(seed, 3)), {}

    for name in ("train", "test"):
        folder_of(tmp_path / "set" / name, make)
    plainly = load(tmp_path / "set", data_dir=tmp_path)
    for name in ("val", "owl"):
        folder_of(tmp_path / "set" / name, make)
    found = load(tmp_path / "set", data_dir=tmp_path)
    assert found.source.endswith("; not read: owl/, val/")
    assert found.class_names == plainly.class_names
    assert found.fingerprint == plainly.fingerprint


def test_images_without_a_class_are_not_passed_over(tmp_path):
    root = folder_of(tmp_path / "set", lambda seed: (plain(numbers(seed, 3)), {}))
    (root / "README.txt").write_text("where they are from")
    assert len(by_id(root, tmp_path)) == 10
    plain(numbers(0, 3)).save(root / "stray.png")
    with pytest.raises(ValueError, match=r"1 images in no class .* stray.png"):
        load(root, data_dir=tmp_path)


def test_one_example_a_class_is_too_few_to_measure_on(tmp_path):
    root = folder_of(
        tmp_path / "few", lambda seed: (plain(numbers(seed, 3)), {}), num=1
    )
    with pytest.raises(ValueError, match=r"few: 2 rows of 2 classes, none .* two exam"):
        load(root, data_dir=tmp_path)


def test_long_names_are_no_trouble_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    root, data = tmp_path / ("long" * 60), tmp_path / ("data" * 50) / ("data" * 50)
    data.mkdir(parents=True)
    (data / "jaxal_cache").write_text("a file in the way")
    folder_of(root, lambda seed: (plain(numbers(seed)), {}))
    assert len(by_id(root, tmp_path)) == 10
    assert len(load(root, data_dir=data).train.labels) == 8
