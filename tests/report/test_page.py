"""The page of a report: whole, of nobody else, and looked at in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from jaxal.report.gathering import gather
from jaxal.report.page import cards, maps
from jaxal.report.page.html import embedded, svg
from jaxal.report.page.page import page
from jaxal.report.page.rows import Rows, bought, called
from jaxal.report.summary import summarise
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from tests.report.test_report import make_run

EVIL = """</script><script>document.title="owned"</script>"""
EVIL += """<img src=x onerror='x()'>"&amp;-->"""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def ledger(run, score=None):
    """Two rows at first, then two a round, the second time with scores."""
    lines = [
        {
            "round": i // 2,
            "row": i,
            "id": f"{EVIL}{i}",
            "label": i % 2,
            "score": None if i < 2 else 10.0 - i,
        }
        for i in range(6)
    ]
    store.append_lines(RunFiles(run).queries, lines)


class Fake:
    """Reads twenty small pictures of two classes, and knows how unsure one is."""

    def rows(self, run):
        rng = np.random.default_rng(0)
        inputs = rng.integers(0, 255, size=(20, 4, 4, 3)).astype(np.uint8)
        return Rows([f"{EVIL}{i}" for i in range(20)], inputs, None, ("cat", EVIL))

    def uncertainty(self, run):
        if run.settings["strategy"] == "random":
            raise RunError(f"no model {EVIL}")
        some = {f"{EVIL}{i}": i / 10 for i in range(6, 20)}
        return {"total": some, "epistemic": {k: 2 - v for k, v in some.items()}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page of two strategies, everything called what no name should be."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        for name, curve in (("random", [0.2, 0.4, 0.6]), (EVIL, [0.2, 0.5, 0.9])):
            where = folder / f"{len(name)}-{seed}"
            run = make_run(where, "a", seed, curve, source=EVIL, model=EVIL)
            config = store.read_json(RunFiles(run).config)
            config["settings"]["strategy"] = name
            store.write_json(RunFiles(run).config, config)
            ledger(run)
    (group,) = gather(sorted(folder.iterdir()))
    group = group._replace(notes=[EVIL])
    return page([(group, summarise(group))], again=Fake())


class Parsed(HTMLParser):
    """What there is of elements, texts and addresses."""

    def __init__(self, whole):
        super().__init__()
        self.tags, self.addresses, self.texts = [], [], []
        self.feed(whole)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} has {name}"
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.texts.append(data)


def test_it_asks_nobody_and_runs_nothing_of_others(whole):
    found = Parsed(whole)
    assert all(x.startswith(("#", "data:")) for x in found.addresses), found.addresses
    assert not re.search(r"@import|url\((?!['\"]?#)", whole)
    assert found.tags.count("script") == 2  # the data and ours
    assert "link" not in found.tags and "iframe" not in found.tags
    assert {"svg", "table", "details"} <= set(found.tags)
    assert any(EVIL in text for text in found.texts)  # said as it is, as text
    assert "<img src=x" not in whole


def test_ids_of_figures_do_not_occur_twice_unless_alike(whole):
    ids = re.findall(r'\sid="([^"]+)"', whole)
    named = [i for i in ids if i.startswith(("figure", "axes", "patch", "text"))]
    assert not named


def test_its_data_are_json_that_ends_no_script(whole):
    (data,) = re.findall(r'class="rows">(.*?)</script>', whole, flags=re.DOTALL)
    found = json.loads(data)
    assert [side["name"] for side in found["sides"]] == [EVIL, "random"]
    first = found["sides"][0]["bought"]
    assert first[1] == [0, 1, EVIL, None] and first[4] == [2, 4, "cat", 6.0]
    assert len(found["places"]) == len(found["ids"]) == len(found["pictures"]) == 20
    assert embedded("\u2028</script>&") == '"\\u2028\\u003c/script\\u003e\\u0026"'


