"""A study of frozen embeddings: any strategies with a linear head that is solved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxal.app import choices
from jaxal.comparisons import CEILING
from jaxal.data.npz import read_npz
from jaxal.data.splits import fixed_test, imbalance, split_validation
from jaxal.data.types import Split
from jaxal.data.values import checked
from jaxal.loop import active_learner
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool
from jaxal.posteriors.last_layer import laplace
from jaxal.registry import strategy
from jaxal.rounds import ActiveLearner
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record
from jaxal.settings import Settings, setting, settings_of
from jaxal.studies import study
from jaxal.training.heads.logistic import logistic_head
from jaxal.viewing import asks_posterior


class Budget(NamedTuple):
    """Labels to start with, labels a round, rounds that buy."""

    initial: int
    query_size: int
    rounds: int

    @property
    def most(self) -> int:
        """Labels at the end."""
        return self.initial + self.query_size * self.rounds


PLANS = {
    "low": Budget(10, 10, 10),
    "mid": Budget(100, 100, 10),
    "high": Budget(1000, 1000, 5),
}
_by_plan = partial(setting, follows="the plan's")


@dataclass(frozen=True, kw_only=True)
class Task(Settings):
    """What to compare."""

    strategy: tuple[str, ...] = setting(
        ("random", "margin", "badge", "coreset", "typiclust"), is_set=True
    )
    """Names or expressions, see `jaxal strategies`."""
    seeds: tuple[int, ...] = setting((0, 1, 2, 3, 4), low=0, below=2**32, is_set=True)
    """One run of each strategy for each; 0..9 has ten."""
    ceiling: bool = setting(True)
    """Train on all labels too."""


@dataclass(frozen=True, kw_only=True)
class Data(Settings):
    """Data."""

    features: Path | None = setting()
    """.npz with x_train, y_train, x_test and y_test (or inputs and labels), or .npy, of
    which only the rows that are drawn are read."""
    labels: Path | None = setting()
    """.npy of class numbers, where features are a .npy."""
    test_features: Path | None = setting(follows="a fixed fifth of each class")
    """.npy to measure on."""
    test_labels: Path | None = setting()
    """.npy of their classes."""
    keep_ratios: tuple[float, ...] = setting(())
    """Share of each class kept in the pool, to make it imbalanced; one a class."""
    num_pool: int | None = setting(low=1, follows="all")
    """Rows to buy from, drawn once."""
    num_test: int | None = setting(low=1, follows="all")
    """Rows to measure on, drawn once."""
    num_validation: int = setting(0, low=0)
    """Rows kept out of the pool for --stop to look at."""


@dataclass(frozen=True, kw_only=True)
class Labels(Settings):
    """Labels to buy."""

    plan: str = setting("low", choices=tuple(PLANS))
    """10 labels and 10 x 10 more; 100 and 10 x 100; 1,000 and 5 x 1,000."""
    initial: int | None = _by_plan(low=1)
    """Random labels to start with."""
    query_size: int | None = _by_plan(low=1)
    """Labels to buy in a round."""
    rounds: int | None = _by_plan(low=0)
    """Rounds that buy."""
    stop: str | None = setting(follows="after the last round")
    """A rule that may end a trial earlier, as for `jaxal run`: plateau(patience=2)."""


@dataclass(frozen=True, kw_only=True)
class Head(Settings):
    """Linear head."""

    penalty: float | None = setting(low=0, follows="the labelled rows say")
    """Of the head, which is solved in each round."""
    posterior: Literal["laplace", "laplace_evidence"] = setting("laplace")
    """Where samples come from, for strategies that read some."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Head, Labels, Data, Task):
    """What decides the results of a study of embeddings."""


def budget_of(labels: Labels) -> Budget:
    """Returns the plan with what is said besides.

    Example:
      >>> from jaxal.app.features import Labels, budget_of
      >>> budget_of(Labels(plan="mid", rounds=3))
      Budget(initial=100, query_size=100, rounds=3)
    """
    given = {name: getattr(labels, name) for name in Budget._fields}
    said = {name: value for name, value in given.items() if value is not None}
    return PLANS[labels.plan]._replace(**said)


class Features(NamedTuple):
    """A pool to buy from and rows to measure on."""

    pool: Split
    test: Split
    num_classes: int
    name: str
    validation: Split | None = None


