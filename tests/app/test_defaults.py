"""Every kind of data with every network and posterior trains, as nobody asked for."""

import numpy as np
import pytest

from jaxal.app import launch
from jaxal.app.choices import POSTERIORS
from jaxal.app.recipe import Recipe
from jaxal.models import MODELS
from jaxal.runs import Silent, runner
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles

CHANCE = {"table": 1 / 3, "small": 1 / 10, "photo": 1 / 3}


def photographs(path):
    """Three classes that differ in the colour of a patch somewhere."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = rng.normal(100, 20, (240, 20, 20, 3))
    for image, label in zip(images, labels, strict=True):
        x, y = rng.integers(0, 12, 2)
        image[x : x + 8, y : y + 8, label] += 90
    np.savez(path, inputs=images.clip(0, 255).astype(np.uint8), labels=labels)
    return str(path)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    photos = photographs(tmp_path_factory.mktemp("photos") / "patches.npz")
    return {"table": "iris", "small": "digits", "photo": photos}


def finished(recipe, folder):
    made, settled, _ = launch.prepare(recipe, 0)
    records = runner.run(made, RunFiles(folder), Silent())
    return records, settled


@pytest.mark.slow
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", CHANCE)
def test_it_trains_by_default(kind, model, posterior, names, tmp_path):
    few = {} if posterior.startswith("laplace") else {"num_samples": 3}  # for time
    recipe = Recipe(
        dataset=names[kind],
        preset="cpu",
        strategy="random",
        model=model,
        posterior=posterior,
        **few,
        initial=40,
        rounds=0,
        width=8 if model == "resnet18" else None,
    )
    if kind == "table" and model in ("resnet18", "gal_cnn", "bayesian_cnn"):
        with pytest.raises(RunError, match=f"--model {model}: .*shape"):
            launch.prepare(recipe, 0)
        return
    if posterior == "mc_dropout" and model == "logistic_regression":
        with pytest.raises(
            RunError, match="--posterior ensemble, bootstrap or laplace"
        ):
            launch.prepare(recipe, 0)  # it has no dropout
        return
    (record,), settled = finished(recipe, tmp_path / "run")
    assert record["is_last"] and record["labels"] == 40
    assert record["accuracy"] > CHANCE[kind] + 0.1, settled
