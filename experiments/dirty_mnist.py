"""MNIST with images that nobody can tell, or that come three times: who wastes labels?

    python -m experiments.dirty_mnist
    python -m experiments.dirty_mnist --pools dirty --seeds 0..9
    jaxal report studies/dirty-mnist-cpu --metric validation.accuracy

Dirty-MNIST is half MNIST, half Ambiguous-MNIST (`ambiguous_mnist.py`), as in Mukhoti,
Kirsch, van Amersfoort, Torr and Gal, "Deep Deterministic Uncertainty: A New Simple
Baseline" (CVPR 2023, https://arxiv.org/abs/2102.11582): labels of the second half are
draws, ten an image, so what entropy finds there no label takes away. Repeated-MNIST is
MNIST three times, of Kirsch, van Amersfoort and Gal, "BatchBALD" (NeurIPS 2019,
https://arxiv.org/abs/1906.08158): a batch of the best rows may be one row thrice.
Pixels are centred and scaled, noise of 0.05 and 0.1 is added to rows that are for sale.

Random, entropy, margin, BALD, BatchBALD and EPIG, and as a control `bald_reversed`:
BALD with the sign reversed, which buys what is known best, as one published study has
it. All begin with two clean rows a class. Accuracy is of the dirty test half, whose
ceiling is that of guessing the likeliest class of each image, and (`validation` in the
records) of MNIST's test images alone; of the labels bought, those are called wasted
that are of ambiguous images, or of a row that was there already.

--scale full is 60,000 clean and 60,000 ambiguous rows (180,000 repeated), the CNN of
the BatchBALD paper with 100 masks, and 640 labels by tens, for an accelerator: it has
not been run, and nothing is claimed of it. --scale cpu has 1,000 clean rows and 100
ambiguous images ten times (666 rows three times), as many to measure on, an MLP of 128
units with 20 masks, and 140 labels by twenties; five MLPs say what is ambiguous.

`--scale cpu --seeds 0..4` took 10.5 minutes of a shared CPU core, four of them to make
the set (jax 0.10.2). After 140 labels, in %, with 95 % Student intervals over five
seeds; nobody can have more than 87.0 on the dirty test half:

    dirty           test half            MNIST's alone        wasted
    random          65.6 (62.4 to 68.9)  77.8 (75.5 to 80.1)  53.3 (47.9 to 58.8)
    entropy         54.5 (50.2 to 58.8)  67.4 (61.2 to 73.7)  72.3 (62.9 to 81.7)
    margin          64.7 (62.1 to 67.2)  77.0 (73.1 to 80.9)  56.5 (50.5 to 62.5)
    bald            67.6 (63.9 to 71.3)  81.4 (77.9 to 85.0)  20.5 (13.7 to 27.3)
    batch_bald      69.2 (65.6 to 72.8)  81.8 (78.3 to 85.4)   4.7 (2.5 to 6.8)
    epig            62.9 (61.2 to 64.5)  75.7 (73.7 to 77.8)  34.0 (23.0 to 45.0)
    bald_reversed   47.3 (42.0 to 52.6)  56.0 (50.6 to 61.5)  19.8 (18.1 to 21.5)

    repeated        test
    random          80.1 (77.5 to 82.7)                        7.5 (4.9 to 10.1)
    entropy         71.9 (68.6 to 75.2)                       58.8 (55.9 to 61.7)
    margin          81.6 (79.8 to 83.5)                       20.2 (16.9 to 23.5)
    bald            69.3 (65.3 to 73.4)                       59.7 (57.5 to 61.8)
    batch_bald      80.1 (77.9 to 82.2)                       30.0 (26.3 to 33.7)
    epig            70.2 (65.8 to 74.6)                       60.8 (60.1 to 61.6)
    bald_reversed   53.3 (49.1 to 57.5)                       72.5 (71.5 to 73.5)

Areas under the curve of the dirty half, paired by seed with random: BatchBALD +4.1 (3.6
to 4.6), BALD +1.8 (0.9 to 2.6), entropy -6.3 (-10.3 to -2.3), the control -11.9 (-14.4
to -9.4). What disappoints: margin and EPIG are no better than chance there, and where
rows repeat nothing is: BALD, entropy and EPIG buy copies, BatchBALD is level.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxal
from experiments.ambiguous_mnist import Ambiguous, Making, ceiling, made
from jaxal.app.interrupts import script
from jaxal.data import load
from jaxal.models import build
from jaxal.runs import compiles, store
from jaxal.settings import Settings, setting
from jaxal.studies import grid, study
from jaxal.words import parse

CENTRE, SPREAD = 0.1307, 0.3081  # of MNIST's pixels in 0 .. 1
STRATEGIES = "random entropy margin bald batch_bald epig bald_reversed"


class Scale(NamedTuple):
    """How large; 0 is all there is."""

    clean: int  # rows of MNIST for sale
    test: int  # clean ones
    network: str
    masks: int
    query_size: int
    budget: int  # labels to end with
    making: Making

    @property
    def rounds(self) -> int:
        """Trainings, the first with 20 labels."""
        return 1 + (self.budget - 20) // self.query_size


SCALES = {
    "full": Scale(0, 0, "bayesian_cnn", 100, 10, 640, Making()),
    "cpu": Scale(1000, 1000, "mlp", 20, 20, 140, Making(
        100, 100, 10, 100, 20000, 2000, "mlp", 5, 5, 10)),
    "smoke": Scale(60, 40, "mlp", 2, 10, 30, Making(
        6, 4, 10, 50, 400, 100, "mlp", 2, 5, 5, 4)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What to run."""

    pools: tuple[str, ...] = setting(
        ("dirty", "repeated"), choices=("dirty", "repeated"), is_set=True
    )
    """Where to buy."""
    strategies: tuple[str, ...] = setting(tuple(STRATEGIES.split()), is_set=True)
    """Who chooses."""
    seeds: tuple[int, ...] = setting((0, 1, 2), low=0, is_set=True)
    """Trials of each; 0..9 has ten."""
    scale: Literal["full", "cpu", "smoke"] = setting(follows="cpu without accelerator")
    """How large."""
    min_steps: int = setting(600, low=1)
    """Steps of a fit."""
    folder: Path | None = setting(follows="studies/POOL-mnist-SCALE")
    """Of the studies, one in it for each pool."""