def read(data: Data) -> Features:
    """Returns embeddings; a fixed fifth is the test set where there is none.

    Raises:
      RunError: a file is missing.
      ValueError: a file holds something else.
    """
    if data.features is None:
        raise RunError("No embeddings were named: --features FILE.npz, or .npy.")
    train, test, names = _files(data, data.features)
    if test is None:
        train, test = fixed_test(train, len(names))
    if data.keep_ratios:
        train = imbalance(train, data.keep_ratios, names, seed=0)
    validation, what = None, f"{data.features}"
    if data.num_validation:
        number = data.num_validation
        train, validation = split_validation(train, number, len(names), seed=0)
        validation = checked(what, *validation, len(names))
    parts = _some(train, data.num_pool), _some(test, data.num_test)
    pool, test = (checked(what, *part, len(names)) for part in parts)
    return Features(pool, test, len(names), data.features.stem, validation)


def _files(data: Data, path: Path) -> tuple[Split, Split | None, tuple[str, ...]]:
    if path.suffix == ".npz":
        found = read_npz(path)
        return found.train, found.test, found.class_names
    if data.labels is None:
        raise RunError(f"--features {path} needs --labels, a .npy file.")
    train, test = _mapped(path, data.labels), None
    if data.test_features is not None and data.test_labels is not None:
        test = _mapped(data.test_features, data.test_labels)
    return train, test, tuple(map(str, range(int(train.labels.max()) + 1)))


def run(
    found: Features, folder: Path, comparison: Comparison, **options: Any
) -> list[Path]:
    """Runs a study of strategies; returns the folders of its trials.

    The head trained on all labels runs once: solved, it leaves nothing to chance.

    Args:
      found: the rows.
      folder: of the study.
      comparison: what is compared; its data were read.
      **options: of `jaxal.studies.study`.
    """
    pool = make_pool(flat(found.pool), mesh=pool_mesh(jax.devices()[:1]))
    labels, seeds, held_out = found.pool.labels, comparison.seeds, found.validation
    validation = held_out and (flat(held_out), held_out.labels)
    stop = choices.rule(comparison.stop, held_out is not None)
    asked = budget_of(comparison)
    told = {"initial": asked.initial, "query_size": [asked.query_size]}
    told |= {"model": "logistic_head", **_of_head(comparison)}

    def part(names: Sequence[str], budget: Budget, **options: Any) -> list[Path]:
        return study(
            maker(found, budget, comparison),
            pool,
            labels,
            folder,
            grid={"strategy": names},
            rounds=budget.rounds + 1,
            initial=budget.initial,
            dataset=found.name,
            ids=found.pool.ids.tolist(),
            settings=told,
            validation=validation,
            **options,
        )

    which, _ = options.get("part") or (1, 1)
    if comparison.ceiling and which == 1:
        every = Budget(len(labels), 1, 0)
        part([CEILING], every, seeds=seeds[:1], is_shown=False)
    return part(comparison.strategy, asked, seeds=seeds, stop=stop, **options)


def _of_head(head: Head) -> Record:
    return {name: getattr(head, name) for name in settings_of(Head)}


def maker(found: Features, budget: Budget, head: Head) -> Callable[..., ActiveLearner]:
    """Returns what makes the loop of a strategy, all with one head and one test set."""
    made = logistic_head(found.num_classes, capacity=budget.most, penalty=head.penalty)
    samples = made.posterior
    if head.posterior == "laplace_evidence":
        samples = laplace(made.model, num_samples=20, prior_precision="evidence")
    test = jax.device_put((flat(found.test), found.test.labels), jax.devices()[0])

    def make(**cell: str) -> ActiveLearner:
        name = cell["strategy"]
        chosen = strategy("random" if name == CEILING else name)
        return active_learner(
            made.model,
            made.learner,
            chosen,
            batch_size=budget.query_size,
            posterior=samples if asks_posterior(chosen) else None,
            test=test,
            measure="network",
        )

    return make


def flat(split: Split) -> np.ndarray:
    """Returns rows as the head takes them, `[N, D]`."""
    return np.asarray(split.inputs, np.float32).reshape(len(split.labels), -1)


def _mapped(features: Path, labels: Path) -> Split:
    inputs, known = np.load(features, mmap_mode="r"), np.load(labels)
    return Split(inputs, known, np.arange(len(inputs)))


def _some(split: Split, count: int | None) -> Split:
    """Rows drawn once, the same whatever the seed."""
    size = len(split.labels)
    if count is None or count >= size:
        return split
    rows = np.sort(np.random.default_rng(0).choice(size, count, replace=False))
    return Split(*(array[rows] for array in split))
