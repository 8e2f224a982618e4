"""A tour of active learning: every idea in a few lines on small data, with its number.

    python experiments/lecture.py
    python experiments/lecture.py --lessons cold_start noise

Scikit-learn's digits (1,437 rows for sale, 360 to measure on), a logistic regression
that is solved in each round, samples from its Laplace posterior. Numbers are accuracies
in %, with 95 % Student intervals over seeds; after the comma the paired difference to
`random`, where there is one. Everything that buys is a study under --folder, so a tour
that is killed goes on. Ideas and names are those of Settles, "Active Learning
Literature Survey", 2009, https://burrsettles.com/pub/settles.activelearning.pdf.

With ten seeds on shared CPU cores (jax 0.10.2, ten minutes of CPU): query by committee,
expected gradient length and expected error reduction do not beat chance from 20 labels
on (86.8; -0.2 to +0.2, -1.7 and -0.9); 20 first labels are worth 65.3 if random, 78.6
stratified, 85.0 typical and 87.3 from clusters; margin gains 2.8 (1.6 to 4.1) with the
truth and 6.9 (3.8 to 9.9) where a fifth of the answers is wrong; 300 labels of a crowd,
30 % wrong, beat 60 of an expert by 2.5 (1.3 to 3.7); plateau(2) stops after 186 labels
(162 to 210) at 96.5; margin needs 64 labels (56 to 73) to reach 90, random 87 (68 to
106); in another domain CLUE gains 6.3 (4.8 to 7.9), margin 1.8 (0.3 to 3.2); of five
classes that are rare random knows 50.1 (40.2 to 60.1) in the end, margin 82.6 (81.1 to
84.1), balanced 86.2 (85.4 to 87.0), and GALAXY 81.2 (78.8 to 83.5).
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxal
from jaxal import stopping
from jaxal.app.interrupts import script
from jaxal.data import load
from jaxal.data.splits import imbalance
from jaxal.runs import compiles, store
from jaxal.settings import Settings, setting
from jaxal.studies import study
from jaxal.studies.grid import called
from jaxal.types import Oracle
from jaxal.viewing import asks_posterior
from jaxal.words import parse

Lines = list[list[dict[str, Any]]]  # of a cell: a list a seed, a record a round
MOST = 300  # labels a lesson may end with


@dataclass(frozen=True, kw_only=True)
class Class(Settings):
    """What to hear."""

    lessons: tuple[str, ...] = setting((), is_set=True)
    """By name; by default all."""
    seeds: tuple[int, ...] = setting(tuple(range(10)), low=0, is_set=True)
    """Of each number; 0..9 has ten."""
    rows: int = setting(1437, low=50)
    """For sale."""
    folder: Path = setting(Path("studies/lecture"))
    """Where what was bought is kept."""


class Digits:
    """Rows, labels and the head, made once."""

    def __init__(self, listener: Class):
        """Reads digits."""
        data, flat = load("digits"), lambda x: x.reshape(len(x), -1) / np.float32(255)
        self.listener, self.split = listener, data.train
        self.inputs = flat(data.train.inputs[: listener.rows])
        self.labels = data.train.labels[: listener.rows]
        self.test = jnp.asarray(flat(data.test.inputs)), jnp.asarray(data.test.labels)
        self.head = jaxal.logistic_head(10, capacity=MOST)
        self.truth = jaxal.array_oracle(jnp.asarray(self.labels))

    def loop(self, strategy: str, size: int = 20, test: Any = None):
        """Returns a loop that buys `size` labels a round."""
        chosen, head = jaxal.strategy(strategy), self.head
        return jaxal.active_learner(
            head.model,
            head.learner,
            chosen,
            batch_size=size,
            posterior=head.posterior if asks_posterior(chosen) else None,
            test=test or self.test,
            measure="network",
        )

    def buy(
        self,
        lesson: str,
        strategies: Sequence[str],
        *,
        size: int = 20,
        test: Any = None,
        pool: Any = None,
        oracle: Oracle | None = None,
        initial: Any = 20,
        rounds: int = 6,
        **options: Any,
    ) -> dict[str, Lines]:
        """Returns the rounds of every strategy and seed."""
        folder = self.listener.folder / lesson
        study(
            lambda strategy: self.loop(strategy, size, test),
            rows_of(self.inputs) if pool is None else pool,
            oracle or self.truth,
            folder,
            grid={"strategy": strategies},
            seeds=self.listener.seeds,
            rounds=rounds,
            initial=initial,
            dataset=lesson,
            is_shown=False,
            **options,
        )
        return {name: self._lines(folder, name) for name in strategies}

    def _lines(self, folder: Path, name: str) -> Lines:
        cell = called({"strategy": name})
        files = [folder / f"{cell}-seed{seed}" for seed in self.listener.seeds]
        return [store.read_lines(file / "rounds.jsonl") for file in files]


def rows_of(inputs: Any, labels: Any = None) -> jaxal.Pool:
    """Returns a pool on one device."""
    return jaxal.make_pool(inputs, labels, mesh=jaxal.pool_mesh(jax.devices()[:1]))


def last(lines: Lines) -> np.ndarray:
    """Returns the accuracy of each seed at the end, in %."""
    return np.array([100 * float(records[-1]["accuracy"]) for records in lines])


def average(lines: Lines) -> np.ndarray:
    """Returns the accuracy of each seed, the mean of the rounds that bought, in %."""
    return np.array(
        [100 * np.mean([r["accuracy"] for r in some[1:]]) for some in lines]
    )


def say(what: str, values: np.ndarray, beside: np.ndarray | None = None) -> None:
    """Prints a mean with its interval, and the paired difference to something."""
    mean, low, high = (
        jaxal.mean_interval(values) if len(values) > 1 else 3 * [values[0]]
    )
    text = f"  {what:38} {mean:6.1f} ({low:.1f} to {high:.1f})"
    if beside is not None and beside is not values and len(values) > 1:
        test = jaxal.paired_difference(values, beside)
        text += f", {test.mean:+.1f} ({test.low:+.1f} to {test.high:+.1f})"
    print(text, flush=True)


def versus_random(found: dict[str, Lines], value: Callable = average) -> None:
    """Prints every strategy beside `random`."""
    for name, lines in found.items():
        say(name, value(lines), None if name == "random" else value(found["random"]))


def committee(digits: Digits) -> None:
    """Query by committee: where 20 models drawn from a posterior disagree.

    Entropy of their votes; entropy of their mean; mean KL divergence from their mean.
    """
    names = "vote_entropy", "consensus_entropy", "consensus_kl"
    versus_random(digits.buy("committee", ["random", *names]))


def gradient_length(digits: Digits) -> None:
    """Expected gradient length: which row would change the model most, if labelled."""
    versus_random(digits.buy("gradient", ["random", "expected_gradient_length"]))


def error_reduction(digits: Digits) -> None:
    """Expected error reduction: which row would leave least to be wrong about."""
    versus_random(digits.buy("error", ["random", "expected_error_reduction"]))


def cold_start(digits: Digits) -> None:
    """The first 20 labels, before there is a model: by chance, class, type, cluster."""
    key, is_free = jax.random.key, jnp.ones(len(digits.labels), bool)
    none = jnp.zeros_like(is_free)
    view = jaxal.View(is_free, none, features=jnp.asarray(digits.inputs))
    truth, ten = jnp.asarray(digits.labels), {"num_classes": 10, "num_rows": 20}
    kinds = {
        "random": lambda k: jaxal.random_rows(k, is_free, num_rows=20),
        "stratified (sees the truth)": lambda k: jaxal.class_balanced_rows(
            k, truth, is_free, **ten
        ),
        "typical (typiclust)": lambda k: _picks("typiclust", k, view),
        "from clusters (k_means)": lambda k: _picks("k_means", k, view),
    }
    loop, found = digits.loop("random"), {}
    for name, draw in kinds.items():
        found[name] = np.array(
            [_accuracy(digits, loop, draw(key(s))) for s in digits.listener.seeds]
        )
        say(name, found[name], found["random"])


def _picks(name: str, key: Any, view: jaxal.View) -> Any:
    return jaxal.strategy(name).select(key, view, 20).indices


def _accuracy(digits: Digits, loop: Any, rows: Any) -> float:
    state = loop.init(jax.random.key(0), rows_of(digits.inputs))
    state = loop.tell(state, rows, digits.labels[np.asarray(rows)])
    state, _ = loop.phases.train(jax.random.key(1), state)
    return 100 * float(loop.phases.evaluate(jax.random.key(2), state).accuracy)


def confusing(oracle: Oracle, matrix: np.ndarray) -> Oracle:
    """Returns an oracle that says class j of what is i with probability `[i, j]`."""
    odds = jnp.log(jnp.asarray(matrix))

    def answer(key: Any, rows: Any) -> Any:
        return jax.random.categorical(key, odds[oracle(key, rows)]).astype(jnp.int32)

    return answer


def noise(digits: Digits) -> None:
    """Oracles that err: in all classes, in some, or taking 3, 8, 9 for each other."""
    per_class, pairs = np.eye(10), np.eye(10)
    for c in range(5):  # small numbers are hard to read
        per_class[c] = 0.4 / 9
        per_class[c, c] = 0.6
    for c in (3, 8, 9):
        pairs[c, [3, 8, 9]] = 1 / 3
    oracles = {
        "truth": digits.truth,
        "uniform, 20 %": jaxal.noisy_oracle(digits.truth, 0.2, 10),
        "per class, 40 % of five": confusing(digits.truth, per_class),
        "confused, two thirds of three": confusing(digits.truth, pairs),
    }
    for i, (name, oracle) in enumerate(oracles.items()):
        found = digits.buy(f"noise{i}", ["random", "margin"], oracle=oracle)
        for strategy, lines in found.items():
            beside = None if strategy == "random" else last(found["random"])
            say(f"{name}: {strategy}", last(lines), beside)


def prices(digits: Digits) -> None:
    """Who should answer: an expert for 5 a label, or a crowd for 1, 30 % wrong?"""
    crowd = jaxal.noisy_oracle(digits.truth, 0.3, 10)
    dear = digits.buy("expert", ["margin"], size=10, initial=10, rounds=6)
    cheap = digits.buy("crowd", ["margin"], oracle=crowd, size=50, initial=50)
    say("60 labels of the expert, 300 spent", last(dear["margin"]))
    say(
        "300 labels of the crowd, 300 spent",
        last(cheap["margin"]),
        last(dear["margin"]),
    )


def stopping_rules(digits: Digits) -> None:
    """When to stop: at a target, when nothing is gained, when the money is spent."""
    half = len(digits.test[1]) // 2
    validation = tuple(part[:half] for part in digits.test)
    test = tuple(part[half:] for part in digits.test)
    rules = [
        stopping.target_accuracy(0.9),
        stopping.plateau(2),
        stopping.any_of(stopping.plateau(4), stopping.max_labels(160)),
    ]
    for i, rule in enumerate(rules):
        options = {"stop": rule, "validation": validation, "test": test, "rounds": 14}
        lines = digits.buy(f"stop{i}", ["margin"], **options)["margin"]
        say(f"{rule}: labels", np.array([float(some[-1]["labels"]) for some in lines]))
        say("  accuracy then", last(lines))
        print("   ", sorted({some[-1].get("stopped_by") for some in lines}, key=str))


def cost(digits: Digits) -> None:
    """Is it worth it: labels that chance and margin need to reach 90 %."""
    found = digits.buy("cost", ["random", "margin"], size=10, rounds=25)
    for name, lines in found.items():
        curves = np.array([[float(r["accuracy"]) for r in some] for some in lines])
        labels = np.array([r["labels"] for r in lines[0]], float)
        needed = [jaxal.labels_to_target(labels, curve, 0.9) for curve in curves]
        reached = [count for count in needed if count is not None]
        print(f"  {name}: {len(reached)} of {len(lines)} seeds reach 90 %")
        if reached:
            say("labels they need", np.array(reached, float))


def moved(rows: Any) -> np.ndarray:
    """Returns images one pixel to the right."""
    return np.roll(np.asarray(rows).reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)


def shift(digits: Digits) -> None:
    """Another domain: 100 labelled digits, and others moved by a pixel for sale."""
    source, target = digits.inputs[:100], moved(digits.inputs[100:])
    known = np.concatenate([digits.labels[:100], np.full(len(target), -1)])
    pool = rows_of(np.concatenate([source, target]), known)
    test = jnp.asarray(moved(digits.test[0])), digits.test[1]
    names = "random", "margin", "clue"
    found = digits.buy("shift", names, pool=pool, test=test, initial=None)
    say(
        "before anything is bought",
        np.array([100 * s[0]["accuracy"] for s in found["random"]]),
    )
    versus_random(found)


def of_the_rare(lines: Lines) -> np.ndarray:
    """Returns the accuracy of classes 5 to 9 of each seed at the end, in %."""
    rare = [np.mean(some[-1]["per_class_accuracy"][5:]) for some in lines]
    return 100 * np.array(rare, float)


def rare(digits: Digits) -> None:
    """Imbalance: five digits are ten times as rare; accuracy on all, and on them."""
    names = tuple(map(str, range(10)))
    thin = imbalance(digits.split, [1.0] * 5 + [0.1] * 5, names, seed=0)
    inputs = thin.inputs.reshape(len(thin.labels), -1) / np.float32(255)
    oracle = jaxal.array_oracle(jnp.asarray(thin.labels))
    chosen = ["random", "margin", "class_balanced(margin)", "galaxy"]
    found = digits.buy("rare", chosen, pool=rows_of(inputs), oracle=oracle)
    versus_random(found)
    print("  the rare classes alone, at the end:")
    versus_random(found, of_the_rare)


LESSONS: dict[str, Callable[[Digits], None]] = {
    lesson.__name__: lesson
    for lesson in (
        committee,
        gradient_length,
        error_reduction,
        cold_start,
        noise,
        prices,
        stopping_rules,
        cost,
        shift,
        rare,
    )
}


def main(words: Sequence[str]) -> None:
    listener = parse(Class(), words, description=__doc__, program="lecture.py")
    if unknown := set(listener.lessons) - LESSONS.keys():
        sys.exit(f"There is no lesson {unknown}, expected some of {list(LESSONS)}.")
    compiles.remember()
    digits = Digits(listener)
    for name in listener.lessons or LESSONS:
        print(f"{name}: {(LESSONS[name].__doc__ or '').splitlines()[0]}", flush=True)
        LESSONS[name](digits)


if __name__ == "__main__":
    script(main)
