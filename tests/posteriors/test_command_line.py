"""Posteriors by name on the command line, and in what a run writes."""

import pytest

from jaxal.app import cli
from jaxal.runs import store

WORDS = ["run", "--dataset=iris", "--preset=smoke", "--strategy=bald", "--rounds=1"]
WORDS += ["--num-samples=4", "--min-steps=5"]


SLOW = [
    pytest.param(kind, marks=pytest.mark.slow) for kind in ("bootstrap", "laplace_full")
]


@pytest.mark.parametrize("kind", ["laplace", *SLOW, "mc_dropout"])
def test_a_posterior_by_name_is_run_and_recorded(kind, tmp_path):
    more = [f"--posterior={kind}", "--num-validation=20", "--temperature=validation"]
    assert cli.main([*WORDS, *more, f"--output={tmp_path}"]) == 0
    (folder,) = tmp_path.glob("*-seed0")
    files = store.RunFiles(folder)
    settings = store.read_json(files.config)["settings"]
    assert settings["posterior"] == kind and settings["measure"] == "predictive"
    rounds = store.read_lines(files.rounds)
    assert [record["measured"] for record in rounds] == ["predictive"] * 2
    assert all(0 <= record["validation"]["accuracy"] <= 1 for record in rounds)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dropout=0"], "--posterior ensemble, bootstrap or laplace"),
        (["--model=logistic_regression"], "do not depend on the key"),
        (["--posterior=deterministic"], "the posterior has 1"),
        (["--posterior=laplace", "--prior-precision=0"], "--prior-precision is 0"),
        (["--temperature=validation"], "--num-validation"),
        (["--posterior=laplac"], "Did you mean 'laplace'"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_trained(
    words, message, tmp_path, capsys
):
    try:
        status = cli.main([*WORDS, *words, f"--output={tmp_path}"])
    except SystemExit as error:
        status = error.code
    assert status in (1, 2)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in said
    assert not list(tmp_path.glob("*-seed0"))
