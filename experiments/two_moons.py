"""Two moons: what strategies buy and models believe, round by round, in pictures.

    python experiments/two_moons.py
    jaxal report studies/two_moons

400 points on two moons (noise 0.1) may be bought, 4 to start with and 4 a round up to
48; accuracy is of 2,000 others. Strategies random, margin and bald; models are an MLP
of two hidden layers with 20 dropout masks, an ensemble of 5 such, and a Gaussian
process (exact, on -1 and 1, as a baseline). Uncertainty is split as by Depeweg et al.,
"Decomposition of Uncertainty in Bayesian Deep Learning for Efficient and Risk-sensitive
Learning" (ICML 2018, https://arxiv.org/abs/1710.07283): total = aleatoric + epistemic.

A trial is a run under --folder; killed and started again, the study goes on. Figures:
boundaries.png (decision boundaries as labels come in, the order of queries drawn on),
uncertainty.png (heat maps of the scores) and queries.gif.

With dropout, ten seeds and 48 labels (95 % Student intervals, shared CPU cores, six
minutes): margin 99.9 % (99.8 to 99.9), random 97.4 (96.1 to 98.6), bald 96.3 (92.5 to
100). 98 % is reached by all ten seeds of margin, after 20 to 40 labels, by eight of
bald, after 32 to 48, and by five of random. BALD of dropout masks buys the ends of the
moons four at a time. Ensembles and the Gaussian process were not measured.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import jaxal
from jaxal import ActiveLearner, Committee, Learner, Pool
from jaxal.app.interrupts import script
from jaxal.models import mlp
from jaxal.runs import store
from jaxal.runs.experiment import stream
from jaxal.settings import Settings, setting
from jaxal.studies import study
from jaxal.words import parse

CLASSES = "#0072B2", "#E69F00"
FINE = 40  # points along an edge of a picture


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What to run."""

    folder: Path = setting(Path("studies/two_moons"))
    """Of the study and its figures."""
    models: tuple[str, ...] = setting(
        ("dropout", "ensemble", "gp"), choices=("dropout", "ensemble", "gp")
    )
    """Who is uncertain."""
    strategies: tuple[str, ...] = setting(("random", "margin", "bald"), is_set=True)
    """Who chooses."""
    seeds: tuple[int, ...] = setting(tuple(range(10)), low=0, is_set=True)
    """Trials of each; 0..9 has ten."""
    rounds: int = setting(12, low=2)
    """Trainings, the first with 4 labels, each later one with 4 more."""
    rows: int = setting(400, low=8)
    """Of the pool."""


