"""What each strategy picks, at a glance: one pool in the plane, a panel a strategy.

    python experiments/contact_sheet.py
    python experiments/contact_sheet.py margin badge --out some.png

Three classes of unequal density meet at boundaries; far from them lie a small group and
two lone rows. A few labelled rows (black) have trained a logistic regression, whose
regions are the background; its posterior samples are drawn from the Laplace
approximation. Twenty picks are marked, all chosen at once. Without names, every
registered strategy is drawn, in docs/figures/contact_sheet.png.
"""

import argparse
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxal import View, strategy, strategy_names

OUT = pathlib.Path(__file__).parents[1] / "docs" / "figures" / "contact_sheet.png"
NUM_PICKS, NUM_SAMPLES, NUM_CLASSES, NUM_COLUMNS = 20, 20, 3, 7
# Okabe and Ito's, told apart by most people with colour blindness.
COLOURS = ("#0072B2", "#E69F00", "#009E73")
PICK = "#D81B60"


class Plane(NamedTuple):
    """The pool that all strategies choose from, and what the model says of it."""

    x: np.ndarray  # [N, 2]
    classes: np.ndarray  # [N]
    is_labelled: np.ndarray  # [N]
    weights: np.ndarray  # [3, C], the last row being the bias
    samples: np.ndarray  # [S, 3, C] weights


def make_plane(seed: int = 0) -> Plane:
    """Returns the pool and the model, from one seed."""
    rng = np.random.default_rng(seed)
    groups = (  # centre, spread, rows, class
        ((-1.5, -0.6), (0.62, 0.62), 220, 0),
        ((1.35, -0.75), (0.5, 0.75), 90, 1),
        ((0.1, 1.45), (0.95, 0.45), 60, 2),
        ((3.3, 1.9), (0.16, 0.16), 18, 2),
    )
    parts = [rng.normal(c, s, size=(n, 2)) for c, s, n, _ in groups]
    lone = np.array([[-3.6, 2.6], [3.6, -2.7]])
    x = np.concatenate([*parts, lone])
    classes = np.repeat([g[3] for g in groups], [g[2] for g in groups])
    classes = np.concatenate([classes, [0, 1]])
    is_labelled = np.zeros(len(x), bool)
    for label, count in ((0, 4), (1, 3), (2, 3)):
        rows = np.flatnonzero((classes == label) & (abs(x) < 2.5).all(-1))
        is_labelled[rng.choice(rows, count, replace=False)] = True
    weights, samples = fit(x[is_labelled], classes[is_labelled], rng)
    return Plane(x, classes, is_labelled, weights, samples)


def fit(
    x: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a logistic regression and weights drawn from around it.

    Newton's method on the penalized likelihood; the samples are those of the Laplace
    approximation, a normal whose precision is the Hessian.
    """
    rows, truth = with_bias(x), np.eye(NUM_CLASSES)[labels]
    weights = np.zeros((3, NUM_CLASSES))
    for _ in range(30):
        probs = softmax(rows @ weights)
        gradient = rows.T @ (probs - truth) + 0.3 * weights
        blocks = np.einsum("nc,ck->nck", probs, np.eye(NUM_CLASSES))
        blocks -= probs[:, :, None] * probs[:, None]
        hessian = np.einsum("nd,ne,nck->dcek", rows, rows, blocks)
        hessian = hessian.reshape(weights.size, -1) + 0.3 * np.eye(weights.size)
        weights -= np.linalg.solve(hessian, gradient.reshape(-1)).reshape(weights.shape)
    root = np.linalg.cholesky(np.linalg.inv(hessian))
    noise = rng.normal(size=(NUM_SAMPLES, weights.size)) @ root.T
    return weights, weights[None] + noise.reshape(NUM_SAMPLES, *weights.shape)


def with_bias(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def picks_of(name: str, plane: Plane, seed: int = 0) -> np.ndarray:
    """Returns the rows that a strategy picks from the plane, in its order."""
    chosen = strategy(name)
    rows = with_bias(plane.x)
    arrays = {
        "logits": rows @ plane.weights,
        "samples": np.einsum("nd,sdc->snc", rows, plane.samples),
        "features": plane.x,
        "inputs": plane.x,
    }
    names = chosen.needs | chosen.streams
    found = {n: jnp.asarray(v, jnp.float32) for n, v in arrays.items() if n in names}
    if "labels" in names:
        known = np.where(plane.is_labelled, plane.classes, -1)
        found["labels"] = jnp.asarray(known, jnp.int32)
    is_labelled = jnp.asarray(plane.is_labelled)
    view = View(~is_labelled, is_labelled, **found)
    selection = chosen.select(jax.random.key(seed), view, NUM_PICKS)
    return np.asarray(selection.indices)[np.asarray(selection.is_valid)]


def draw(names: list[str], path: pathlib.Path) -> None:
    """Draws a panel for each strategy, and writes the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    plane = make_plane()
    columns = min(NUM_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    size = (1.6 * columns, 1.45 * rows + 0.2)
    figure = Figure(figsize=size, dpi=115, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    FigureCanvasAgg(figure)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis, name in zip(axes, names, strict=False):
        panel(axis, plane, name, picks_of(name, plane))
        print(name, flush=True)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    marks = [*axes[0].collections[-2:], axes[0].collections[-3]]
    figure.legend(
        marks,
        ["labelled", "picked", "pool, coloured by its true class"],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9.5,
        borderpad=0,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    shrink(path)


def panel(axis: Any, plane: Plane, name: str, picks: np.ndarray) -> None:
    """Draws the regions of the model, the pool, the labelled rows and the picks."""
    low, high = plane.x.min(0) - 0.5, plane.x.max(0) + 0.5
    ticks = [np.linspace(low[i], high[i], 120) for i in range(2)]
    grid = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
    winner = (with_bias(grid) @ plane.weights).argmax(-1).reshape(120, 120)
    axis.contourf(
        *ticks, winner, levels=[-0.5, 0.5, 1.5, 2.5], colors=COLOURS, alpha=0.13
    )
    colours = [COLOURS[label] for label in plane.classes]
    axis.scatter(*plane.x.T, s=2.2, c=colours, linewidths=0, alpha=0.75)
    axis.scatter(
        *plane.x[plane.is_labelled].T, s=11, c="black", marker="s", linewidths=0
    )
    axis.scatter(*plane.x[picks].T, s=17, c=PICK, linewidths=0.4, edgecolors="white")
    fontsize = min(9.5, 195 / len(name))  # long names are as wide as the panel
    axis.set_title(name, fontsize=fontsize, pad=2.5)
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set(linewidth=0.5, color="#999999")


def shrink(path: pathlib.Path) -> None:
    """Rewrites a PNG with 96 colours: a third of the bytes."""
    if path.suffix != ".png":
        return
    from PIL import Image

    with Image.open(path) as image:
        few = image.convert("RGB").quantize(96)
    few.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="strategies; all by default")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    options = parser.parse_args()
    draw(options.names or list(strategy_names()), options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
