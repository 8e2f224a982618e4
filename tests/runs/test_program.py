"""A program's own loop on disk: killed, answered by people, damaged by hand."""

import contextlib
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal import (
    active_learner,
    extend,
    label_names,
    make_pool,
    reveal,
    strategy,
    supervised,
)
from jaxal.models import logistic_regression
from jaxal.pools.mesh import pool_mesh
from jaxal.runs import People, Refusals, Reply, RunError, Silent, provenance, run, store
from jaxal.runs.store import RunFiles
from jaxal.stopping import any_of, max_labels, target_accuracy
from tests.dying import Death, Killed
from tests.thinned import thinned
from tests.toys import blobs

INPUTS, LABELS = blobs(60, 3)
NAMES = label_names(["ant", "bee", "cat"])
IDS = [f"photo-{i}.png" for i in range(60)]


def make_loop(name="margin"):
    model = logistic_regression(3)
    learner = supervised(model, epochs=1, min_steps=8)
    test = jnp.asarray(INPUTS), jnp.asarray(LABELS)
    return active_learner(model, learner, strategy(name), batch_size=4, test=test)


LOOP = make_loop()


def play(folder, oracle=LABELS, display=None, **changes):
    pool = make_pool(INPUTS, mesh=pool_mesh(jax.devices()[:1]))
    settings = {"rounds": 4, "initial": 6, "ids": IDS} | changes
    display = Listener() if display is None else display
    return run(LOOP, pool, oracle, folder, display=display, **settings)


class Listener(Silent):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def results(folder):
    rounds = store.read_lines(RunFiles(folder).rounds)
    for record in rounds:
        del record["seconds"], record["compiles"]
    return rounds, RunFiles(folder).queries.read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    records = play(folder)
    assert [record["labels"] for record in records] == [6, 10, 14, 18]
    assert records[-1]["is_last"]
    return folder, results(folder)


def test_the_ledger_names_rows_and_the_config_says_what_decides(undisturbed):
    files = RunFiles(undisturbed[0])
    queries = store.read_lines(files.queries)
    assert all(q["id"] == f"photo-{q['row']}.png" for q in queries)
    assert [q["label"] for q in queries] == LABELS[[q["row"] for q in queries]].tolist()
    settings = store.read_json(files.config)["settings"]
    assert (settings["strategy"], settings["seed"]) == ("margin", 0)


@pytest.mark.parametrize("at", [("write", 3), ("save", 1), ("rename", 2), ("fsync", 9)])
def test_killed_it_ends_with_the_same_files(undisturbed, tmp_path, at):
    with contextlib.suppress(Killed), Death(at).installed():
        play(tmp_path / "run")
        pytest.fail("it was not killed")
    play(tmp_path / "run")
    assert results(tmp_path / "run") == undisturbed[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed: 0, now 1"),
        ({"settings": {"rate": 0.1}}, "rate: None, now 0.1"),
        ({"ids": [f"{name}x" for name in IDS]}, "pool: "),
    ],
)
def test_another_run_is_not_continued(undisturbed, changes, message):
    with pytest.raises(RunError, match=message):
        play(undisturbed[0], **changes)


class Colleagues:
    """They answer a few questions a day, the last first, by name."""

    def __init__(self, a_day, noise=()):
        self.a_day, self.asked, self.inbox = a_day, {}, list(noise)

    def ask(self, questions):
        self.asked |= {question.id: question for question in questions}

    def collect(self):
        answered = {reply.id for reply in self.inbox}
        due = [q for name, q in self.asked.items() if name not in answered]
        for question in due[::-1][: self.a_day]:
            name = NAMES.names[LABELS[question.row]]
            self.inbox.append(Reply(question.id, name, who="ada", seconds=2.5))
        return self.inbox


def test_people_answer_by_name_in_parts_and_the_run_goes_on(undisturbed, tmp_path):
    people, days, trained = Colleagues(3), 0, []
    assert isinstance(people, People)

    class Watcher(Listener):
        def phase(self, name, index):
            trained.extend([index] * (name == "train"))
            return super().phase(name, index)

    while True:
        display = Watcher()
        records = play(tmp_path / "run", people, display, names=NAMES)
        if records and records[-1]["is_last"]:
            break
        days += 1
        assert any("Waiting for" in message for message in display.messages)
    assert days == 4  # 6, 4, 4 and 4 questions; three a day, the first on asking
    rounds, _ = results(tmp_path / "run")
    assert [r["labels"] for r in rounds] == [6, 10, 14, 18]
    expected = [{**r, "accuracy": 0} for r in undisturbed[1][0]]
    assert [{**r, "accuracy": 0} for r in rounds] == expected
    queries = store.read_lines(RunFiles(tmp_path / "run").queries)
    assert {q["label"] for q in queries} <= {"ant", "bee", "cat"}
    assert {(q["who"], q["seconds"]) for q in queries} == {("ada", 2.5)}
    assert not RunFiles(tmp_path / "run").asked.exists()


