"""Bayesian CNNs on MNIST: what full data give, who gets there with few labels, and why.

    python experiments/mnist.py full                  # accuracy and NLL per epoch
    python experiments/mnist.py buy                   # eight strategies, from 2 a class
    python experiments/mnist.py buy --query-size 1 5 10 40
    python experiments/mnist.py epochs                # 5 per class, 1 to 2,048 epochs
    python experiments/mnist.py labels                # 10 epochs, 2 to 512 per class
    python experiments/mnist.py masks                 # BALD from 5, 20, 100 masks
    jaxal report studies/mnist-buy-cpu

The network and the protocol are those of Kirsch et al., "BatchBALD: Efficient and
Diverse Batch Acquisition for Deep Bayesian Active Learning" (NeurIPS 2019,
https://arxiv.org/abs/1906.08158): two convolutions with dropout of 0.5, trained anew in
each round, accuracy and NLL of the mean over masks. They report 90 % with at most 95
labels and 95 % with at most 195 (medians, BatchBALD, K = 5). A fit is 600 steps of
AdamW or as many epochs as asked for; --patience 5 stops early, as they do, by the NLL
of 1,000 training images that are in no pool, and keeps the best weights.

--scale full is all of MNIST, 100 masks and 1,020 labels, for an accelerator; --scale
cpu, which results are named after, is a pool of 2,000, 20 masks, 1,000 test images and
60 labels. Of it `buy --seeds 0..9 --min-steps 300` has been run, 143 core-minutes: at
60 labels random has 78.1 % (75.2 to 81.0), BADGE 83.7, margin 82.9, PowerBALD 82.5,
BALD 82.1, BatchBALD 81.1, entropy 80.9, EPIG 79.4; the table is in docs/studies.md. No
result of the full scale is claimed here: it has not been run.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

import jaxal
from jaxal.app.interrupts import script
from jaxal.data import load
from jaxal.models import bayesian_cnn
from jaxal.runs import compiles
from jaxal.settings import Settings, setting
from jaxal.studies import study
from jaxal.words import parse


class Scale(NamedTuple):
    """How large; 0 is all there is."""

    pool: int
    test: int
    masks: int
    budget: int  # labels to end with
    epochs: int  # of the network on full data


SCALES = {
    "full": Scale(0, 0, 100, 1020, 30),
    "cpu": Scale(2000, 1000, 20, 60, 5),
    "smoke": Scale(60, 40, 2, 30, 1),
}
STRATEGIES = "random margin entropy bald batch_bald power_bald epig badge"


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What to run."""

    strategies: tuple[str, ...] = setting(tuple(STRATEGIES.split()), is_set=True)
    """Who chooses."""
    query_size: tuple[int, ...] = setting((10,), low=1, is_set=True)
    """Labels a round."""
    seeds: tuple[int, ...] = setting((0, 1, 2), low=0, is_set=True)
    """Trials of each; 0..9 has ten."""
    scale: Literal["full", "cpu", "smoke"] = setting(follows="cpu without accelerator")
    """How large."""
    min_steps: int = setting(600, low=1)
    """Steps of a fit where epochs are not what is compared."""
    patience: int | None = setting(low=1, follows="no early stopping")
    """Looks, of 30 a fit, without a lower NLL on validation rows that end it."""
    most: int = setting(2048, low=1)
    """Epochs, or labels a class, where these are compared."""
    folder: Path | None = setting(follows="studies/mnist-WHAT-SCALE")
    """Of the study."""


