"""A folder of images: five drawn classes become a study with macro F1 and a map."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from experiments import folder


def test_macro_f1_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels, said = rng.integers(0, 4, (2, 50))
    expected = f1_score(labels, said, average="macro")
    np.testing.assert_allclose(folder.macro_f1(said, labels, 4), expected)
    assert folder.macro_f1(np.zeros(4), np.zeros(4), 2) == 0.5


def test_shapes_are_drawn_once_and_differ(tmp_path):
    folder.draw_shapes(tmp_path, count=2)
    files = sorted(tmp_path.glob("*/*.png"))
    assert {file.parent.name for file in files} == set(folder.SHAPES)
    assert len({file.read_bytes() for file in files}) == len(files) == 10


@pytest.mark.slow
def test_images_become_a_study(tmp_path, capsys):
    images = folder.draw_shapes(tmp_path / "images", count=10, size=24)
    words = ["--images", str(images), "--strategies", "typiclust", "--seeds", "0"]
    small = "--image-size 16 --initial 5 --query-size 5 --rounds 2 --min-steps 5"
    folder.main([*words, *small.split(), "--folder", str(tmp_path / "study")])
    assert "| typiclust | " in capsys.readouterr().out
    with Image.open(tmp_path / "study" / "map.png") as figure:
        assert np.asarray(figure).std() > 20