class Board:
    """Where everything said is kept; what is asked is answered at once, and rightly."""

    def __init__(self):
        self.said, self.rounds = [], 0

    def ask(self, questions):
        self.rounds += 1
        for question in questions:
            self.say(question.row, NAMES.names[LABELS[question.row]])

    def say(self, row, label, **more):
        self.said.append(Reply(IDS[row], label, who="ada", **more))

    def collect(self):
        return self.said


def events(folder):
    lines = store.read_lines(RunFiles(folder).queries)
    return [
        (q["round"], q["row"], q["event"], q["label"]) for q in lines if "event" in q
    ]


SHY = set(np.flatnonzero(LABELS == 1).tolist())  # nobody knows class 1


ANSWERS = np.where(LABELS == 1, -1, LABELS)


def asked_by_round(folder):
    found = {}
    for line in store.read_lines(RunFiles(folder).queries):
        if line.get("event", "answered") == "answered":
            found.setdefault(line["round"], []).append(line["row"])
    return found


@pytest.mark.parametrize("rule", [(1, 2), (2, None), (0, 1)])
def test_who_refuses_is_left_in_peace_and_in_the_end_withdrawn(tmp_path, rule):
    rest, most = rule
    folder = tmp_path / "run"
    records = play(folder, ANSWERS, rounds=9, refusals=Refusals(*rule))
    asked = asked_by_round(folder)
    refused = {}
    for index, rows in asked.items():
        for row in SHY & set(rows):
            refused.setdefault(row, []).append(index)
    for rounds in refused.values():
        assert all(np.diff(rounds) > rest)
        assert most is None or len(rounds) <= most
    lines = store.read_lines(RunFiles(folder).queries)
    gone = {line["row"]: line for line in lines if line.get("event") == "withdrawn"}
    often = {row for row, rounds in refused.items() if len(rounds) == most}
    assert gone.keys() == often
    assert all(line["why"] == f"refused {most} times" for line in gone.values())
    assert records[-1]["labels"] == sum(r not in SHY for a in asked.values() for r in a)


def test_without_a_rule_a_refused_row_is_asked_for_ever(tmp_path):
    play(tmp_path / "run", ANSWERS, rounds=9, refusals=None)
    asked = asked_by_round(tmp_path / "run")
    assert any(SHY & set(asked[i]) & set(asked[i + 1]) for i in range(1, 8))


def test_when_all_others_are_bought_nobody_rests(tmp_path):
    labels = np.where(np.arange(60) < 10, LABELS, -1)
    records = play(tmp_path / "run", labels, rounds=9, refusals=Refusals(9, None))
    assert len(records) == 9 and not any(r["is_last"] for r in records[:-1])
    records = play(tmp_path / "gone", labels, rounds=99, refusals=Refusals(9, 1))
    assert records[-1]["is_last"] and len(records) < 20  # the pool is dry


def test_refusals_are_the_same_after_any_kill(tmp_path):
    rule = {"rounds": 6, "refusals": Refusals(1, 2)}
    play(tmp_path / "whole", ANSWERS, **rule)
    for at in range(4, 90, 9):
        folder = tmp_path / f"killed-{at}"
        with contextlib.suppress(Killed), Death(at).installed():
            play(folder, ANSWERS, **rule)
        play(folder, ANSWERS, **rule)
        assert results(folder) == results(tmp_path / "whole")


