"""What runs of the command line and of studies were about is read again."""

import json
import shutil

import numpy as np
import pytest

from jaxal.app import again
from jaxal.app.cli import run_command
from jaxal.report.options import ReportOptions
from jaxal.report.reading import read_run
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from tests.report.test_report import make_run

SIDES = {"preset": "program", "source": "a program"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two rounds on a line of 40 points, of which 32 are for sale."""
    folder = tmp_path_factory.mktemp("line")
    inputs = np.linspace(-2, 2, 40, dtype=np.float32)[:, None]
    np.savez(folder / "line.npz", inputs=inputs, labels=(inputs[:, 0] > 0).astype(int))
    words = [f"--dataset={folder / 'line.npz'}", "--model=logistic_regression"]
    words += ["--preset=smoke", "--strategy=margin", "--rounds=1", "--initial=4"]
    words += ["--query-size=3", f"--output={folder / 'runs'}"]
    assert run_command(words) == 0
    (found,) = (folder / "runs").iterdir()
    return read_run(found)


def ledger(run):
    return {line["id"] for line in store.read_lines(RunFiles(run.folder).queries)}


def test_a_run_of_the_command_line(run):
    reader = again.Reader(ReportOptions())
    rows = reader.rows(run)
    assert ledger(run) < set(rows.ids) and rows.inputs.shape == (32, 1)
    assert rows.class_names == ("0", "1") and not rows.are_pictures
    found = reader.uncertainty(run)
    assert set(found) == {"total", "aleatoric", "epistemic"}
    assert set(found["total"]) == set(rows.ids) - ledger(run)
    of = {name: np.array([*part.values()]) for name, part in found.items()}
    np.testing.assert_allclose(of["total"], of["aleatoric"] + of["epistemic"], 1e-5)
    assert (of["epistemic"] >= 0).all() and (of["total"] <= np.log(2) + 1e-5).all()
    where = dict(zip(rows.ids, np.abs(rows.inputs[:, 0]), strict=True))
    order = sorted(found["total"], key=found["total"].__getitem__)
    assert where[order[-1]] < where[order[0]]  # sure far from the boundary


def test_rows_that_were_withdrawn_are_no_longer_for_sale(run, tmp_path):
    gone = run._replace(folder=tmp_path / "gone")
    shutil.copytree(run.folder, gone.folder)
    files = RunFiles(gone.folder)
    lines = store.read_lines(files.queries)
    row = next(i for i in range(32) if all(line["row"] != i for line in lines))
    name = again.Reader(ReportOptions()).rows(run).ids[row]
    said = {"row": row, "id": name, "label": -1, "event": "withdrawn"}
    store.append_lines(files.queries, [{**lines[-1], **said}])
    reader = again.Reader(ReportOptions())
    before, after = (set(reader.uncertainty(r)["total"]) for r in (run, gone))
    assert before - after == {name}


def test_data_that_are_gone_or_other_are_said(run, tmp_path):
    reader = again.Reader(ReportOptions())
    moved = run._replace(
        settings=run.settings | {"source": f"arrays of {tmp_path}/x.npz"}
    )
    with pytest.raises((ValueError, OSError), match=r"x\.npz"):
        reader.rows(moved)
    other = run._replace(settings=run.settings | {"pool": "another"})
    with pytest.raises(RunError, match="its pool cannot be had again"):
        reader.uncertainty(other)


def test_a_trial_of_a_study_is_solved_again(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).astype(np.float32)
    np.savez(
        tmp_path / "x.npz",
        x_train=x[:40],
        y_train=(x[:40, 0] > 0).astype(int),
        x_test=x[40:],
        y_test=(x[40:, 0] > 0).astype(int),
    )
    store.write_json(tmp_path / "study.json", {"features": str(tmp_path / "x.npz")})
    folder = make_run(tmp_path, "margin", 0, [0.5, 0.8], labels=[4, 8], **SIDES)
    lines = [
        {"round": i // 4, "row": i, "id": f"train_{i}", "label": int(x[i, 0] > 0)}
        for i in range(8)
    ]
    store.append_lines(RunFiles(folder).queries, lines)
    reader, run = again.Reader(ReportOptions()), read_run(folder)
    assert len(reader.rows(run).ids) == 40
    total = reader.uncertainty(run)["total"]
    assert set(total) == {f"train_{i}" for i in range(8, 40)}
    side = np.array([abs(x[int(name[6:]), 0]) for name in total])
    assert np.corrcoef(side, [*total.values()])[0, 1] < -0.5
    RunFiles(folder).queries.write_text(
        json.dumps({**lines[0], "id": "train_9"}) + "\n"
    )
    with pytest.raises(RunError, match="no longer those of the study"):
        reader.uncertainty(run)


def test_runs_of_a_program_say_that_data_must_be_named(tmp_path):
    run = read_run(make_run(tmp_path, "badge", 0, [0.2, 0.4, 0.6], **SIDES))
    reader = again.Reader(ReportOptions())
    with pytest.raises(RunError, match="--data names their rows"):
        reader.rows(run)
    with pytest.raises(RunError, match="model of a program"):
        reader.uncertainty(run)


TEXTS = {
    "a.txt": "one\ntwo\n",
    "a.csv": 'id,text\n0,one\n1,"two"\n',
    "a.jsonl": '{"id": 0, "text": "one"}\n{"id": 1, "text": "two"}\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_named(name, run, tmp_path):
    (tmp_path / name).write_text(TEXTS[name])
    rows = again.Reader(ReportOptions(data=str(tmp_path / name))).rows(run)
    assert (rows.ids, rows.texts) == (["0", "1"], ["one", "two"])


def test_a_file_of_texts_may_begin_with_a_mark_and_end_in_its_last_line(run, tmp_path):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text("\ufeff" + text.rstrip("\n"), encoding="utf-8")
        rows = again.Reader(ReportOptions(data=str(tmp_path / name))).rows(run)
        assert (rows.ids, rows.texts) == (["0", "1"], ["one", "two"])


def test_a_file_of_texts_that_is_none_is_said(run, tmp_path):
    reader = again.Reader(ReportOptions(data=str(tmp_path / "a.jsonl")))
    with pytest.raises(FileNotFoundError):
        reader.rows(run)
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n[]\n')
    with pytest.raises(RunError, match="line 2: expected a JSON object"):
        reader.rows(run)


def test_texts_need_a_text(run, tmp_path):
    (tmp_path / "a.csv").write_text("id,words\n0,one\n")
    with pytest.raises(RunError, match="expected a text"):
        again.Reader(ReportOptions(data=str(tmp_path / "a.csv"))).rows(run)


def test_where_data_sets_were_is_in_the_command(run, tmp_path):
    for word, expected in (("--data-dir=/a b", "/a b"), ("--strategy=x", None)):
        folder = tmp_path / str(expected)[:4].strip("/")
        folder.mkdir()
        command = f"jaxal run '{word}'"
        store.write_json(RunFiles(folder).config, {"command": command})
        assert again._folder(run._replace(folder=folder)) == expected
