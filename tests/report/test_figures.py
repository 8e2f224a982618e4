"""Figures: whatever things are called, whole or not there, and of nobody's home."""

import os
import pathlib

import numpy as np
import pytest

from jaxal.app.cli import run_command
from jaxal.report import command, measures
from jaxal.report.figures import bars, curves, matrices, pictures
from jaxal.report.gathering import gather
from jaxal.report.summary import summarise
from jaxal.runs import store
from jaxal.runs.errors import RunError
from jaxal.runs.store import RunFiles
from tests.report.test_report import make_run

CURVE = [0.2, 0.6, 0.7]
ODD = ["$x", "$x^{$", "a$b$c_{", r"\frac{$}$", "_hidden", "100 %", "a{b}", "Ж 漢"]


def group_of(tmp_path, **changes):
    for name in ("first", "second"):
        make_run(tmp_path / name, name, 0, CURVE, **changes)
    (group,) = gather([tmp_path / "first", tmp_path / "second"])
    return group


def picture(group):
    return curves.curves(group, summarise(group))


def texts(figure):
    (axes,) = figure.axes
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    note = " ".join(figure.get_supxlabel().split())  # of lines
    alone = f"{curves.ALONE} "
    return axes.get_title(loc="left"), legend, note.removeprefix(alone)


def is_png(content):
    from PIL import Image

    with Image.open(content) as image:
        image.load()  # all of it, with its checksums
        return image.format == "PNG"


@pytest.mark.filterwarnings("ignore:Glyph")  # a font's lack, not an error
@pytest.mark.parametrize("name", ODD)
def test_a_name_is_no_mathematics(name, tmp_path):
    group = group_of(tmp_path, dataset=name, source=f"images in {name}")
    curves = {f"{name} {i}": runs for i, runs in enumerate(group.curves.values())}
    group = group._replace(curves=curves)
    figure = picture(group)
    title, legend, note = texts(figure)
    assert title.startswith(f"{name}, preset cpu")
    assert legend == [f"{name} 0 (1 seed)", f"{name} 1 (1 seed)"]
    assert note == f"Data: images in {name}"
    figure.canvas.draw()


def test_all_of_a_long_name_is_in_the_picture(tmp_path):
    name = "class_balanced(badge(first=drawn), factor=5), " * 8
    group = group_of(tmp_path, dataset="pets", preset=f"{name}1")
    runs = next(iter(group.curves.values()))
    group = group._replace(curves={f"{name}{end}": runs for end in "23"})
    figure = picture(group)
    figure.canvas.draw()
    (axes,) = figure.axes
    for artist in (axes._left_title, axes.get_legend()):
        box = artist.get_window_extent().transformed(figure.transFigure.inverted())
        assert min(box.x0, box.y0) >= 0 and max(box.x1, box.y1) <= 1
    title, legend, _ = texts(figure)
    assert f"{name}1" in title.replace("\n", " ")
    for end, one in zip("23", legend, strict=True):
        assert f"{name}{end}" in one.replace("\n", " ")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_each_table_has_a_figure_the_system_takes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        pictures, "pictures", lambda group, summary: {"curves": curves.curves}
    )
    odd = ["m" * 300, "m" * 299 + "n", "漢" * 200, "a b", "a-b", "a/b"]
    for i, model in enumerate(odd):
        make_run(tmp_path / str(i), "badge", 0, CURVE, model=model)
    folders = [str(tmp_path / str(i)) for i in range(len(odd))]
    assert command.main([*folders, f"--out={tmp_path / 'out'}"]) == 0
    found = list((tmp_path / "out").glob("*-curves.png"))
    assert len(found) == len(odd), capsys.readouterr().err


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """Nine strategies, one of them with a single seed, others up to 100 %."""
    folder = tmp_path_factory.mktemp("nine")
    names = ["random", "class_balanced(badge(first=drawn), factor=5)", *"abcdefg"]
    for i, name in enumerate(names):
        for seed in range(1 if name == "g" else 3):
            curve = np.array([0.6, 0.9, 0.97]) + 0.01 * ((i + seed) % 3)
            make_run(folder / str(i), name, seed, curve.tolist())
    (group,) = gather(sorted(folder.iterdir()))
    return group, summarise(group)


def test_many_curves_have_no_bands_and_a_style_each(nine):
    (axes,) = curves.curves(*nine).axes
    assert not axes.collections and len(axes.lines) == 9
    styles = {(x.get_color(), x.get_marker(), x.get_linestyle()) for x in axes.lines}
    assert len(styles) == 9
    hollow = [x.get_markerfacecolor() == "white" for x in axes.lines]
    assert sum(hollow) == 1


def test_panels_are_differences_by_seed_and_their_bands_are_whole(nine):
    figure = curves.panels(*nine)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 8  # all but the baseline
    by_name = {axes.get_title(loc="left"): axes for axes in shown}
    zero, line = by_name["c"].lines  # i = 4: 0.01 * ((4 + s) % 3 - s % 3), s = 0, 1, 2
    np.testing.assert_allclose(line.get_ydata(), [0.0] * 3, atol=1e-9)
    assert zero.get_ydata() == [0, 0] and len(by_name["c"].collections) == 1
    assert not by_name["g"].collections
    low = by_name["c"].collections[0].get_paths()[0].vertices[:, 1].min()
    assert low < 0  # a difference is not cut at zero


def test_bands_of_accuracies_end_at_100_percent(nine):
    group, _ = nine
    few = {name: group.curves[name] for name in ("a", "b", "random")}
    group = group._replace(curves=few)
    (axes,) = curves.curves(group, summarise(group)).axes
    ends = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert len(ends) == 3 and max(map(max, ends)) == 100