def test_labels_are_corrected_and_taken_back_and_rows_withdrawn(tmp_path):
    class Minds(Board):
        """After the first questions they think again, before the second are chosen."""

        def ask(self, questions):
            if self.rounds == 1:
                self.first = [question.row for question in questions][:1]
                wrong = self.said[0], self.said[1], self.said[2]
                rows = [IDS.index(reply.id) for reply in wrong]
                self.say(rows[0], "cat" if wrong[0].label != "cat" else "ant")
                self.say(rows[1], None)
                self.say(rows[2], None, withdraw=True)
                self.rows = rows
            super().ask(questions)
            if self.rounds == 2:  # the row itself is broken
                self.say(self.first[0], None, withdraw=True)
            if self.rounds == 3:
                right = NAMES.names[LABELS[self.rows[0]]]
                self.say(self.rows[0], right)

    people = Minds()
    records = play(tmp_path / "run", people, names=NAMES)
    changed, back, gone = people.rows
    wrong = "cat" if LABELS[changed] != 2 else "ant"
    right = NAMES.names[LABELS[changed]]
    assert events(tmp_path / "run") == [
        (1, changed, "corrected", wrong),
        (1, back, "forgotten", None),
        (1, gone, "withdrawn", None),
        (1, people.first[0], "withdrawn", None),
        (2, changed, "corrected", right),
    ]
    # 6, and of 4 answers one is of a row withdrawn; one taken back, one withdrawn.
    assert [record["labels"] for record in records] == [6, 7, 11, 15]
    queries = store.read_lines(RunFiles(tmp_path / "run").queries)
    assert all(q["cost"] == ("event" not in q) for q in queries)
    later = {q["row"] for q in queries if q["round"] > 1 and "event" not in q}
    assert not later & {gone, people.first[0]}


@pytest.mark.parametrize(
    "at", [("write", 4), ("save", 2), ("fsync", 12), ("rename", 4)]
)
def test_a_run_with_changes_that_is_killed_ends_with_the_same_files(tmp_path, at):
    class Second(Board):
        """Asked for round 2 it corrects a label of round 0 and withdraws a row."""

        def ask(self, questions):
            super().ask(questions)
            if questions[0].round == 2:
                first, second = (IDS.index(reply.id) for reply in self.said[:2])
                self.say(first, "ant" if LABELS[first] else "cat")
                self.say(second, None, withdraw=True)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    play(whole, Second(), names=NAMES)
    people = Second()
    with contextlib.suppress(Killed), Death(at).installed():
        play(killed, people, names=NAMES)
        pytest.fail("it was not killed")
    play(killed, people, names=NAMES)
    assert results(killed) == results(whole)
    assert [event for _, _, event, _ in events(killed)] == ["corrected", "withdrawn"]


def growing(size):
    pool = make_pool(INPUTS[:40], mesh=pool_mesh(jax.devices()[:1]), capacity=60)
    return extend(pool, INPUTS[40:size])[0] if size > 40 else pool


def play_growing(folder, size, oracle=LABELS, **changes):
    settings = {"rounds": 4, "initial": 6, "display": Listener()} | changes
    loop = make_loop("random")  # it buys new rows as soon as there are any
    return run(loop, growing(size), oracle, folder, ids=IDS[:size], **settings)


MOMENTS = ("save", 1), ("save", 2), ("write", 3), ("fsync", 9)


@pytest.mark.parametrize("at", thinned(((at,) for at in MOMENTS), 2))
def test_rows_that_come_between_two_starts_may_be_bought(tmp_path, at):
    folder = tmp_path / "run"
    with contextlib.suppress(Killed), Death(at).installed():
        play_growing(folder, 40)
        pytest.fail("it was not killed")
    before = store.read_lines(RunFiles(folder).queries)
    with contextlib.suppress(Killed), Death(("rename", 2)).installed():
        play_growing(folder, 60)
    records = play_growing(folder, 60)
    assert [record["labels"] for record in records] == [6, 10, 14, 18]
    queries = store.read_lines(RunFiles(folder).queries)
    assert queries[: len(before)] == before
    (came,) = [q for q in queries if "event" in q]
    assert (came["event"], came["row"], came["rows"]) == ("extended", 40, 20)
    bought = [q["row"] for q in queries if "event" not in q]
    assert max(q["row"] for q in before) < 40 <= max(bought)
    assert len(set(bought)) == 18


