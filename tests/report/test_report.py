"""Reports: numbers against hand-computed ones, and comparisons that are refused."""

import json
import math

import numpy as np
import pytest

from jaxal.report import command
from jaxal.report.figures import curves, pictures
from jaxal.report.gathering import common_labels, gather
from jaxal.report.options import ReportOptions
from jaxal.report.results import as_markdown
from jaxal.report.summary import summarise
from jaxal.runs import store
from jaxal.runs.store import RunFiles

# Accuracies of two seeds at 10, 20 and 40 labels.
CURVES = {
    "random": {0: [0.2, 0.4, 0.6], 1: [0.4, 0.6, 0.8]},
    "badge": {0: [0.2, 0.6, 0.7], 1: [0.4, 0.8, 0.9]},
}
LABELS = [10, 20, 40]
T_1 = 12.706204736174704  # 97.5 % quantile of Student's t with one degree of freedom


def make_run(folder, strategy, seed, accuracies, *, labels=LABELS, **changes):
    settings = {
        "dataset": "digits",
        "source": "scikit-learn, embedded",
        "pool": f"pool{seed}",
        "preset": "cpu",
        "model": "mlp",
        "width": 64,
        "epochs": 30,
        "strategy": strategy,
        "strategy_options": [],
        "plugins": {},
        "posterior": "auto",
        "num_samples": 20,
        "seed": seed,
        "platform": "cpu",
        "chunk_size": 512,
        "rounds": 2,
    } | changes
    files = RunFiles(folder / f"{settings['dataset']}-{strategy}-seed{seed}")
    files.folder.mkdir(parents=True)
    store.write_json(files.config, {"settings": settings})
    seconds = {"train": 2.0, "evaluate": 0.25, "score": 0.5, "select": 0.125}
    records = [
        {
            "round": i,
            "labels": count,
            "accuracy": accuracy,
            "seconds": seconds,
            "is_last": i == 2,
        }
        for i, (count, accuracy) in enumerate(zip(labels, accuracies, strict=True))
    ]
    store.append_lines(files.rounds, records)
    return files.folder


def told(group):
    return as_markdown(summarise(group), group.measure)


@pytest.fixture
def folder(tmp_path):
    for strategy, seeds in CURVES.items():
        for seed, accuracies in seeds.items():
            make_run(tmp_path, strategy, seed, accuracies)
    return tmp_path


def test_numbers_against_hand_computed_ones(folder):
    (group,) = gather([folder])
    summary = summarise(group)
    badge, random = (summary["strategies"][name] for name in ("badge", "random"))
    # Two values 0.2 apart: s = 0.2 / sqrt 2, half width t s / sqrt 2 = 0.1 t.
    at_20 = badge["values"][20]
    assert at_20["mean"] == pytest.approx(0.7)
    assert at_20["high"] - at_20["mean"] == pytest.approx(0.1 * T_1)
    # (10 (0.2 + 0.6) / 2 + 20 (0.6 + 0.7) / 2) / 30 = 17 / 30, seed 1 is 0.2 higher.
    assert badge["area"]["mean"] == pytest.approx(17 / 30 + 0.1)
    # The mean of random ends at 0.7; badge's mean is 0.7 at 20 labels already.
    assert summary["target"] == pytest.approx(0.7)
    assert random["labels_to_target"]["mean"] == pytest.approx(40)
    assert badge["labels_to_target"]["mean"] == pytest.approx(20)
    assert badge["savings"]["mean"] == pytest.approx(0.5)
    assert badge["record"] == {"wins": 2, "ties": 0, "losses": 0}
    # badge - random is 0, 0.2, 0.1 for both seeds: area (10 * 0.1 + 20 * 0.15) / 30.
    assert badge["paired"]["area"]["mean"] == pytest.approx(4 / 30)
    assert badge["paired"]["last"]["mean"] == pytest.approx(0.1)
    assert badge["paired"]["last"]["num_pairs"] == 2
    assert random["paired"] is None
    assert badge["seconds"]["train"] == pytest.approx(6.0)  # three rounds of two


def test_a_target_beyond_reach_is_not_reached(folder):
    (group,) = gather([folder])
    summary = summarise(group, ReportOptions(target=0.95))
    assert summary["strategies"]["badge"]["labels_to_target"]["mean"] == math.inf
    text = as_markdown(summary, gather([folder])[0].measure)
    assert "not reached" in text
    assert "labels to 95.0 %" in text