class Rows(NamedTuple):
    """Rows for sale or to measure on."""

    inputs: np.ndarray  # [N, 28, 28, 1] float32, centred and scaled
    labels: np.ndarray  # [N] as they are sold
    soft: np.ndarray  # [N, 10] what they were drawn from
    ids: list[str]

    @property
    def is_clean(self) -> np.ndarray:
        """Which rows are of MNIST itself, `[N]`."""
        return np.array([name.startswith("mnist") for name in self.ids])


def scaled(images: np.ndarray) -> np.ndarray:
    """Returns pixels centred and scaled as is usual for MNIST."""
    shades = np.asarray(images) / np.float32(255)
    return (shades - np.float32(CENTRE)) / np.float32(SPREAD)


def clean(split: Any, count: int) -> Rows:
    """Returns the first rows of MNIST, all for 0."""
    inputs, labels = (part[: count or None] for part in split[:2])
    names = [f"mnist_{i}" for i in range(len(labels))]
    return Rows(scaled(inputs), labels, np.eye(10, dtype=np.float32)[labels], names)


def every_label(some: Ambiguous) -> Rows:
    """Returns a row for each label of each image."""
    count, repeat = some.labels.shape[1], partial(np.repeat, axis=0)
    names = [
        f"ambiguous_{i}_{j}" for i in range(len(some.images)) for j in range(count)
    ]
    inputs, soft = repeat(scaled(some.images), count), repeat(some.soft, count)
    return Rows(inputs, some.labels.reshape(-1), soft, names)


def joined(*parts: Rows) -> Rows:
    """Returns the rows of all parts, the first ones first."""
    *arrays, ids = zip(*parts, strict=True)
    return Rows(*map(np.concatenate, arrays), ids=[*itertools.chain(*ids)])