def moons(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points `[N, 2]` and which moon they are on."""
    rng = np.random.default_rng(seed)
    angle, labels = rng.uniform(0, np.pi, count), rng.integers(0, 2, count)
    sign = 1 - 2 * labels
    points = np.stack([np.cos(angle) * sign, np.sin(angle) * sign], axis=1)
    points += labels[:, None] * [1.0, 0.5] + rng.normal(0, 0.1, points.shape)
    return points.astype(np.float32), labels


def gaussian_process(capacity: int, width: float = 0.5, noise: float = 0.05):
    """Returns an exact Gaussian process on -1 and 1, for points in the plane."""

    def kernel(a: Array, b: Array) -> Array:
        gaps = ((a[:, None] - b[None]) ** 2).sum(-1)
        return jnp.exp(-gaps / (2 * width**2))

    def moments(state: Any, points: Array) -> tuple[Array, Array]:
        known, targets, weights = state
        cov = kernel(known, known) * weights[:, None] * weights[None]
        cov = cov + jnp.diag(noise + 1e6 * (1 - weights))  # what is not there says none
        seen = kernel(points, known) * weights[None]
        solved = jnp.linalg.solve(cov, jnp.concatenate([targets[:, None], seen.T], 1))
        return seen @ solved[:, 0], kernel(points, points) - seen @ solved[:, 1:]

    def fit(key: Array, state: Any, pool: Pool) -> tuple[Any, Any]:
        del key, state
        rows = jaxal.labelled_rows(pool, capacity)
        targets = (2.0 * rows.labels - 1) * rows.weights
        count, loss = pool.is_labelled.sum(), jnp.float32(0)
        told = jaxal.FitInfo(loss, jnp.int32(1), count)
        return (rows.inputs, targets, rows.weights), told

    def init(key: Array, points: Array) -> Any:
        del key
        return jnp.zeros((capacity, 2)), jnp.zeros(capacity), jnp.zeros(capacity)

    both = lambda f: 2 * jnp.concatenate([-f, f], -1)  # noqa: E731
    draws = jaxal.gaussian_functions(moments, 20, to_logits=both)
    return Committee(Learner(init, fit, capacity=capacity), draws)


def committee(name: str, capacity: int) -> tuple[Any, Committee]:
    """Returns the model, and its learner with where samples come from."""
    if name == "gp":
        return None, gaussian_process(capacity)
    model, settings = mlp(2, hidden=(64, 64), dropout=0.1), {"capacity": capacity}
    if name == "dropout":
        learner = jaxal.supervised(model, **settings)
        return model, Committee(learner, jaxal.mc_dropout(model, 20))
    learner = jaxal.supervised(model, members=5, **settings)
    return model, Committee(learner, jaxal.deep_ensemble(model, 5))


class Moons:
    """Data and loops, made once: trials share their programs."""

    def __init__(self, options: Options):
        """Draws the points, and makes a learner for each model."""
        self.points, self.labels = moons(options.rows, 0)
        self.pool = jaxal.make_pool(
            self.points, mesh=jaxal.pool_mesh(jax.devices()[:1])
        )
        self.test = tuple(map(jnp.asarray, moons(2000, 1)))
        most = 4 + 4 * options.rounds
        self.committees = {name: committee(name, most) for name in options.models}

    def make(self, model: str, strategy: str) -> ActiveLearner:
        """Returns the loop of a cell."""
        network, (learner, posterior) = self.committees[model]
        return jaxal.active_learner(
            network,
            learner,
            jaxal.strategy(strategy),
            batch_size=4,
            posterior=posterior,
            test=self.test,
            # Draws of a process are joint: of 2,000 points they take seconds.
            measure="network" if model == "gp" else "predictive",
        )

    def samples(self, model: str, seed: int, rows: Sequence[int], points: Array):
        """Returns what those who trained on rows say of points, `[S, N, C]`."""
        index, loop = len(rows) // 4 - 1, self.make(model, "random")
        state = loop.init(stream(seed, "weights"), self.pool)
        state = loop.tell(state, rows, self.labels[np.asarray(rows)])
        key = jax.random.fold_in(stream(seed, "rounds"), index)  # as in the study
        state, _ = loop.phases.train(key, state)
        posterior = self.committees[model][1].posterior
        fitted = loop.phases.fit(key, state)
        return posterior.sample(key, fitted, points).logits


def bought(folder: Path, seed: int, **cell: str) -> list[int]:
    """Returns the rows of a trial in the order in which they were bought."""
    name = ",".join(f"{k}={v}" if k != "strategy" else v for k, v in cell.items())
    return [
        q["row"] for q in store.read_lines(folder / f"{name}-seed{seed}/queries.jsonl")
    ]


def plane(count: int) -> tuple[np.ndarray, list[float]]:
    """Returns points all over the plane `[n * n, 2]`, and its edges."""
    edges = [-1.6, 2.6, -1.1, 1.6]
    axes = np.linspace(*edges[:2], count), np.linspace(*edges[2:], count)
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 2).astype(np.float32), edges


def figure(rows: int, columns: int) -> tuple[Any, np.ndarray]:
    """Returns a figure of panels; nothing global, no display."""
    from matplotlib.figure import Figure

    made = Figure(
        figsize=(2.6 * columns, 1.9 * rows + 0.3), dpi=110, layout="constrained"
    )
    panels = made.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    return made, panels


def panel_of(axis: Any, game: Moons, model: str, seed: int, rows: Sequence[int]):
    """Draws what is believed after buying rows, and in which order they came."""
    from matplotlib.colors import LinearSegmentedColormap

    grid, edges = plane(FINE)
    samples = game.samples(model, seed, rows, jnp.asarray(grid))
    blend = LinearSegmentedColormap.from_list(
        "moons", [CLASSES[0], "white", CLASSES[1]]
    )
    second = jnp.exp(jaxal.log_mean_prob(samples))[:, 1].reshape(FINE, FINE)
    axis.imshow(second, extent=edges, origin="lower", cmap=blend, vmin=0, vmax=1,
                alpha=0.6, aspect="auto")  # fmt: skip
    axis.contour(second, levels=[0.5], extent=edges, colors="black", linewidths=1.2)
    colours = [CLASSES[label] for label in game.labels]
    axis.scatter(*game.points.T, s=1.5, c=colours, alpha=0.6, linewidths=0)
    axis.plot(*game.points[rows].T, color="black", linewidth=0.35, alpha=0.5)
    axis.scatter(*game.points[rows].T, s=15, c=[colours[row] for row in rows],
                 edgecolors="black", linewidths=0.7)  # fmt: skip
    axis.scatter(*game.points[rows[-4:]].T, s=42, facecolors="none", edgecolors="red")
    axis.set(xlim=edges[:2], ylim=edges[2:])


def boundaries(game: Moons, options: Options, model: str, seed: int) -> None:
    """Draws a row of panels for each strategy, a column for each of four rounds."""
    counts = np.unique(np.linspace(0, options.rounds - 1, 4).astype(int)) * 4 + 4
    made, panels = figure(len(options.strategies), len(counts))
    for i, strategy in enumerate(options.strategies):
        rows = bought(options.folder, seed, model=model, strategy=strategy)
        for axis, count in zip(panels[i], counts, strict=True):
            panel_of(axis, game, model, seed, rows[:count])
            axis.set_title(f"{strategy}, {count} labels", fontsize=9)
    made.savefig(options.folder / "boundaries.png")


def uncertainty(game: Moons, options: Options, seed: int) -> None:
    """Draws total = aleatoric + epistemic for each model, after 16 labels."""
    grid, edges = plane(FINE)
    made, panels = figure(len(options.models), 3)
    for i, model in enumerate(options.models):
        rows = bought(
            options.folder, seed, model=model, strategy=options.strategies[-1]
        )
        samples = game.samples(model, seed, rows[:16], jnp.asarray(grid))
        parts = {
            "total": jaxal.consensus_entropy(samples),
            "aleatoric": jaxal.expected_entropy(samples),
            "epistemic (BALD)": jaxal.bald(samples),
        }
        for axis, (name, score) in zip(panels[i], parts.items(), strict=True):
            told = {"extent": edges, "origin": "lower", "aspect": "auto"}
            told |= {"cmap": "magma", "vmin": 0, "vmax": np.log(2)}
            shown = axis.imshow(score.reshape(FINE, FINE), **told)
            axis.scatter(*game.points[rows[:16]].T, s=9, c="cyan", linewidths=0)
            axis.set_title(f"{model}: {name}", fontsize=9)
    made.colorbar(shown, ax=panels, label="nats", shrink=0.8)
    made.savefig(options.folder / "uncertainty.png")


def animation(game: Moons, options: Options, model: str, seed: int) -> None:
    """Draws all strategies beside each other, a frame a round."""
    from PIL import Image

    rows = {
        s: bought(options.folder, seed, model=model, strategy=s)
        for s in options.strategies
    }
    frames = []
    for count in range(4, 1 + 4 * options.rounds, 4):
        made, panels = figure(1, len(rows))
        for axis, (strategy, order) in zip(panels[0], rows.items(), strict=True):
            panel_of(axis, game, model, seed, order[:count])
            axis.set_title(f"{strategy}, {count} labels", fontsize=9)
        file = io.BytesIO()
        made.savefig(file, format="png")
        frames.append(Image.open(file).convert("RGB").quantize(64))
    rest = {"append_images": frames[1:], "duration": 500, "loop": 0, "optimize": True}
    frames[0].save(options.folder / "queries.gif", save_all=True, **rest)


def main(words: Sequence[str]) -> None:
    options = parse(Options(), words, description=__doc__, program="two_moons.py")
    game = Moons(options)
    study(
        game.make,
        game.pool,
        game.labels,
        options.folder,
        grid={"model": options.models, "strategy": options.strategies},
        seeds=options.seeds,
        rounds=options.rounds,
        initial=4,
        dataset="two moons",
    )
    boundaries(game, options, options.models[0], options.seeds[0])
    uncertainty(game, options, options.seeds[0])
    animation(game, options, options.models[0], options.seeds[0])


if __name__ == "__main__":
    script(main)
