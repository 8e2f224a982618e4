"""One recipe: what is asked for, what follows, and what is refused or said."""

import dataclasses
import tomllib

import jax
import pytest

from jaxal.app import launch, presets
from jaxal.app.presets import KINDS, PRESETS
from jaxal.app.recipe import Recipe, Training, as_record
from jaxal.app.settling import bent, label_plan, settle
from jaxal.runs.errors import RunError
from jaxal.settings import changed, settings_of
from jaxal.words import parse

SHAPES = {"photo": (32, 32, 3), "small": (28, 28, 1), "table": (4,)}


def settled(recipe, kind="table", num_rows=1000, num_given=None):
    rows = jax.ShapeDtypeStruct((num_rows, *SHAPES[kind]), "float32")
    return settle(recipe, rows, 3, num_given)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_beats_the_preset_and_nothing_is_left_open(preset, kind):
    asked = Recipe(preset=preset, epochs=7, pool_size=0, initial=5, query_size=5)
    recipe = settled(asked, kind)
    given = {"epochs": 7, "pool_size": 1000, "initial": 5, "query_size": (5,)}
    expected = PRESETS[preset][kind] | given
    assert expected.items() <= vars(recipe).items() | {("test_size", 512)}
    may_be_none = {"budget", "test_size", "name", "data_dir"}
    may_be_none |= {"image_size", "initial_rows", "stop", "best_by", "patience", "tune"}
    assert {n for n, v in vars(recipe).items() if v is None} <= may_be_none


def test_presets_are_of_settings_that_give_way_to_them():
    known = settings_of(Recipe)
    for recipe in (row for preset in PRESETS.values() for row in preset.values()):
        assert all(known[name].default is None for name in recipe)
        changed(Recipe(), recipe)  # each in its range


@pytest.mark.parametrize(
    ("change", "learner"),
    [
        ({}, "solved"),
        ({"learner": "trained"}, "trained"),
        ({"learning_rate": 0.1}, "trained"),
        ({"refit": "retrain"}, "trained"),
        ({"posterior": "bootstrap"}, "trained"),
        ({"posterior": "laplace", "dropout": 0.0}, "solved"),
        ({"model": "mlp"}, "trained"),
    ],
)
def test_a_linear_model_is_solved_unless_training_is_asked_for(change, learner):
    asked = Recipe(preset="cpu", **{"model": "logistic_regression"} | change)
    recipe = settled(asked)
    assert recipe.learner == learner
    assert recipe.measure == ("network" if learner == "solved" else "predictive")
    assert (recipe.learning_rate is None) == (learner == "solved")


def test_what_is_about_training_is_no_option_of_what_is_solved():
    assert "epochs" in {f.name for f in dataclasses.fields(Training)}
    for change in ({"model": "mlp"}, {"epochs": 3}, {"posterior": "ensemble"}):
        asked = {"model": "logistic_regression", "learner": "solved"} | change
        with pytest.raises(RunError, match="--learner solved"):
            settled(Recipe(**asked))


def test_smoke_is_a_network_that_compiles_in_a_moment():
    assert {recipe["model"] for recipe in PRESETS["smoke"].values()} == {"mlp"}


def test_the_default_preset_follows_the_platform():
    assert presets.default_preset("cpu") == "cpu"
    assert presets.default_preset("gpu") == presets.default_preset("tpu") == "standard"


def test_the_plan_follows_a_schedule_and_ends_with_the_pool():
    asked = Recipe(preset="smoke", initial=10, query_size=(5, 20), rounds=4)
    assert label_plan(settled(asked)) == [10, 15, 35, 55, 75]
    recipe = settled(asked, num_rows=40)
    assert label_plan(recipe) == [10, 15, 35, 40]
    assert recipe.rounds == 3


@pytest.mark.parametrize(
    ("change", "plan", "sizes", "said"),
    [
        ({"query_size": 2000}, [20, 512], (492,), ["--query-size is (492,)"]),
        ({"query_size": (100, 2000), "rounds": 9}, [20, 120, 512], (100, 492), [
            "--query-size is (100, 492), not (100, 2000)", "--rounds is 2, not 9"]),
        ({"initial": 512}, [512], (1,), []),
        ({"budget": 70}, [20, 40, 60, 70], (20,), []),
        ({"budget": 70, "rounds": 9}, [20, 40, 60, 70], (20,), ["--rounds is 3, not"]),
        ({"budget": 20}, [20], (1,), []),
        ({"budget": 9999, "rounds": 1}, [20, 40], (20,), ["--budget is 40, not 9999"]),
        ({"budget": 9999, "query_size": 500}, [20, 512], (492,), [
            "--query-size is (492,)", "--budget is 512, not 9999: the run ends with 512"
            " labels of 512 rows, in 2 rounds."]),
        ({"pool_size": 2000, "rounds": 1}, [20, 40], (20,), ["--pool-size is 1000"]),
        ({"test_size": 99}, [20, 40, 60], (20,), ["--test-size is 50, not 99"]),
        ({"test_size": 0}, [20, 40, 60], (20,), []),
    ],
)  # fmt: skip
def test_what_is_promised_is_what_can_be_bought_and_what_gave_way_is_said(
    change, plan, sizes, said
):
    asked = Recipe(preset="smoke", **change)
    recipe = settled(asked, "small")
    assert label_plan(recipe) == plan
    assert (recipe.query_size, recipe.rounds) == (sizes, len(plan) - 1)
    notes = bent(asked, recipe, num_test=50)
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))