def test_rows_that_come_before_the_first_round_is_whole_are_there(tmp_path):
    def start(size):
        pool = growing(40)
        pool = reveal(pool, np.arange(6), LABELS[:6])
        pool = extend(pool, INPUTS[40:size])[0] if size > 40 else pool
        settings = {"rounds": 3, "display": Listener(), "ids": IDS[:size]}
        return run(make_loop("random"), pool, LABELS, tmp_path / "run", **settings)

    with contextlib.suppress(Killed), Death(("save", 1)).installed():
        start(40)
        pytest.fail("it was not killed")
    RunFiles(tmp_path / "run").queries.unlink()  # nothing was bought yet
    with contextlib.suppress(Killed), Death(("save", 1)).installed():
        start(60)
    lines = store.read_lines(RunFiles(tmp_path / "run").queries)
    assert [q["round"] for q in lines if "event" in q] == [0]
    assert max(q["row"] for q in lines if "event" not in q) >= 40
    assert [record["labels"] for record in start(60)] == [6, 10, 14]


def test_rows_that_came_stay_what_they_were(tmp_path):
    folder = tmp_path / "run"
    people = Colleagues(3)
    play_growing(folder, 40, people, names=NAMES)
    play_growing(folder, 50, people, names=NAMES)
    with pytest.raises(RunError, match="begun with 40 rows, and the pool has 30"):
        pool = make_pool(INPUTS[:30], capacity=60)
        run(LOOP, pool, people, folder, rounds=4, initial=6, names=NAMES, ids=IDS[:30])
    pool = extend(growing(40), INPUTS[:10])[0]
    with pytest.raises(
        RunError, match="the 10 rows from 40 on are not those that came"
    ):
        loop = make_loop("random")
        settings = {"rounds": 4, "initial": 6, "names": NAMES, "ids": IDS[:50]}
        run(loop, pool, people, folder, **settings)
    people.a_day = 60
    records = play_growing(folder, 60, people, names=NAMES)
    assert records[-1]["is_last"] and records[-1]["labels"] == 18
    queries = store.read_lines(RunFiles(folder).queries)
    assert [q["rows"] for q in queries if "event" in q] == [10, 10]


class Inbox:
    def __init__(self):
        self.asked, self.replies = [], []

    def ask(self, questions):
        self.asked = [question.id for question in questions]

    def collect(self):
        return self.replies


def test_people_think_again_while_a_run_waits(tmp_path):
    people = Inbox()

    def start(*replies):
        people.replies += replies
        return play(tmp_path / "run", people, names=NAMES, rounds=3)

    def answers():
        return [Reply(i, NAMES.names[LABELS[IDS.index(i)]]) for i in people.asked]

    start()
    first = people.asked[0]
    wrong, right = NAMES.names[LABELS[IDS.index(first)] - 1], answers()[0]
    start(*answers())  # of the initial rows
    start(Reply(people.asked[0], None, withdraw=True))  # what round 0 asked for
    start(*answers())
    start(*answers()[:1])
    for reply in (Reply(first, wrong), right, Reply(first, wrong)):
        start(reply)
    gone = people.asked[0]
    start(Reply(gone, None, withdraw=True))
    records = start(*answers())
    assert records[-1]["is_last"]
    found = events(tmp_path / "run")
    assert [event[0] for event in found] == [1, 2, 2, 2, 2]
    assert [e[3] for e in found] == [None, wrong, right.label, wrong, None]
    assert found[-1][1:3] == (IDS.index(gone), "withdrawn")
    assert [record["labels"] for record in records] == [6, 9, 12]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"withdraw": "False"}, "withdraw 'False', expected True or False"),
        ({"who": "\ud800"}, "half a character, such as that after .*who"),
    ],
)
def test_a_reply_that_cannot_be_is_refused(tmp_path, reply, message):
    people = Inbox()
    play(tmp_path / "run", people, names=NAMES)
    people.replies = [Reply(people.asked[0], "ant", **reply)]
    with pytest.raises(RunError, match=message):
        play(tmp_path / "run", people, names=NAMES)
    assert store.read_lines(RunFiles(tmp_path / "run").queries) == []


def test_replies_on_no_row_are_said_and_numbers_are_ids(tmp_path):
    people, said = Inbox(), Listener()
    play(tmp_path / "run", people, ids=None)
    people.replies = [Reply(int(people.asked[0]), 1), Reply("nobody", 1)]
    play(tmp_path / "run", people, ids=None, display=said)
    assert any(
        "1 answers name no row of the pool, such as 'nobody'" in m
        for m in said.messages
    )
    assert len(store.read_lines(RunFiles(tmp_path / "run").queries)) == 1