def noisy(rows: Rows, spread: float) -> Rows:
    """Returns rows with normal noise on their pixels, always the same."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(rows.inputs.shape, np.float32)
    return rows._replace(inputs=rows.inputs + np.float32(spread) * noise)


def reversed_bald() -> jaxal.Strategy:
    """Returns BALD with the sign reversed: a mistake, as a control."""
    return jaxal.by_score(lambda samples: -jaxal.bald(samples), "samples")


class Game:
    """Data, network and learner of a scale, made once for all pools."""

    def __init__(self, options: Options):
        """Reads MNIST; what is ambiguous is made where it is asked for."""
        usual = "cpu" if jax.default_backend() == "cpu" else "full"
        self.options, self.name = options, options.scale or usual
        self.scale, self.data = SCALES[self.name], load("mnist")
        self.test = clean(self.data.test, self.scale.test)
        wide = {"hidden": (128,), "dropout": 0.5} if self.scale.network == "mlp" else {}
        self.model = build(self.scale.network, 10, **wide)
        self.learner = jaxal.supervised(
            self.model,
            augment=None,
            epochs=1,
            min_steps=options.min_steps,
            capacity=20 + self.scale.rounds * self.scale.query_size,
        )
        self.posterior = jaxal.mc_dropout(self.model, self.scale.masks)

    def dirty(self) -> tuple[Rows, Rows]:
        """Returns rows for sale and to measure on, half of them ambiguous."""
        train, test = map(every_label, made(self.data, self.scale.making))
        half = clean(self.data.train, self.scale.clean)
        return noisy(joined(half, train), 0.05), joined(self.test, test)

    def repeated(self) -> tuple[Rows, Rows]:
        """Returns rows for sale, each three times, and to measure on."""
        count = 2 * self.scale.clean // 3  # for as many rows as the dirty pool has
        return noisy(joined(*3 * [clean(self.data.train, count)]), 0.1), self.test

    def study(self, pool: str) -> Path:
        """Runs what is missing of the study of a pool; returns its folder."""
        rows, test = getattr(self, pool)()
        print(f"{pool}: no one can have more than {100 * ceiling(test.soft):.1f} %.")
        folder = Path(f"studies/{pool}-mnist-{self.name}")
        folder = self.options.folder / pool if self.options.folder else folder
        device = jax.devices()[0]
        labels, is_clean = jnp.asarray(rows.labels), jnp.asarray(rows.is_clean)
        measured = jax.device_put(test[:2], device)

        def make(strategy: str) -> jaxal.ActiveLearner:
            is_control = strategy == "bald_reversed"
            return jaxal.active_learner(
                self.model,
                self.learner,
                reversed_bald() if is_control else jaxal.strategy(strategy),
                batch_size=self.scale.query_size,
                posterior=self.posterior,
                test=measured,
            )

        def begin(key: Any) -> Any:
            two_each = {"num_rows": 20, "num_classes": 10}
            return jaxal.class_balanced_rows(key, labels, is_clean, **two_each)

        study(
            make,
            jaxal.make_pool(rows.inputs, mesh=jaxal.pool_mesh([device])),
            rows.labels,
            folder,
            grid={"strategy": self.options.strategies},
            seeds=self.options.seeds,
            rounds=self.scale.rounds,
            initial=begin,
            ids=[f"{i}_{name}" for i, name in enumerate(rows.ids)],
            dataset=f"{pool} mnist, {self.name} scale",
            settings={"min_steps": self.options.min_steps},
            validation=self.test[:2],
        )
        return folder


def outcome(folder: Path) -> list[float]:
    """Returns what a trial came to: both accuracies, and the share it bought of what is
    ambiguous or there already, all in %.
    """
    last = store.read_lines(folder / "rounds.jsonl")[-1]
    names = [
        q["id"].partition("_")[2] for q in store.read_lines(folder / "queries.jsonl")
    ]
    bought, seen = names[20:], {*names[:20]}
    wasted = 0
    for name in bought:
        wasted += name.startswith("ambiguous") or name in seen
        seen.add(name)
    shares = last["accuracy"], last["validation"]["accuracy"], wasted / len(bought)
    return [100 * float(share) for share in shares]


def table(folder: Path, options: Options) -> str:
    """Returns means over seeds with 95 % Student intervals, a line a strategy."""
    lines = [
        "| strategy | test, % | MNIST's test, % | wasted, % |",
        "|---|---|---|---|",
    ]
    for name in options.strategies:
        trials = [
            folder / f"{grid.called({'strategy': name})}-seed{seed}"
            for seed in options.seeds
        ]
        found = np.array([outcome(trial) for trial in trials]).T
        told = [
            f"{mean:.1f} ({low:.1f} to {high:.1f})"
            for mean, low, high in map(jaxal.mean_interval, found)
        ]
        lines.append(f"| {' | '.join([name, *told])} |")
    return "\n".join(lines)


def main(words: Sequence[str]) -> None:
    program = "python -m experiments.dirty_mnist"
    options = parse(Options(), words, description=__doc__, program=program)
    compiles.remember()
    game = Game(options)
    for pool in options.pools:
        folder = game.study(pool)
        print(f"{table(folder, options)}\njaxal report {folder}", flush=True)


if __name__ == "__main__":
    script(main)
