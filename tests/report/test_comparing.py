"""What is compared, by which metric, over what: as runs say, and refused by name."""

import csv
import io
import json

import numpy as np
import pytest

from jaxal.report import command, measures
from jaxal.report.axes import Prices, positions
from jaxal.report.figures import curves
from jaxal.report.gathering import CEILING, gather
from jaxal.report.measures import Measure
from jaxal.report.options import ReportOptions
from jaxal.report.results import as_csv, as_latex, as_markdown
from jaxal.report.summary import summarise
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from tests.report.test_report import CURVES, LABELS, make_run


def say(folder, **metrics):
    """Adds metrics, a list of values a name, to the rounds of a run."""
    files = RunFiles(folder)
    lines = store.read_lines(files.rounds)
    for name, values in metrics.items():
        for line, value in zip(lines, values, strict=True):
            line[name] = value
    store.rewrite_lines(files.rounds, lines)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Two seeds of two strategies whose losses mirror their accuracies."""
    for strategy, seeds in CURVES.items():
        for seed, curve in seeds.items():
            run = make_run(tmp_path, strategy, seed, curve, keep_ratios=[1, 0.1, 0.1])
            nll = [1 - value for value in curve]
            classes = [[value + 0.1, value, value - 0.1] for value in curve]
            say(run, nll=nll, per_class_accuracy=classes, validation=[{"ece": 0.1}] * 3)
    return tmp_path


def test_where_lower_is_better_all_is_as_if_it_were_higher(folder):
    (up,), (down,) = gather([folder]), gather([folder], metric="nll")
    for target in (None, 0.65):
        other = None if target is None else 1 - target
        high = summarise(up, ReportOptions(target=target))
        low = summarise(down, ReportOptions(target=other))
        assert low["target"] == pytest.approx(1 - high["target"])
        for name in CURVES:
            a, b = high["strategies"][name], low["strategies"][name]
            assert b["labels_to_target"] == pytest.approx(
                a["labels_to_target"], nan_ok=True
            )
            assert b["area"]["mean"] == pytest.approx(1 - a["area"]["mean"])
            assert b["record"] == a["record"]
        a, b = (side["strategies"]["badge"] for side in (high, low))
        assert b["savings"]["mean"] == pytest.approx(a["savings"]["mean"])
        assert b["paired"]["area"]["mean"] == pytest.approx(
            -a["paired"]["area"]["mean"]
        )
        for told in ("pairs", "standing"):
            assert repr(high[told]["names"]) == repr(low[told]["names"])
        np.testing.assert_allclose(
            high["pairs"]["differences"], low["pairs"]["differences"]
        )
    text = as_markdown(summarise(down), down.measure)
    assert "lower is better" in text and "nll at 10" in text and "to 0.300" in text


PARTS = {
    "per-class": 0.7,  # of badge at 20 labels: 0.6 and 0.8
    "per_class_accuracy[2]": 0.6,
    "worst class accuracy": 0.6,
    "minority accuracy": 0.65,
    "validation.ece": 0.1,
}


@pytest.mark.parametrize("metric", PARTS)
def test_parts_of_what_runs_say_are_metrics(metric, folder):
    (group,) = gather([folder], metric=metric)
    found = summarise(group)["strategies"]["badge"]["values"][20]["mean"]
    assert found == pytest.approx(PARTS[metric])
    assert group.measure.is_share
    assert group.measure.is_higher_better == (metric != "validation.ece")


def test_classes_have_a_table(folder):
    (group,) = gather([folder], metric="per_class")
    text = as_markdown(summarise(group), group.measure)
    assert "Accuracy (%) of each class" in text and "| badge    | 90.0 ±" in text


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("nlll", r"There is accuracy, nll, per_class_accuracy, validation.ece.*'nll'"),
        ("brier", "--metric brier: no run says that"),
        ("per_class_accuracy[7]", "no run says that"),
    ],
)
def test_a_metric_that_is_not_there_is_refused_with_those_that_are(
    metric, told, folder
):
    with pytest.raises(RunError, match=told):
        gather([folder], metric=metric)


def test_a_regression_is_compared_by_its_error(tmp_path):
    for name in ("random", "coreset"):
        say(make_run(tmp_path, name, 0, [0.2, 0.6, 0.7]), rmse=[3.0, 2.0, 1.0])
        files = RunFiles(tmp_path / f"digits-{name}-seed0")
        lines = store.read_lines(files.rounds)
        store.rewrite_lines(
            files.rounds,
            [{n: v for n, v in x.items() if n != "accuracy"} for x in lines],
        )
    (group,) = gather([tmp_path])
    assert group.measure == Measure("rmse", is_higher_better=False)
    make_run(tmp_path, "badge", 0, [0.2, 0.6, 0.7])
    (group,) = gather([tmp_path], metric="rmse")
    assert list(group.curves) == ["coreset", "random"]
    (note,) = (note for note in group.notes if "left out" in note)
    assert "badge-seed0 says no rmse in every round; it says accuracy" in note


def test_a_metric_of_ones_own_says_which_way_is_up(tmp_path):
    for seed in (0, 1):
        say(make_run(tmp_path, "badge", seed, [0.2, 0.6, 0.7]), regret=[3.0, 2.0, 1.0])
    ways = {
        better: gather([tmp_path], metric="regret", better=better)[0].measure.sign
        for better in (None, "higher", "lower")
    }
    assert ways == {None: 1, "higher": 1, "lower": -1}


@pytest.fixture
def sizes(tmp_path):
    for size in (5, 10, 40):
        for seed in (0, 1):
            for strategy in ("badge", "random"):
                run = tmp_path / f"q{size}"
                curve = [0.2, 0.4 + size / 100, 0.5 + size / 100 + 0.01 * seed]
                make_run(run, strategy, seed, curve, query_size=[size])
    return [tmp_path / f"q{size}" for size in (5, 10, 40)]


def test_any_setting_may_be_compared(sizes):
    groups = gather(sizes, compare=["query-size"])
    assert [group.title for group in groups] == [
        "digits, preset cpu, mlp of width 64, strategy badge",
        "digits, preset cpu, mlp of width 64, strategy random",
    ]
    for group in groups:
        assert list(group.curves) == ["5", "10", "40"]  # by size, not by letter
        assert [run.seed for run in group.curves["5"]] == [0, 1]
        found = summarise(group, ReportOptions(baseline="10"))
        assert found["baseline"] == "10" and found["strategies"]["10"]["paired"] is None
        last = found["strategies"]["40"]["paired"]["last"]
        assert last["mean"] == pytest.approx(0.3) and last["num_pairs"] == 2
    (group,) = gather(sizes, compare=["query_size", "strategy"])
    assert list(group.curves)[:2] == ["query_size 5, badge", "query_size 5, random"]


def test_settings_that_no_run_has_are_refused(sizes):
    with pytest.raises(RunError, match="no run has such a setting.*Did you mean"):
        gather(sizes, compare=["query_sise"])


def test_what_follows_from_what_is_compared_is_named(tmp_path):
    for width in (16, 32):
        rate = 1 / width
        run = tmp_path / str(width)
        make_run(run, "badge", 0, [0.1] * 3, width=width, learning_rate=rate)
    groups = gather([tmp_path / "16", tmp_path / "32"], compare=["width"])
    assert len(groups) == 2
    assert "--compare width learning_rate" in groups[0].notes[-1]
    (group,) = gather(
        [tmp_path / "16", tmp_path / "32"], compare=["width", "learning_rate"]
    )
    assert list(group.curves) == [
        "width 16, learning_rate 0.0625",
        "width 32, learning_rate 0.03125",
    ]


def test_a_baseline_that_is_not_there_is_refused(sizes, capsys):
    words = [*map(str, sizes), "--figures", "none", "--compare", "query_size"]
    assert command.main([*words, "--baseline", "11"]) == 1
    assert "There is 5, 10, 40. Did you mean '10'?" in capsys.readouterr().err
    assert command.main(words) == 0  # and none is needed
    assert "Against" not in capsys.readouterr().out


def test_axes_are_sums_over_rounds(folder):
    run = gather([folder])[0].curves["badge"][0]
    seconds = np.cumsum([2.875] * 3)  # the phases that `make_run` writes
    np.testing.assert_allclose(positions(run, "labels"), LABELS)
    np.testing.assert_allclose(positions(run, "seconds"), seconds)
    np.testing.assert_allclose(positions(run, "epochs"), [30, 60, 90])
    found = positions(run, "cost", Prices(0.5, 3600.0))
    np.testing.assert_allclose(found, np.array(LABELS) / 2 + seconds)
    with pytest.raises(RunError, match="--axis cost needs --price"):
        positions(run, "cost")
    compiled = [{**r, "seconds": {**r["seconds"], "compile": 9}} for r in run.rounds]
    again = run._replace(rounds=compiled, settings={})
    np.testing.assert_allclose(positions(again, "seconds"), seconds)
    with pytest.raises(RunError, match="says no epochs"):
        positions(again, "epochs")


def test_money_to_the_target_is_of_labels_and_hours(folder):
    (group,) = gather([folder])
    asked = ReportOptions(price=2.0, price_hour=3600.0)
    found = summarise(group, asked)["strategies"]["badge"]
    # The mean curve is at the target with 20 labels, after two rounds of 2.875 s.
    assert found["labels_to_target"]["mean"] == pytest.approx(20)
    assert found["money_to_target"]["mean"] == pytest.approx(40 + 2 * 2.875)


def test_intervals_and_middles_are_those_asked_for(folder):
    (group,) = gather([folder])
    asked = ReportOptions(interval="bootstrap")
    by_boot = summarise(group, asked)["strategies"]["badge"]
    at = by_boot["values"][20]
    assert (at["low"], at["high"]) == pytest.approx((0.6, 0.8))  # of two, the ends
    assert at["se"] == pytest.approx(0.1) and at["median"] == pytest.approx(0.7)
    assert (at["low_68"], at["high_95"]) == pytest.approx((0.632, 0.795))
    text = as_markdown(summarise(group, ReportOptions(middle="median")), group.measure)
    assert "| 70.0 [63.2, 76.8] |" in text and "median of seeds" in text


def test_areas_over_doublings(folder):
    (group,) = gather([folder])
    found = summarise(group, ReportOptions(log=True))
    # random: 0.2, 0.4, 0.6 at 10, 20, 40 and 0.2 higher: 0.4 and 0.6 over doublings.
    area = found["strategies"]["random"]["area_log"]
    assert area["mean"] == pytest.approx(0.5)
    paired = found["strategies"]["badge"]["paired"]["area"]
    assert paired["mean"] == pytest.approx((0.5 * 0.2 + 0.5 * 0.3) / 2)
    assert "log area" in as_markdown(found, group.measure)


def test_all_labels_are_a_line_and_a_share_and_no_curve(folder):
    make_run(folder, CEILING, 0, [0.8], labels=[1000], keep_ratios=[1, 0.1, 0.1])
    (group,) = gather([folder])
    assert list(group.curves) == ["badge", "random"] and not group.notes
    found = summarise(group)
    assert found["ceiling"]["mean"] == 0.8 and found["ceiling"]["labels"] == 1000
    assert found["strategies"]["badge"]["of_ceiling"] == pytest.approx(1.0)
    text = as_markdown(found, group.measure)
    assert "Trained on all 1000 labels: 80.0 %" in text and "of ceiling" in text
    figure = curves.curves(group, found)
    assert [text.get_text() for text in figure.axes[0].texts] == ["all 1000 labels"]
    alone = gather([folder / f"digits-{CEILING}-seed0"])[0]
    assert list(alone.curves) == [CEILING]


def test_what_is_not_reached_is_told_from_what_is_not_known(folder):
    words = [str(folder), "--target", "0.95", "--figures", "none"]
    assert command.main(words) == 0
    whole = json.loads((folder / "report" / "summary.json").read_text())
    (told,) = whole["comparisons"]
    labels = told["strategies"]["badge"]["labels_to_target"]
    assert labels == {"mean": "inf", "low": None, "high": None}  # two seeds


def test_a_report_takes_away_what_the_last_one_left_and_nothing_else(folder):
    place = folder / "report"
    assert command.main([str(folder)]) == 0
    (place / "mine.txt").write_text("notes")
    summary = place / "summary.json"
    told = json.loads(summary.read_text())
    assert {*told["files"], "mine.txt"} == {file.name for file in place.iterdir()}
    store.write_json(summary, told | {"files": [*told["files"], "../keep", "gone.png"]})
    (folder / "keep").write_text("of nobody's report")
    assert command.main([str(folder), "--figures", "none"]) == 0
    left = {file.suffix for file in place.iterdir()}
    assert left == {".md", ".tex", ".csv", ".json", ".txt"}
    assert (folder / "keep").exists()


def test_a_target_in_percent_is_asked_back(folder):
    (group,) = gather([folder])
    with pytest.raises(RunError, match="write 70 % as 0.7"):
        summarise(group, ReportOptions(target=70))


def test_tables_as_files(folder):
    make_run(folder, r"a_&%$#{}~^\<", 0, [0.1, 0.2, 0.3], keep_ratios=[1, 0.1, 0.1])
    (group,) = gather([folder])
    found = summarise(group)
    tex = as_latex(found, group.measure)
    assert (
        r"a\_\&\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}$<$" in tex
    )
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") >= 3
    written = as_csv(found)
    rows = [*csv.DictReader(io.StringIO(written["results"]))]
    by_name = {row["strategy"]: row for row in rows}
    assert (
        float(by_name["badge"]["area_mean"])
        == found["strategies"]["badge"]["area"]["mean"]
    )
    assert by_name["badge"]["seeds"] == "0 1"
    rounds = [*csv.DictReader(io.StringIO(written["curves"]))]
    assert len(rounds) == 9 and rounds[0]["labels"] == "10"


def test_pipes_in_names_do_not_end_cells(folder):
    make_run(folder, "a|b", 0, [0.1, 0.2, 0.3], keep_ratios=[1, 0.1, 0.1])
    (group,) = gather([folder])
    assert r"| a\|b " in as_markdown(summarise(group), group.measure)


def test_all_sides_of_several_tables_share_a_penalty_matrix(tmp_path, capsys):
    for data in ("digits", "mnist"):
        for name, seeds in CURVES.items():
            for seed, curve in seeds.items():
                make_run(tmp_path, name, seed, curve, dataset=data)
    assert (
        command.main([str(tmp_path), "--figures", "svg", "--out", str(tmp_path / "o")])
        == 0
    )
    assert "penalties-of-all.svg" in capsys.readouterr().out
    told = json.loads((tmp_path / "o" / "summary.json").read_text())["comparisons"]
    assert [one["standing"]["penalties"] for one in told] == [[[0, 1], [0, 0]]] * 2


def test_names_of_metrics_leave_out_what_measures_no_model():
    record = {"round": 1, "labels": 5, "is_last": True, "strategy": "a", "nll": None}
    assert measures.names({**record, "f": 1, "list": ["a"], "loss": 0.1}, {}) == [
        "f",
        "loss",
    ]