@pytest.mark.parametrize(
    "damage",
    ["", "[]", '{"round": 9, "rows": [3]}', '{"round": 1, "rows": [99]}', None],
)
def test_what_was_asked_is_not_believed_either(tmp_path, damage):
    people, files = Inbox(), RunFiles(tmp_path / "run")
    play(files.folder, people, names=NAMES)
    people.replies = [Reply(i, "ant") for i in people.asked]
    play(files.folder, people, names=NAMES)
    before = store.read_json(files.asked)
    labelled = store.read_lines(files.queries)[0]["row"]
    damage = json.dumps(before | {"rows": [labelled]}) if damage is None else damage
    files.asked.write_text(damage)
    with pytest.raises(RunError, match="asked.json is damaged. Remove it"):
        play(files.folder, people, names=NAMES)
    files.asked.unlink()
    play(files.folder, people, names=NAMES)
    assert store.read_json(files.asked) == before


def test_a_wait_costs_no_training(tmp_path):
    people, trained = Colleagues(6), []

    class Watcher(Listener):
        def phase(self, name, index):
            trained.extend([index] * (name == "train"))
            return super().phase(name, index)

    play(tmp_path / "run", people, Watcher(), names=NAMES)
    people.a_day = 0
    for _ in range(4):
        play(tmp_path / "run", people, Watcher(), names=NAMES)
    assert trained.count(0) <= 2


def test_an_answer_that_is_no_name_says_whose_it_is(tmp_path):
    people = Colleagues(0)
    with contextlib.suppress(RunError):
        play(tmp_path / "run", people, names=NAMES)
    some = next(iter(people.asked))
    people.inbox.append(Reply(some, "dog", who="bob"))
    with pytest.raises(RunError, match=rf"of bob to '{some}'.*'dog'.*expected one of"):
        play(tmp_path / "run", people, names=NAMES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"ids": ["a"] * 60}, "'a' twice"),
        ({"ids": ["a"]}, "1 names"),
        ({"initial": 61}, "initial is 61"),
        ({"settings": {"pool": "x"}}, "'pool', which the run writes itself"),
        ({"settings": {"f": print}}, "settings has 'f'.*Give numbers, words"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        play(tmp_path / "run", **settings)


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halfway") / "run"
    with contextlib.suppress(Killed), Death(("rename", 3)).installed():
        play(folder)
    assert len(store.read_lines(RunFiles(folder).rounds)) == 2
    return folder


def _edited(field, value, line=0):
    def edit(files):
        queries = store.read_lines(files.queries)
        queries[line][field] = value
        store.rewrite_lines(files.queries, queries)

    return edit


def _shortened(files):
    store.rewrite_lines(files.queries, store.read_lines(files.queries)[:5])


def _renamed(files):
    for number in (5, 4):
        place = files.checkpoint / "round-00001"
        shutil.copytree(place, files.checkpoint / f"round-0000{number}")
    lines = store.read_lines(files.rounds)
    more = [{**lines[-1], "round": i} for i in range(2, 6)]
    store.rewrite_lines(files.rounds, [*lines, *more])


def _all_in_one_line(files):
    files.queries.write_bytes(files.queries.read_bytes().replace(b"\n", b"\r"))


def _of_another_format(files):
    store.write_json(files.config, store.read_json(files.config) | {"format": 99})


def _of_another_seed(files):
    play(other := files.folder.parent / "other", rounds=2, seed=1)
    config = files.config.read_bytes()
    shutil.copytree(other, files.folder, dirs_exist_ok=True)
    files.config.write_bytes(config)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _edited("label", 99),
            "Line 1 of .*queries.jsonl: label 99 is no class 0 to 2",
        ),
        (_edited("event", "eaten"), "event 'eaten' is none of answered"),
        (_edited("event", "corrected"), "is corrected and has no label"),
        (_edited("event", "withdrawn"), "is withdrawn with label"),
        (_edited("event", "extended"), "is extended with label"),
        (_edited("label", "ant"), "Line 1 .*'ant'"),
        (_edited("row", 60), "Line 1 .*row 60 is none of 0 to 59"),
        (_edited("row", "x"), "Line 1 .*not both integers"),
        (_edited("id", "other"), "Line 1 .*is called 'other', in this pool"),
        (_edited("round", 5, -1), "round is 5, after a line of"),
        (_edited("label", -1), "trained on 6 labels says .*has 5"),
        (_shortened, "trained on 6 labels says .*has 5"),
        (_renamed, "trained on 10 labels says .*has "),
        (lambda f: f.config.write_text("[]"), "config.json is damaged"),
        (lambda f: f.config.write_text("{"), "config.json is damaged"),
        (_of_another_format, "config.json is of format 99"),
        (lambda f: f.rounds.write_text("3\n"), "Line 1 of .*rounds.jsonl"),
        (_all_in_one_line, "trained on 6 labels says .*has 0"),
        (_of_another_seed, "Line 1 of .*rounds.jsonl is of another run: seed is 1"),
    ],
)
def test_what_is_on_disk_is_not_believed(halfway, tmp_path, damage, message):
    folder = shutil.copytree(halfway, tmp_path / "run")
    damage(RunFiles(folder))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match=message):
        play(folder)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.rounds.write_text("3\n"), "Line 1 of .*rounds.jsonl"),
        (
            lambda f: store.write_json(
                f.config, store.read_json(f.config) | {"resumed": [3]}
            ),
            "config.json is damaged: its resumed",
        ),
    ],
)
def test_nor_is_it_with_other_software(halfway, tmp_path, monkeypatch, damage, message):
    folder = shutil.copytree(halfway, tmp_path / "run")
    damage(RunFiles(folder))
    monkeypatch.setattr(provenance, "environment", lambda: {"jax": "another"})
    with pytest.raises(RunError, match=message):
        play(folder)