def test_rounds_galleries_and_notes_are_there(whole):
    text = " ".join(Parsed(whole).texts)
    for said in (
        "initial set: 2",
        "bought for round 2: 2",
        "score 6",
        "total: most uncertain",
        "1.900 nats",
        f"No uncertainty of random: no model {EVIL}",
        "Configurations",
        "Notes (1)",
    ):
        assert said in text, said


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_a_browser_sorts_draws_and_shows(whole, tmp_path):
    """The page does in Chromium, offline, what a person does with it."""
    does = """
    const said = {};
    const table = document.querySelector("table.sortable");
    const last = (row) => row.cells[4].textContent;
    const order = () => [...table.tBodies[0].rows].map(last);
    table.querySelectorAll("th")[4].click(); said.up = order();
    table.querySelectorAll("th")[4].click(); said.down = order();
    const map = document.querySelector(".map");
    said.all = map.querySelectorAll("circle:not(.pool)").length;
    said.pool = map.querySelectorAll("circle.pool").length;
    const slider = document.querySelector(".round");
    slider.value = 0; slider.dispatchEvent(new Event("input"));
    said.first = map.querySelectorAll("circle:not(.pool)").length;
    const one = map.querySelector("circle:not(.pool)");
    one.dispatchEvent(new MouseEvent("mousemove", {clientX: 5, clientY: 5}));
    const tip = document.getElementById("tip");
    said.tip = tip.textContent; said.shown = tip.style.display;
    said.picture = tip.querySelector("img").src.slice(0, 22);
    const pictures = [...document.querySelectorAll(".card img")];
    said.cards = pictures.length > 20 && pictures.every((x) => x.src);
    said.title = document.title;
    document.body.textContent = "SAID" + JSON.stringify(said) + "DIAS";
    """
    file = tmp_path / "page.html"
    file.write_text(whole.replace("</body>", f"<script>{{{does}}}</script></body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}"]
    done = subprocess.run(
        [*command, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    (told,) = re.findall(r"SAID(.*?)DIAS", done.stdout, flags=re.DOTALL) or [""]
    assert told, done.stderr[-2000:]
    parser = Parsed(told)
    said = json.loads("".join(parser.texts))
    assert said["up"] == ["60.0 ± 0.0", "90.0 ± 0.0"]
    assert said["down"] == said["up"][::-1]
    assert (said["all"], said["first"], said["pool"]) == (6, 2, 20)
    assert said["shown"] == "block" and said["picture"] == "data:image/png;base64,"
    assert said["tip"].startswith("label cat\ninitial set")
    assert said["cards"] and said["title"] == "What was worth labelling"


def test_without_a_reader_rows_have_numbers(tmp_path):
    ledger(make_run(tmp_path, "badge", 0, [0.2, 0.4, 0.6]))
    (group,) = gather([tmp_path])
    text = " ".join(Parsed(page([(group, summarise(group))])).texts)
    assert "Rows have numbers only" in text and "badge, seed 0: 6 rows" in text
    assert "Where they lie" not in text


def test_a_damaged_ledger_costs_its_rows_alone(tmp_path):
    run = make_run(tmp_path, "badge", 0, [0.2, 0.4, 0.6])
    RunFiles(run).queries.write_text('{"round": 0}\n')
    (group,) = gather([tmp_path])
    with pytest.raises(RunError, match="Line 1 of .* is no line of a ledger"):
        bought(group.curves["badge"][0])
    whole = page([(group, summarise(group))], kind="none", unsure=False)
    assert "is no line of a ledger" in whole and "Configurations" in whole


def test_places_are_principal_components():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(12, 40)) * np.linspace(1, 3, 40)
    for x in (wide, wide[:, :5], np.repeat(wide[:, :1], 3, axis=1)):
        scaled = (x - x.mean(0)) / x.std(0)
        left, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
        expected = left[:, 0] * sizes[0]
        found = maps.placed(x, "pca")
        assert found.min() == 0 and found[:, 0].max() == 1000
        assert abs(np.corrcoef(found[:, 0], expected)[0, 1]) > 0.9999
    assert maps.placed(np.ones((3, 2)), "pca").tolist() == [[0, 0]] * 3
    assert maps.placed(np.zeros((1, 2, 2)), "tsne").shape == (1, 2)


def test_both_ends_of_a_gallery():
    scores = {"total": {str(i): float(i) for i in range(5)}}
    assert cards.ends(scores) == ["4", "3", "0", "1"]
    assert called(1, ("a", "b")) == "b" and called(7, ("a",)) == "7"
    assert called(None, ()) == "no answer" and called("dog", ("a",)) == "dog"


def test_texts_are_rows_too(tmp_path):
    ledger(make_run(tmp_path, "badge", 0, [0.2, 0.4, 0.6]))
    (group,) = gather([tmp_path])

    class Texts(Fake):
        def rows(self, run):
            return Rows(
                [str(i) for i in range(6)], None, [f"{EVIL} {i}" for i in range(6)]
            )

    whole = page([(group, summarise(group))], again=Texts(), unsure=False)
    assert whole.count("<blockquote>") == 6  # by number: the ledger has other ids
    assert "<img src=x" not in whole


def test_pictures_of_figures_have_a_label():
    content = b'<?xml version="1.0"?><svg id="a"><g id="b"/><use href="#b"/></svg>'
    found = svg(content, '"x"')
    assert found.startswith('<svg role="img" aria-label="&quot;x&quot;">')
    assert 'id="b"' in found and 'id="a"' not in found
