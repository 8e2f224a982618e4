"""The programs of docs/programs.md: run, killed, started again."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxal.runs import store
from jaxal.runs.store import RunFiles
from tests.dying import Death, Killed

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "programs.md").read_text()
SECTIONS = re.findall(r"\n## (.*?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL)
# Fewer steps than the page's, which are meant to learn something.
QUICK = {
    title: code.replace("supervised(model", "supervised(model, epochs=1, min_steps=6")
    for title, code in SECTIONS
}
PEOPLE = "People"
ALONE = sorted(QUICK.keys() - {PEOPLE})
LABELS = dict.fromkeys(ALONE, [20, 30, 40])  # that each round trains on
LABELS |= {"Equinox": [5, 10, 15]}
LABELS |= {"Images, chosen by another network's features": [10, 20, 30]}


def start(code, folder, monkeypatch, at=None):
    """Starts a program as a person would; returns how many events there were."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    death = Death(at)
    with death.installed(), jax.numpy_rank_promotion("allow"):
        try:
            exec(compile(code, "program", "exec"), {"__name__": "program"})
        except Killed:
            death.is_dead = True
    return death


def results(folder):
    (run,) = (folder / "runs").iterdir()
    rounds = store.read_lines(RunFiles(run).rounds)
    for record in rounds:
        del record["seconds"], record["compiles"]
    return rounds, RunFiles(run).queries.read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What each program leaves when nobody kills it, and how many events it takes."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:

        def of(title):
            if title not in found:
                folder = tmp_path_factory.mktemp("whole") / "a"
                life, _ = live(title, folder, patch)
                found[title] = results(folder), life
            return found[title]

        yield of


def live(title, folder, monkeypatch, kills=()):
    """Starts a program until it has ended, killed at some of its starts.

    Returns how many events there were, and how often it was killed.
    """
    kills, count, deaths = list(kills), 0, 0
    days = [None] if title != PEOPLE else DAYS
    for day in days:
        if day is not None:
            folder.mkdir(exist_ok=True)
            day(folder)
        if kills:
            deaths += start(QUICK[title], folder, monkeypatch, kills.pop(0)).is_dead
        count += start(QUICK[title], folder, monkeypatch).count
    return count, deaths


def say(folder, *replies):
    with open(folder / "answers.jsonl", "a") as file:
        file.writelines(json.dumps(reply) + "\n" for reply in replies)


def answer(folder, names):
    rows = np.load(folder / "rows.npy")
    for name in names:
        row = int(re.findall(r"\d+", name)[0])
        label = "cat" if rows[row, 0] > 0 else "dog"
        say(folder, {"id": name, "label": label, "who": "ada", "seconds": 3.0})


def asked(folder):
    return (folder / "questions.txt").read_text().split()


def first_day(folder):
    if not (folder / "rows.npy").exists():
        rows = np.random.default_rng(0).normal(size=(70, 2)).astype(np.float32)
        np.save(folder / "rows.npy", rows[:60])
        np.save(folder / "later.npy", rows)


def some_answers(folder):
    answer(folder, asked(folder)[:2:-1])  # five of eight, the last first


def other_answers(folder):
    answer(folder, asked(folder)[:3])
    np.save(folder / "rows.npy", np.load(folder / "later.npy"))  # ten more rows


def second_thoughts(folder):
    names = asked(folder)
    answer(folder, names)
    first = json.loads((folder / "answers.jsonl").read_text().splitlines()[0])
    other = {"cat": "dog", "dog": "cat"}[first["label"]]
    say(folder, {"id": first["id"], "label": other, "who": "bob"})
    spare = next(f"photo-{i}.png" for i in range(60) if f"photo-{i}.png" not in names)
    say(folder, {"id": spare, "label": None, "who": "bob", "withdraw": True})


def last_answers(folder):
    answer(folder, asked(folder))


DAYS = [first_day, some_answers, other_answers, second_thoughts, last_answers]


def test_every_program_is_known():
    assert len(QUICK) == 7 and LABELS.keys() == set(ALONE)


# Compile for a quarter of a minute and more; one on the command line is left.
HEAVY = ("A residual network", "Equinox", "Images", "Real numbers", "Several labels")


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(t, marks=[pytest.mark.slow] if t.startswith(HEAVY) else [])
        for t in ALONE
    ],
)
def test_a_program_runs_and_goes_on_after_a_kill(title, whole, tmp_path, monkeypatch):
    expected, num_events = whole(title)
    rounds, queries = expected
    assert [record["labels"] for record in rounds] == LABELS[title]
    assert rounds[-1]["is_last"] and len(queries.splitlines()) == LABELS[title][-1]
    assert live(title, tmp_path / "b", monkeypatch, [num_events // 2])[1] == 1
    assert results(tmp_path / "b") == expected


def test_people_answer_by_name_over_days(whole, tmp_path, monkeypatch):
    expected, num_events = whole(PEOPLE)
    rounds, queries = expected
    lines = [json.loads(line) for line in queries.splitlines()]
    events = [line.get("event", "answered") for line in lines]
    for event in ("corrected", "withdrawn", "extended"):
        assert events.count(event) == 1
    assert lines[events.index("extended")]["rows"] == 10
    assert {line["label"] for line in lines} == {"cat", "dog", None}
    assert rounds[-1]["is_last"] and len(rounds) == 3
    kills = [2, 3, 5, 20, 9]
    assert live(PEOPLE, tmp_path / "b", monkeypatch, kills)[1] >= 4
    assert results(tmp_path / "b") == expected


@pytest.mark.slow
@pytest.mark.parametrize("title", ALONE)
def test_killed_for_real_it_goes_on(title, whole, tmp_path, monkeypatch):
    expected, num_events = whole(title)
    program, folder = tmp_path / "program.py", tmp_path / "b"
    program.write_text(QUICK[title])
    folder.mkdir()
    for at in (num_events // 3, None):
        word = str(at if at else 10**6)
        command = [sys.executable, "-m", "tests.dying", word, str(program)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True)
        assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
    assert results(folder) == expected


@pytest.mark.slow
@pytest.mark.parametrize("title", QUICK)
def test_two_hundred_kills_change_nothing(title, whole, tmp_path, monkeypatch):
    expected, num_events = whole(title)
    rng = np.random.default_rng(len(title))
    kills = 0
    for trial in range(50):
        some = rng.integers(0, num_events, 5 if title == PEOPLE else 1).tolist()
        kills += live(title, tmp_path / f"b{trial}", monkeypatch, some)[1]
        assert results(tmp_path / f"b{trial}") == expected, some
        jax.clear_caches()  # each start compiles programs of its own: 65,530 mappings
        if kills >= 29:
            break
    assert kills >= 29