class Game:
    """Data, network and loops, made once."""

    def __init__(self, options: Options):
        """Reads MNIST."""
        usual = "cpu" if jax.default_backend() == "cpu" else "full"
        self.options, self.name = options, options.scale or usual
        self.scale = SCALES[self.name]
        data, device = load("mnist"), jax.devices()[0]
        held_out = tuple(part[-1000:] for part in data.train[:2])
        self.held_out = jax.device_put(held_out, device)
        size = self.scale.pool or len(data.train.labels) - 1000
        self.inputs, self.labels = data.train.inputs[:size], data.train.labels[:size]
        size = self.scale.test or len(data.test.labels)
        test = data.test.inputs[:size], data.test.labels[:size]
        self.test = jax.device_put(test, device)
        self.pool = jaxal.make_pool(self.inputs, mesh=jaxal.pool_mesh([device]))
        self.model = bayesian_cnn(10)
        self.learner = cache(self._learner)

    def _learner(self, epochs: int, min_steps: int, capacity: int) -> jaxal.Learner:
        settings = {"epochs": epochs, "min_steps": min_steps, "capacity": capacity}
        if self.options.patience is not None:
            told = {"best_by": "validation/nll", "patience": self.options.patience}
            settings["watch"] = jaxal.watch({"validation": self.held_out}, **told)
        return jaxal.supervised(self.model, augment=None, **settings)

    def study(self, what: str, grid: dict[str, Any], **settings: Any) -> None:
        """Runs what a grid says of epochs, query_size, strategy and masks."""
        rounds = settings.pop("rounds", 1)
        initial = settings.pop("per_class", 2) * 10

        def make(**cell: Any) -> jaxal.ActiveLearner:
            size = cell.get("query_size", 10)
            capacity = initial + size * rounds
            steps = self.options.min_steps if "epochs" not in cell else 1
            learner = self.learner(cell.get("epochs", 1), steps, capacity)
            return jaxal.active_learner(
                self.model,
                learner,
                jaxal.strategy(cell.get("strategy", "random")),
                batch_size=size,
                posterior=jaxal.mc_dropout(
                    self.model, cell.get("masks", self.scale.masks)
                ),
                test=self.test,
            )

        study(
            make,
            self.pool,
            self.labels,
            self.options.folder or Path(f"studies/mnist-{what}-{self.name}"),
            grid=grid,
            seeds=self.options.seeds,
            rounds=rounds,
            initial=lambda key: self.balanced(key, initial),
            dataset=f"mnist, {self.name} scale",
            settings={
                f"scale_{name}": value for name, value in self.scale._asdict().items()
            }
            | {"min_steps": self.options.min_steps, "patience": self.options.patience},
        )

    def balanced(self, key: Any, count: int) -> Any:
        """Returns rows with as many of each class."""
        free = jnp.ones(len(self.labels), bool)
        numbers = {"num_rows": min(count, len(self.labels)), "num_classes": 10}
        return jaxal.class_balanced_rows(key, jnp.asarray(self.labels), free, **numbers)


def buy(game: Game) -> None:
    """Strategies against each other, from 2 labels a class."""
    for size in game.options.query_size:
        rounds = max(2, 1 + (game.scale.budget - 20) // size)
        grid = {"strategy": game.options.strategies, "query_size": [size]}
        game.study("buy", grid, rounds=rounds)


def masks(game: Game) -> None:
    """BALD and BatchBALD from few masks and from many."""
    rounds = 1 + (game.scale.budget - 20) // 10
    grid = {"strategy": ["bald", "batch_bald"], "masks": [5, 20, 100]}
    game.study("masks", grid, rounds=rounds)


def _doubled(first: int, most: int) -> list[int]:
    return [first << i for i in range(12) if first << i <= most]


def epochs(game: Game) -> None:
    """How long to train on 5 labels a class."""
    game.study("epochs", {"epochs": _doubled(1, game.options.most)}, per_class=5)


def labels(game: Game) -> None:
    """10 epochs, or 600 steps whatever the number of labels, from 2 a class on."""
    for count in _doubled(2, min(512, game.options.most, len(game.labels) // 10)):
        fits = {"epochs": [10]}, {"steps": [game.options.min_steps]}
        for fit in fits:
            game.study("labels", fit | {"per_class": [count]}, per_class=count)


def full(game: Game) -> None:
    """The network on all labels of the pool: accuracy and NLL after each epoch."""
    count, most = len(game.labels), game.scale.epochs
    learner = game.learner(most, 1, count)
    everything = game.pool._replace(
        labels=jnp.asarray(game.labels, jnp.int32), is_labelled=game.pool.is_valid
    )
    posterior = jaxal.mc_dropout(game.model, game.scale.masks)

    @jax.jit
    def predict(key: Any, variables: Any, inputs: Any) -> Any:
        some = lambda rows: posterior.predict(key, variables, rows).logits  # noqa: E731
        return jaxal.map_rows(some, inputs, chunk_size=256)

    few = game.inputs[:1000], jnp.asarray(game.labels[:1000])
    for seed in game.options.seeds:
        key, fit_key = jax.random.split(jax.random.key(seed))
        state = learner.start(fit_key, learner.init(key, game.inputs), everything)
        advance = jax.jit(learner.advance)
        for epoch in range(1, most + 1):
            state = advance(state, everything, -(-count // 64))
            parts = {"test": game.test, "train": few}
            for name, (inputs, truth) in parts.items():
                logits = predict(key, state.variables, jnp.asarray(inputs))
                found = jaxal.classification_metrics(logits, truth)
                print(
                    f"seed {seed} epoch {epoch} {name}: {100 * found.accuracy:.2f} %, "
                    f"NLL {found.nll:.4f}",
                    flush=True,
                )


WHAT = {f.__name__: f for f in (buy, epochs, full, labels, masks)}


def main(words: Sequence[str]) -> None:
    what, *rest = words or ["--help"]
    program = f"python experiments/mnist.py {{{','.join(WHAT)}}}"
    if what not in WHAT:
        rest = [what, *rest]
    options = parse(Options(), rest, description=__doc__, program=program)
    if what not in WHAT:
        sys.exit(f"{program}: say what to do first.")
    compiles.remember()
    WHAT[what](Game(options))


if __name__ == "__main__":
    script(main)