def test_validation_is_measured_in_each_round(tmp_path):
    records = play(tmp_path / "run", rounds=2, validation=(INPUTS, LABELS))
    for record in records:  # the rows of the test set, so its numbers
        found = record["validation"]
        assert found == {name: record[name] for name in found}


@pytest.mark.parametrize("at", [None, ("save", 2), ("write", 4)])
def test_a_rule_ends_a_run_early_and_killed_it_ends_where_it_would_have(tmp_path, at):
    rule, shown = any_of(max_labels(14), target_accuracy(1.0)), Listener()
    changes = {"stop": rule, "validation": (INPUTS[:9], (LABELS[:9] + 2) % 3)}
    if at is not None:
        with contextlib.suppress(Killed), Death(at).installed():
            play(tmp_path / "run", **changes)
            pytest.fail("it was not killed")
    records = play(tmp_path / "run", display=shown, **changes)
    assert [record["labels"] for record in records] == [6, 10, 14]
    last = records[-1]
    assert (last["is_last"], last["stopped_by"]) == (True, "max_labels(14)")
    assert last["bought"] == 0
    assert "stopped_by" not in records[1]
    assert "max_labels(14) stops at 14 labels." in shown.messages
    assert len(store.read_lines(RunFiles(tmp_path / "run").queries)) == 14
    with pytest.raises(RunError, match="stop: "):
        play(tmp_path / "run", **(changes | {"stop": max_labels(15)}))


def test_a_rule_that_looks_at_what_is_not_measured_buys_nothing(tmp_path):
    with pytest.raises(RunError, match="no label was bought. This rule needs"):
        play(tmp_path / "run", stop=target_accuracy(0.9))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_shortened, "trained on 6 labels says .*has 5"),
        (_edited("label", 99), "label 99 is no class 0 to 2"),
        (_edited("event", "eaten"), "event 'eaten' is none of answered"),
    ],
)
def test_nor_is_a_finished_ledger(undisturbed, tmp_path, damage, message):
    folder = shutil.copytree(undisturbed[0], tmp_path / "run")
    damage(RunFiles(folder))
    with pytest.raises(RunError, match=message):
        play(folder)


def test_settings_of_any_kind_go_on(tmp_path):
    settings = {"sizes": (3, 4), 5: np.arange(2), "rate": float("nan"), "at": Path("x")}
    for _ in range(2):
        records = play(tmp_path / "run", rounds=1, settings=settings)
        assert len(records) == 1


def test_a_label_changed_by_hand_is_named_not_trained_on(halfway, tmp_path):
    folder = shutil.copytree(halfway, tmp_path / "run")
    first = store.read_lines(RunFiles(folder).queries)[0]
    other = (first["label"] + 1) % 3
    _edited("label", other)(RunFiles(folder))
    with pytest.raises(RunError, match=f"disagree on 1 labels: row {first['row']} is "):
        play(folder)
    shutil.rmtree(RunFiles(folder).checkpoint)  # the cure it names
    RunFiles(folder).rounds.unlink()
    play(folder)
    assert store.read_lines(RunFiles(folder).queries)[0]["label"] == other