def test_what_gave_way_is_said_at_the_start(tmp_path, capsys):
    recipe = Recipe(dataset="iris", preset="smoke", strategy="random", min_steps=1)
    recipe = changed(recipe, {"budget": 999, "rounds": 0, "output": tmp_path})
    launch.launch(recipe)
    error = capsys.readouterr().err
    assert "--budget is 20, not 999: the run ends with 20 labels of 120 rows" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": 50}, "--initial is 50 and the pool has 40 rows"),
        ({"budget": 5}, "--budget is 5, less than the 10 labels to start with"),
    ],
)
def test_more_to_start_with_than_there_can_be_is_refused(change, message):
    with pytest.raises(RunError, match=message):
        settled(Recipe(preset="cpu", **change), num_rows=40)


@pytest.mark.parametrize("more", [{"initial": 3}, {"initial_kind": "balanced"}])
def test_two_ways_to_say_the_first_rows_are_one_too_many(more):
    with pytest.raises(RunError, match="Leave --initial and --initial-kind out"):
        settled(Recipe(initial_rows="some.txt", **more), num_given=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "--epochs is 0, expected at least 1"),
        ({"query_size": (5, 0)}, "--query-size"),
        ({"query_size": ()}, "--query-size has no values"),
        ({"label_noise": 1.5}, "--label-noise is 1.5"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"dropout": float("nan")}, "--dropout is nan"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0"),
        ({"test_size": -5}, "--test-size is -5, expected at least 0"),
        ({"budget": 0}, "--budget is 0, expected at least 1"),
        ({"seeds": (0, 1, 0)}, "twice"),
        ({"epochs": True}, "--epochs is True, expected a whole number"),
        ({"image_size": 5}, "--image-size has 1 values, expected 2"),
    ],
)
def test_numbers_out_of_range_name_the_flag_however_they_come(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)
    with pytest.raises(ValueError, match=message):
        changed(Recipe(), change)


def test_what_decides_the_result_is_recorded_and_nothing_else():
    record = as_record(settled(Recipe(preset="cpu", query_size=(5, 9))))
    assert record["query_size"] == [5, 9]
    aside = {"name", "output", "overwrite", "data_dir", "seeds", "plugin"}
    assert record.keys() == {f.name for f in dataclasses.fields(Recipe)} - aside


def test_a_file_says_what_the_command_line_says(tmp_path):
    path, more = tmp_path / "mine.toml", tmp_path / "more.toml"
    path.write_text(
        'strategy = "margin"\nquery-size = [5, 10]\nepochs = 3\ndropout = 0'
    )
    more.write_text('epochs = 4\nseeds = 2\noutput = "here"')
    words = ["--config", str(path), str(more), "--dropout", "0.5"]
    by_words = "--strategy margin --query-size 5 10 --epochs 4 --seeds 2 --output here"
    assert parse(Recipe(), words) == parse(
        Recipe(), [*by_words.split(), "--dropout=.5"]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "There is no setting 'epoch'. Did you mean 'epochs'?"),
        ("epochs = 0", "--epochs is 0, expected at least 1"),
        ('epochs = "3"', "--epochs is '3', expected a whole number"),
        ("epochs = 3.5", "--epochs is 3.5, expected a whole number"),
        ("[training]\nepochs = 3", "There is no setting 'training'"),
        ("query-size = 5\nquery_size = 6", "there twice"),
        ("epochs = 1000000000000", "at most 1000000"),
        ("seeds = " + "[" * 100_000, "cannot be read: "),
        ("epochs = ", "mine.toml cannot be read: Invalid value (at end of document)"),
        (None, "mine.toml cannot be read"),
    ],
)
def test_files_that_cannot_be_are_refused_by_name(text, message, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        parse(Recipe(), [f"--config={path}"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert str(path) in error and message in error


def test_a_record_read_back_is_the_recipe_it_was():
    recipe = settled(Recipe(preset="cpu"))
    lines = (f"{n} = {v!r}" for n, v in as_record(recipe).items() if v is not None)
    again = changed(Recipe(), tomllib.loads("\n".join(lines)))
    assert as_record(again) == as_record(recipe)


def test_a_run_begun_before_the_recipe_goes_on():
    from jaxal.runs.provenance import complete, differences

    recipe = Recipe(dataset="iris", preset="smoke", strategy="random")
    settings = launch.prepare(recipe, 0)[0].settings
    before = {**settings, "strategy_options": []}  # which every run used to say
    assert not differences(complete(before), complete(settings))
    # A program said all that there was to say.
    said = {"preset": "program", "seed": 3}
    assert complete(said) == said
