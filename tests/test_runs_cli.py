"""The command line: what it accepts, what it refuses, and what it says."""

import dataclasses

import numpy as np
import pytest

from jaxal.runs import cli, config, launch, presets
from jaxal.runs.config import Options, Overrides
from jaxal.runs.presets import PRESETS, Recipe
from jaxal.runs.store import RunError

PLUGIN = """
import jax.numpy as jnp
from jaxal import by_score, register

register("smallest_logit_of_{stem}", by_score(lambda logits: -jnp.min(logits, axis=-1)))
"""


def test_every_setting_of_a_recipe_can_be_overridden_and_nothing_else():
    overrides = [field.name for field in dataclasses.fields(Overrides)]
    assert sorted(overrides) == sorted(f.name for f in dataclasses.fields(Recipe))
    assert all(f.default is None for f in dataclasses.fields(Overrides))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ["photo", "small", "table"])
def test_flags_beat_the_preset_and_only_where_given(preset, kind):
    recipe = config.resolve_recipe(Overrides(epochs=7, pool_size=0), preset, kind)
    expected = dataclasses.replace(PRESETS[preset][kind], epochs=7, pool_size=None)
    assert recipe == expected


def test_the_default_preset_follows_the_platform():
    assert presets.default_preset("cpu") == "cpu"
    assert presets.default_preset("gpu") == presets.default_preset("tpu") == "standard"


def test_the_plan_follows_a_schedule_and_ends_with_the_pool():
    recipe = dataclasses.replace(
        PRESETS["smoke"]["table"], initial=10, query_size=(5, 20), rounds=4
    )
    assert presets.label_plan(recipe) == [10, 15, 35, 55, 75]
    recipe = presets.fit_to_pool(recipe, 40)
    assert presets.label_plan(recipe) == [10, 15, 35, 40, 40]


def test_a_large_initial_set_is_refused():
    recipe = dataclasses.replace(PRESETS["smoke"]["table"], initial=50)
    with pytest.raises(RunError, match="--initial is 50 and the pool has 40 rows"):
        presets.fit_to_pool(recipe, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "--epochs is 0, expected at least 1"),
        ({"query_size": (5, 0)}, "--query-size"),
        ({"label_noise": 1.5}, "--label-noise is 1.5"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0"),
    ],
)
def test_numbers_out_of_range_name_the_flag(change, message):
    with pytest.raises(RunError, match=message):
        config.resolve_recipe(Overrides(**change), "cpu", "table")


def test_help_is_worth_reading(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    drawn = capsys.readouterr().out
    text = " ".join(drawn.replace("│", " ").split())  # lines are broken to fit
    for field in (*dataclasses.fields(Options), *dataclasses.fields(Overrides)):
        if field.name != "recipe":
            assert f"--{field.name.replace('_', '-')}" in text, field.name
    assert "standard on an accelerator" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strategy=bagde"], "badge"),
        (["--dataset=cifar11"], "cifar10"),
        (["--dataset=digits", "--model=resnet-18"], "resnet18"),
        (["--dataset=iris", "--strategy=bald", "--dropout=0"], "--posterior ensemble"),
        (["--dataset=digits", "--name=../up"], "--output"),
        (["--dataset=digits", "--plugin", "nowhere.py"], "nowhere.py"),
        (["--dataset=digits", "--strategy-options", "first"], "NAME=VALUE"),
    ],
)
def test_mistakes_name_the_cure_without_a_traceback(words, message, capsys, tmp_path):
    status = cli.main(["run", "--preset=smoke", f"--output={tmp_path}", *words])
    assert status == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_unknown_commands_are_told(capsys):
    assert cli.main(["rum"]) == 2
    assert "no command 'rum'" in capsys.readouterr().err
    assert cli.main([]) == 0
    assert "report" in capsys.readouterr().out


def test_lists(capsys):
    assert cli.main(["strategies"]) == 0
    assert {"badge", "random"} <= set(capsys.readouterr().out.split())
    assert cli.main(["datasets"]) == 0
    assert {"cifar10", "digits"} <= set(capsys.readouterr().out.split())


def test_a_plugin_makes_its_strategy_known(tmp_path):
    from jaxal.strategies import strategy_names

    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(stem="mine"))
    cli.load_plugins([path])
    assert "smallest_logit_of_mine" in strategy_names()
    options = Options(
        strategy="smallest_logit_of_mine",
        dataset="digits",
        preset="smoke",
        plugin=(path,),
    )
    made, _ = launch.prepare(options, 0)
    assert made.settings["strategy"] == "smallest_logit_of_mine"
    checksum = made.settings["plugins"]["mine.py"]
    path.write_text(PLUGIN.format(stem="mine") + "\n")
    changed, _ = launch.prepare(options, 0)
    assert changed.settings["plugins"]["mine.py"] != checksum


def test_strategy_and_seed_decide_what_they_should():
    options = Options(dataset="iris", preset="smoke", recipe=Overrides(pool_size=60))
    badge, _ = launch.prepare(options, 0)
    margin, _ = launch.prepare(dataclasses.replace(options, strategy="margin"), 0)
    other, _ = launch.prepare(options, 1)
    # Another strategy starts from the same pool and rows; another seed does not.
    assert badge.settings["pool"] == margin.settings["pool"]
    np.testing.assert_array_equal(badge.initial_rows, margin.initial_rows)
    assert badge.key_rounds == margin.key_rounds
    assert badge.settings["pool"] != other.settings["pool"]
    assert badge.initial_rows.tolist() != other.initial_rows.tolist()


def test_streams_of_a_seed_are_apart():
    import jax

    from jaxal.runs.experiment import STREAMS, stream

    keys = {
        tuple(jax.random.key_data(stream(seed, name)).tolist())
        for seed in range(3)
        for name in STREAMS
    }
    assert len(keys) == 3 * len(STREAMS)


def test_moments_are_those_of_pixels_between_zero_and_one():
    from jaxal.runs.experiment import moments

    images = np.random.default_rng(0).integers(0, 256, (5000, 4, 4, 3)).astype(np.uint8)
    images[..., 2] = 51
    mean, std = moments(images)
    pixels = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std[:2], pixels.std(0)[:2], rtol=1e-4)
    assert std[2] == 1
