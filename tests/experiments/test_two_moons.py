"""Two moons: a study, and pictures of what its trials believed."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import two_moons
from jaxal.runs import store


@pytest.mark.slow
def test_a_small_one_leaves_runs_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(two_moons, "FINE", 9)
    words = ["--models", "gp", "--strategies", "margin", "--seeds", "0", "--rows", "40"]
    two_moons.main([*words, "--rounds", "2", "--folder", str(tmp_path)])
    rounds = store.read_lines(tmp_path / "model=gp,margin-seed0" / "rounds.jsonl")
    assert [record["labels"] for record in rounds] == [4, 8]
    with Image.open(tmp_path / "queries.gif") as film:
        assert film.n_frames == 2
    for name in ("boundaries", "uncertainty"):
        with Image.open(tmp_path / f"{name}.png") as figure:
            assert np.asarray(figure).std() > 20


def test_a_picture_shows_what_the_trial_said(tmp_path):
    """Trained again on the rows of a round, a model is as good as it was there."""
    options = two_moons.Options(
        folder=tmp_path, models="gp", strategies="margin", seeds=0, rows=40, rounds=3
    )
    game, points = two_moons.Moons(options), two_moons.moons(60, 1)[0]
    state = game.make("gp", "margin").init(two_moons.stream(0, "weights"), game.pool)
    rows = [0, 1, 2, 3, 10, 11, 12, 13]
    samples = game.samples("gp", 0, rows, jnp.asarray(points))
    assert samples.shape == (20, 60, 2) and not bool(state.pool.is_labelled.any())
    known, targets = game.points[rows], 2.0 * game.labels[rows] - 1
    gaps = lambda a, b: np.exp(-2 * ((a[:, None] - b[None]) ** 2).sum(-1))  # noqa: E731
    told = gaps(points, known) @ np.linalg.solve(
        gaps(known, known) + 0.05 * np.eye(8), targets
    )
    spread = np.abs(told) > 0.7
    is_second = np.asarray(samples.mean(0))[:, 1] > 0
    assert spread.sum() > 5 and (is_second == (told > 0))[spread].all()