def _mangled(content, random):
    """A few bytes flipped, cut, doubled, or a value replaced by another JSON value."""
    content = bytearray(content)
    kind, place = random.integers(5), int(random.integers(max(len(content), 1)))
    if kind == 0 and content:
        content[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        content[place:place] = content[: int(random.integers(200))]
    elif kind == 3:
        del content[place : place + int(random.integers(1, 30))]
    else:
        odd = [b"null", b"[]", b"{}", b"-1", b"1e400", b'"\\ud800"', b"true", b"\xff"]
        start = content.find(b": ", place)
        end = min(x for x in (content.find(b",", start + 2), len(content)) if x >= 0)
        content[start + 2 : end] = odd[int(random.integers(len(odd)))]
    return bytes(content)


def _check_damage(halfway, undisturbed, folder, seeds):
    """Refused in words, or no different in the end; never a traceback."""
    refused = 0
    for seed in seeds:
        random = np.random.default_rng(seed)
        shutil.copytree(halfway, folder)
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
        path = files[int(random.integers(len(files)))]
        path.write_bytes(_mangled(path.read_bytes(), random))
        try:
            play(folder)
        except RunError as error:
            assert str(folder) in str(error), f"seed {seed}: {error}"
            refused += 1
        else:
            rounds, queries = results(folder)
            pairs = zip(rounds, undisturbed[1][0], strict=True)
            same = ("labels", "accuracy", "nll", "bought")
            is_same = all(a[k] == b[k] for a, b in pairs for k in same)
            assert is_same, f"seed {seed}: {path.name} was believed"
            lines = [json.loads(line) for line in queries.splitlines()]
            expected = [json.loads(x) for x in undisturbed[1][1].splitlines()]
            kept = ("row", "id", "label", "round")
            assert [[q[k] for k in kept] for q in lines] == [
                [q[k] for k in kept] for q in expected
            ], f"seed {seed}: {path.name} was believed"
        shutil.rmtree(folder)
    return refused


def test_damaged_files_are_refused_or_make_no_difference(
    halfway, undisturbed, tmp_path
):
    refused = _check_damage(halfway, undisturbed, tmp_path / "run", range(40))
    assert refused > 5


@pytest.mark.slow
def test_a_thousand_damaged_files(halfway, undisturbed, tmp_path):
    _check_damage(halfway, undisturbed, tmp_path / "run", range(1000))


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"seed": "a"}, TypeError, "seed is 'a', expected a whole number"),
        ({"seed": 1.5}, TypeError, "seed is 1.5"),
        ({"rounds": "3"}, TypeError, "rounds is '3'"),
        ({"rounds": 1.5}, TypeError, "rounds is 1.5"),
        ({"rounds": 0}, ValueError, "rounds is 0"),
        ({"names": ["ant", "cat"]}, TypeError, "label_names"),
        ({"stop": "plateau"}, TypeError, "a rule of jaxal.stopping"),
        ({"settings": [1]}, TypeError, "settings is .*a dict"),
        ({"ids": "abc"}, TypeError, "a name for each row"),
        ({"ids": 3}, TypeError, "a name for each row"),
        ({"validation": (1,)}, TypeError, "inputs, labels"),
        ({"refusals": 3}, TypeError, r"Refusals\(rest=1, most=3\)"),
        ({"refusals": (1, 2)}, TypeError, r"Refusals\(rest=1, most=3\)"),
        ({"refusals": Refusals(-1, 2)}, ValueError, "at least 0"),
        ({"refusals": Refusals(1, 0)}, ValueError, "at least 1"),
        ({"oracle": LABELS[:5]}, ValueError, "5 labels.*60 rows"),
        ({"oracle": 3}, ValueError, "1 labels.*60 rows"),
        ({"loop": None}, TypeError, "what active_learner returns"),
        ({"pool": np.zeros([4, 2])}, TypeError, "what make_pool returns"),
    ],
)
def test_what_is_no_argument_is_refused_before_anything_is_written(
    tmp_path, given, error, says
):
    usual = {"loop": LOOP, "pool": make_pool(INPUTS), "oracle": LABELS, "rounds": 2}
    given = {**usual, "display": Silent(), **given}
    first = (given.pop(name) for name in ("loop", "pool", "oracle"))
    with pytest.raises(error, match=says):
        run(*first, tmp_path / "run", **given)
    assert not (tmp_path / "run" / "config.json").exists()