def test_the_text_says_what_the_numbers_say(folder):
    text = told(gather([folder])[0])
    row = next(line for line in text.splitlines() if line.startswith("| badge"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["badge", "2", f"30.0 ± {10 * T_1:.1f}"]
    assert cells[-2:] == ["20", "+50 % (few seeds)"]
    assert "digits" in text
    assert "scikit-learn, embedded" in text


def test_other_data_or_settings_are_another_table(folder, tmp_path, capsys):
    make_run(tmp_path, "random", 0, [0.1, 0.2, 0.3], dataset="cifar10")
    wide = tmp_path / "wide"
    make_run(wide, "random", 0, [0.5, 0.6, 0.7], width=128)
    groups = gather([folder, wide])
    sizes = {group.title: len(group.curves) for group in groups}
    assert sizes == {
        "cifar10, preset cpu, mlp of width 64": 1,
        "digits, preset cpu, mlp of width 64": 2,
        "digits, preset cpu, mlp of width 128": 1,
    }
    options = ReportOptions(runs=(folder, wide), out=tmp_path / "out")
    written = command.report(options)
    assert "3 different settings" in capsys.readouterr().out
    assert len(list(options.out.glob("*curves.png"))) == 3
    assert sorted(written) == sorted(options.out.iterdir())


def test_the_same_data_may_lie_in_another_folder(folder, tmp_path):
    make_run(tmp_path / "more", "badge", 2, [0.2, 0.6, 0.7], source="elsewhere")
    (group,) = gather([folder, tmp_path / "more"])
    assert len(group.curves["badge"]) == 3


def test_settings_of_a_strategy_tell_its_curves_apart(folder, tmp_path):
    for samples in (10, 50):
        make_run(tmp_path / f"s{samples}", "bald", 0, [0.1] * 3, num_samples=samples)
    (group,) = gather([folder, tmp_path / "s10", tmp_path / "s50"])
    assert set(group.curves) == {
        "badge",
        "random",
        "bald (num_samples 10)",
        "bald (num_samples 50)",
    }


@pytest.mark.parametrize(
    ("labels", "changes"),
    [
        ([10, 20, 40, 80], {"rounds": 3}),
        ([10, 20, 40, 60], {"rounds": 3, "budget": 60}),
        ([10, 20], {"rounds": 1}),
        ([10, 20, 30], {"budget": 30}),
        (LABELS, {}),
    ],
)
@pytest.mark.parametrize("strategy", ["badge", "random"])
def test_the_same_trial_twice_counts_once(folder, tmp_path, labels, changes, strategy):
    again = tmp_path / "again"
    curve = [*CURVES[strategy][0], 0.75][: len(labels)]
    other = make_run(again, strategy, 0, curve, labels=labels, **changes)
    alone, both = (summarise(gather(f)[0]) for f in ([folder], [folder, again]))
    assert both["strategies"].keys() == alone["strategies"].keys()
    assert common_labels(gather([folder, again])[0]).tolist() == LABELS
    for name in ("seeds", "values", "area", "paired"):
        for one in CURVES:
            assert repr(both["strategies"][one][name]) == repr(
                alone["strategies"][one][name]
            )
    (note,) = [note for note in both["notes"] if "same trial twice" in note]
    left_out = folder / other.name if labels[-1] > LABELS[-1] else other
    assert note.startswith(f"left out: {left_out} is {strategy} with seed 0")


def test_pairs_need_seed_and_pool(folder, tmp_path):
    make_run(tmp_path / "more", "badge", 2, [0.2, 0.6, 0.7])  # no such seed of random
    make_run(tmp_path / "more", "badge", 3, [0.2, 0.6, 0.7])
    make_run(tmp_path / "more", "random", 3, [0.2, 0.6, 0.7], pool="another")
    (group,) = gather([folder, tmp_path / "more"])
    badge = summarise(group)["strategies"]["badge"]
    assert badge["seeds"] == [0, 1, 2, 3]
    assert badge["paired"]["area"]["num_pairs"] == 2


def test_an_unfinished_run_counts_as_far_as_it_has_got(folder, tmp_path):
    make_run(tmp_path / "more", "badge", 2, [0.2, 0.6], labels=[10, 20])
    (group,) = gather([folder, tmp_path / "more"])
    assert common_labels(group).tolist() == [10, 20]
    assert "not finished" in told(group)


def test_one_seed_has_no_interval(tmp_path):
    make_run(tmp_path, "badge", 0, [0.2, 0.6, 0.7])
    (group,) = gather([tmp_path])
    summary = summarise(group)
    assert math.isnan(summary["strategies"]["badge"]["area"]["low"])
    assert "±" not in told(group)
    assert summary["baseline"] is None


@pytest.mark.parametrize(("seeds", "bands", "lines"), [(1, 0, 1), (2, 0, 3), (3, 1, 1)])
def test_bands_need_three_seeds_and_two_are_drawn_both(tmp_path, seeds, bands, lines):
    place = "scikit-learn, in /home/somebody/data: digits"
    for seed in range(seeds):
        make_run(tmp_path, "badge", seed, [0.2, 0.6 + 0.1 * seed, 0.7], source=place)
    (group,) = gather([tmp_path])
    figure = curves.curves(group, summarise(group))
    (axes,) = figure.axes
    assert (len(axes.collections), len(axes.lines)) == (bands, lines)
    note = figure.get_supxlabel()
    assert "scikit-learn: digits" in note and "somebody" not in note
    assert ("Bands" in note, "single seeds" in note) == (seeds == 3, seeds == 2)


def test_the_command_writes_a_folder_and_lists_it(folder, capsys):
    words = [str(folder), "--budgets", "10", "40", "--figures", "svg", "pdf"]
    assert command.main(words) == 0
    out, place = capsys.readouterr().out, folder / "report"
    assert "| badge" in out
    (found,) = json.loads((place / "summary.json").read_text())["comparisons"]
    assert found["strategies"]["badge"]["values"]["20"]["mean"] == pytest.approx(0.7)
    listed = out.strip().splitlines()[-1].removeprefix(f"Written to {place}: ")
    assert sorted(listed.split(", ")) == sorted(file.name for file in place.iterdir())
    kinds = {file.suffix for file in place.iterdir()}
    assert kinds == {".md", ".tex", ".csv", ".json", ".svg", ".pdf"}
    assert (place / "curves.svg").read_text().count("badge (2 seeds)") >= 1


def test_without_arguments_it_takes_the_folder_runs(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert command.main([]) == 1
    assert "no folder runs" in capsys.readouterr().err
    (tmp_path / "runs").symlink_to(folder)
    assert command.main([]) == 0
    out = capsys.readouterr().out
    assert "| badge" in out
    assert "Written to runs/report: tables.md" in out
    assert (folder / "report" / "curves.png").exists()
    words = [str(folder / "digits-badge-seed0"), "--figures", "none"]
    assert command.main(words) == 0
    assert f"Written to {folder / 'report'}: " in capsys.readouterr().out


def of_regression(record):
    return {name: record[name] for name in record if name != "accuracy"} | {"rmse": 1.0}


BROKEN = {
    "a config cut": lambda files: files.config.write_text('{"settings": {"data'),
    "a config of no run": lambda files: files.config.write_text("[]"),
    "no settings": lambda files: store.write_json(files.config, {"settings": None}),
    "no seed": lambda files: files.config.write_text(
        files.config.read_text().replace('"seed"', '"sead"')
    ),
    "a line cut": lambda files: files.rounds.write_text('{"labels": 10\n{}\n'),
    "lines of numbers": lambda files: files.rounds.write_text("10\n20\n"),
    "bytes": lambda files: files.rounds.write_bytes(b"\xff\xfe\n"),
    "no round": lambda files: files.rounds.unlink(),
    "NaN": lambda files: files.rounds.write_text(
        files.rounds.read_text().replace("0.7", "null")
    ),
    "a regression": lambda files: store.rewrite_lines(
        files.rounds, [*map(of_regression, store.read_lines(files.rounds))]
    ),
    "other labels": lambda files: files.rounds.write_text(
        files.rounds.read_text().replace("0,", "1,")
    ),
    "no seconds": lambda files: store.rewrite_lines(
        files.rounds,
        [r | {"seconds": {"train": "x"}} for r in store.read_lines(files.rounds)],
    ),
    "a round twice": lambda files: files.rounds.write_bytes(
        2 * files.rounds.read_bytes()
    ),
    "a vast number": lambda files: files.rounds.write_text(
        files.rounds.read_text().replace("0.7", 400 * "9")
    ),
    "a folder for a file": lambda files: (files.rounds.unlink(), files.rounds.mkdir()),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_run_costs_the_others_nothing(folder, capsys, monkeypatch, kind):
    monkeypatch.setattr(pictures, "pictures", lambda group, summary: {})
    alone = summarise(gather([folder])[0])
    files = RunFiles(make_run(folder, "bald", 0, [0.2, 0.6, 0.7]))
    BROKEN[kind](files)
    assert command.main([str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "| badge" in out and "bald |" not in out and not err
    (note,) = [line for line in out.splitlines() if line.startswith("Note: left out: ")]
    assert str(files.folder) in note and len(note) > len(str(files.folder)) + 30
    assert repr(summarise(gather([folder])[0])["strategies"]) == repr(
        alone["strategies"]
    )


def test_where_nothing_is_left_it_says_why_for_each(tmp_path, capsys):
    cut, begun = (
        RunFiles(make_run(tmp_path, strategy, 0, [0.2], labels=[10]))
        for strategy in ("badge", "bald")
    )
    cut.config.write_text("{")
    begun.rounds.unlink()
    assert command.main([str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert f"{cut.config} is damaged" in err
    assert f"{begun.folder} has not finished a round yet" in err


def test_everything_in_a_folder_may_be_named(folder, capsys):
    (folder / "learning_curves.png").write_bytes(b"what somebody left")
    (folder / "killed-before-its-config").mkdir()
    assert command.main([str(folder), "--figures", "none"]) == 0
    capsys.readouterr()
    names = [str(path) for path in sorted(folder.iterdir())]
    assert len(names) == 7 and str(folder / "report") in names
    assert command.main([*names, str(folder), "--figures", "none"]) == 0
    out = capsys.readouterr().out
    assert "same trial" not in out and out.count("left out") == 2
    assert "learning_curves.png is no run" in out and "killed-before-its" in out


def test_what_one_table_cannot_show_ends_no_other(folder, tmp_path, capsys):
    make_run(tmp_path / "more", "badge", 0, [0.2, 0.6], labels=[10, 15], width=128)
    words = [str(folder), str(tmp_path / "more"), "--budgets", "20", "--out"]
    out = tmp_path / "out"
    assert command.main([*words, str(out), "--figures", "none"]) == 1
    summary = json.loads((out / "summary.json").read_text())["comparisons"]
    text, err = capsys.readouterr()
    assert "mlp of width 64" in text and "| random" in text
    assert "mlp of width 128: Not every run was measured with 20 labels" in err
    assert len(summary) == 1


def test_runs_of_a_program_have_no_network_to_name(tmp_path):
    for name in ("badge", "random"):
        files = RunFiles(make_run(tmp_path, name, 0, [0.2, 0.6, 0.7]))
        config = json.loads(files.config.read_text())
        for setting in ("model", "width", "posterior", "plugins", "strategy_options"):
            del config["settings"][setting]
        store.write_json(files.config, config)
    (group,) = gather([tmp_path])
    assert group.title == "digits, preset cpu" and len(group.curves) == 2


def test_runs_from_before_a_setting_existed_belong_to_those_since(folder, tmp_path):
    make_run(tmp_path / "new", "badge", 2, [0.2, 0.6, 0.7], schedule="cosine")
    make_run(tmp_path / "other", "badge", 3, [0.2, 0.6, 0.7], schedule="one_cycle")
    groups = gather([folder, tmp_path / "new", tmp_path / "other"])
    sizes = sorted(len(group.curves["badge"]) for group in groups)
    assert sizes == [1, 3]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--mettric nll", "there is no option --mettric"),
        ("--price -1", "--price is -1.0, expected at least 0"),
        ("--figures gif", "--figures is 'gif', expected one of png, svg, pdf, none"),
        ("--budgets ten", "--budgets is 'ten', expected a whole number"),
        ("--budgets 10 10", "--budgets has [10] twice"),
        ("--base random", "no option --base. Did you mean '--baseline'?"),
    ],
)
def test_words_that_say_nothing_are_refused(words, told, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["runs", *words.split()])
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_a_file_may_say_what_words_do(folder, tmp_path, capsys):
    file = tmp_path / "report.toml"
    file.write_text(f'runs = ["{folder}"]\nbaseline = "badge"\n')
    assert command.main(["--config", str(file), "--figures", "none"]) == 0
    assert "Against badge" in capsys.readouterr().out


def test_mistakes_are_told_without_a_traceback(folder, tmp_path, capsys):
    assert command.main([str(folder), "--budgets", "15", "--figures", "none"]) == 1
    assert "[10, 20, 40]" in capsys.readouterr().err
    assert command.main([str(tmp_path / "nowhere")]) == 1
    assert "no config.json" in capsys.readouterr().err


def test_means_are_of_seeds_not_of_pooled_rounds(folder):
    (group,) = gather([folder])
    spread = summarise(group)["strategies"]["random"]["values"]
    found = [spread[label]["mean"] for label in LABELS]
    np.testing.assert_allclose(found, [0.3, 0.5, 0.7])