def test_squares_say_who_is_better_and_who_beat_whom(nine):
    group, summary = nine
    squares = matrices.p_values(group, summary).axes[0]
    rows = [label.get_text() for label in squares.get_yticklabels()]
    assert rows[rows.index("a")] == "a" and len(squares.texts) == 81
    assert "class_balanced(badge(\nfirst=drawn), factor=5)" in rows
    penalties = matrices.penalties(group, summary).axes[0]
    assert len(penalties.texts) == 9 * 8  # eight have seeds; their means below
    rows = [label.get_text() for label in penalties.get_yticklabels()]
    assert rows[-1] == "mean of column" and "g" not in rows


def test_bars_are_as_long_as_the_seconds(nine):
    axes = bars.runtime(*nine).axes[0]
    assert len(axes.patches) == 9 * 4
    ends = {round(bar.get_x() + bar.get_width(), 6) for bar in axes.patches}
    assert max(ends) == pytest.approx(3 * 2.875)


def test_fits_that_were_watched_are_drawn_over_their_steps(tmp_path):
    for seed in (0, 1):
        run = RunFiles(make_run(tmp_path, "badge", seed, CURVE))
        lines = store.read_lines(run.rounds)
        along = {"step": [10, 20, 30], "test/accuracy": [0.5, 0.8, 0.7]}
        lines[-1] |= {"along": along | {"test/nll": [3, 2, 1]}, "best_step": 20}
        store.rewrite_lines(run.rounds, lines)
    (group,) = gather([tmp_path])
    drawn = pictures.pictures(group, summarise(group))
    assert "best_step" not in measures.names(lines[-1], {})
    (axes,) = drawn["fits"](group, summarise(group)).axes
    first, kept, *others = axes.lines
    assert first.get_ydata().tolist() == [50, 80, 70] and len(others) == 2
    assert (kept.get_xdata().tolist(), kept.get_ydata().tolist()) == ([20], [80])
    make_run(tmp_path, "random", 0, CURVE)  # which did not watch
    (group,) = gather([tmp_path])
    assert "fits" not in pictures.pictures(group, summarise(group))


PLACES = {
    "images in /home/ann lee/my: data/pets": "images in pets",
    "images in /home/ann/pets": "images in pets",
    "arrays of /Users/ann/pool.npz": "arrays of pool.npz",
    r"arrays of C:\Users\ann\pool.npz": "arrays of pool.npz",
    "arrays of pool.npz": "arrays of pool.npz",
    "mnist 3.0.1 of TFDS, in /home/ann/tfds/mnist/3.0.1: See http://a.b/c": (
        "mnist 3.0.1 of TFDS: See http://a.b/c"
    ),
    "NOT CIFAR-10 (put it at /home/ann/tfds/a.gz). It is 8 x 8, and/or 3 / 4.": (
        "NOT CIFAR-10 (put it at a.gz). It is 8 x 8, and/or 3 / 4."
    ),
}


@pytest.mark.parametrize("source", PLACES)
def test_the_footnote_is_of_nobodys_home(source, tmp_path):
    *_, note = texts(picture(group_of(tmp_path, source=source)))
    assert note == f"Data: {PLACES[source]}"


def test_ones_own_home_may_have_spaces(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "home", lambda: pathlib.Path("/srv/ann lee"))
    source = "NOT CIFAR-10: not prepared in /srv/ann lee/tensorflow_datasets."
    *_, note = texts(picture(group_of(tmp_path, source=source)))
    assert note == "Data: NOT CIFAR-10: not prepared in tensorflow_datasets."


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf", ""])
def test_a_figure_is_whole_or_the_old_one(ending, tmp_path, monkeypatch):
    group, path = group_of(tmp_path), tmp_path / f"curves{ending}"
    pictures.draw(group, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])

    def killed(*args):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, name, killed)
            pictures.draw(group, path)
        assert path.read_bytes() == whole[:100]
    pictures.draw(group, path)
    starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", "": b"\x89PNG"}
    assert path.read_bytes().startswith(starts[ending])
    assert len(path.read_bytes()) == len(whole)
    assert not [f for f in tmp_path.iterdir() if f.suffix == ".tmp"]


@pytest.mark.parametrize("error", [ValueError, RunError, ImportError, MemoryError])
def test_a_curve_that_cannot_be_drawn_is_a_sentence(error, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error("so it is")

    run = make_run(tmp_path, "badge", 0, CURVE)
    monkeypatch.setattr(curves, "curves", fail)
    told = pictures.draw_run(run, tmp_path / "a.png")
    assert told == "no figure: so it is"


def test_runs_of_odd_names_have_figures_and_damaged_ones_are_drawn_again(
    tmp_path, capsys
):
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    np.savez(tmp_path / "a$b_{$.npz", inputs=inputs, labels=labels)
    chosen = f"mixture({', '.join(['random'] * 40)})"
    words = [
        f"--dataset={tmp_path / 'a$b_{$.npz'}",
        f"--strategy={chosen}",
        f"--output={tmp_path / 'runs'}",
        *("--preset=smoke", "--rounds=0", "--initial=10", "--seeds", "0", "1"),
        "--model=logistic_regression",
    ]
    assert run_command(words) == 0
    drawn = sorted((tmp_path / "runs").glob("*/figures/learning_curve.png"))
    assert len(drawn) == 2
    drawn[0].write_bytes(drawn[0].read_bytes()[:200])
    assert run_command(words) == 0
    assert all(map(is_png, drawn))
    assert capsys.readouterr().err.count("\nfigure: ") == 4
