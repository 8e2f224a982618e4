"""The benchmark of learners, in short: no default may lose two points unseen."""

import json
import pathlib
import sys

import pytest

FOLDER = str(pathlib.Path(__file__).parents[2] / "benchmarks")
# Means of five seeds, accuracy in per cent; of diabetes, root mean squared errors.
RECORDED = {
    ("wine", 20, "jaxal logistic_head"): 95.5,
    ("wine", 100, "jaxal logistic_head"): 98.6,
    ("digits", 20, "jaxal logistic_head"): 58.5,
    ("digits", 100, "jaxal logistic_head"): 88.4,
    ("diabetes", 20, "jaxal ridge_head"): 71.4,
    ("diabetes", 100, "jaxal ridge_head"): 56.2,
    ("diabetes", 20, "jaxal gaussian_process_head"): 74.0,
    ("diabetes", 100, "jaxal gaussian_process_head"): 58.0,
}


@pytest.mark.slow
def test_no_default_has_lost_two_points(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [FOLDER, *sys.path])
    import learners

    page = tmp_path / "out.md"
    arguments = "--data wine digits diabetes --labels 20 100 --seeds 5 --learners jaxal"
    rows = learners.main([*arguments.split(), f"--markdown={page}"])
    found = {(row["data"], row["labels"], row["learner"]): row for row in rows}
    assert found.keys() == RECORDED.keys()
    for key, recorded in RECORDED.items():
        row = found[key]
        assert row["status"] == "ok"
        if "rmse" in row:
            assert row["rmse"] < recorded + 2, key
        else:
            assert row["accuracy"] > recorded - 2, key
    assert "## wine" in page.read_text()


def test_the_page_shows_what_was_measured(monkeypatch):
    monkeypatch.setattr(sys, "path", [FOLDER, *sys.path])
    import learners_page

    root = pathlib.Path(FOLDER).parent
    for name in ("learners", "learners_arrays", "learners_diamonds"):
        file = root / "benchmarks" / "results" / f"{name}.json"
        results = json.loads(file.read_text())["results"]
        table = "\n".join(learners_page.summary(results))
        for page in (root / "docs" / "learners.md", file.with_suffix(".md")):
            assert table in page.read_text()
