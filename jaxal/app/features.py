"""A study of frozen embeddings: any strategies with a linear head that is solved."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxal.data.npz import read_npz
from jaxal.data.splits import fixed_test
from jaxal.data.types import Split
from jaxal.data.values import checked
from jaxal.loop import active_learner
from jaxal.pools.mesh import pool_mesh
from jaxal.pools.pool import make_pool
from jaxal.posteriors.last_layer import laplace
from jaxal.registry import strategy
from jaxal.rounds import ActiveLearner
from jaxal.runs.store import RunError
from jaxal.studies import study
from jaxal.training.heads.logistic import logistic_head
from jaxal.viewing import asks_posterior

CEILING = "all labels"


class Plan(NamedTuple):
    """A budget: labels to start with, labels a round, rounds that buy."""

    initial: int
    query_size: int
    rounds: int

    @property
    def most(self) -> int:
        """Labels at the end."""
        return self.initial + self.query_size * self.rounds


PLANS = {
    "low": Plan(10, 10, 10),
    "mid": Plan(100, 100, 10),
    "high": Plan(1000, 1000, 5),
}


class Head(NamedTuple):
    """The linear model, and where its samples come from."""

    penalty: float | None = None  # chosen by its rows
    evidence: bool = False  # the Laplace prior is the likeliest, not the penalty's


class Files(NamedTuple):
    """Where embeddings lie; a `.npz` holds everything, as `jaxal run --data` takes it.

    Of `.npy` files only the rows that are drawn are read.
    """

    features: Path  # .npz, or .npy [N, D]
    labels: Path | None = None  # .npy [N] integers
    test_features: Path | None = None  # .npy [T, D]
    test_labels: Path | None = None  # .npy [T]
    num_pool: int | None = None  # rows to buy from, drawn once; all by default
    num_test: int | None = None


class Features(NamedTuple):
    """A pool to buy from and rows to measure on."""

    pool: Split
    test: Split
    num_classes: int
    name: str


def read(files: Files) -> Features:
    """Returns embeddings; a fixed fifth is the test set where there is none.

    Raises:
      RunError: a file is missing.
      ValueError: a file holds something else.
    """
    if files.features.suffix == ".npz":
        found = read_npz(files.features)
        classes = len(found.class_names)
        train, test = found.train, found.test
    elif files.labels is None:
        raise RunError(f"--features {files.features} needs --labels, a .npy file.")
    else:
        classes = int(np.load(files.labels, mmap_mode="r").max()) + 1
        train, test = _mapped(files.features, files.labels), None
        if files.test_features is not None and files.test_labels is not None:
            test = _mapped(files.test_features, files.test_labels)
    if test is None:
        train, test = fixed_test(train, classes)
    what, name = f"{files.features}", files.features.stem
    pool = checked(what, *_some(train, files.num_pool), classes)
    return Features(
        pool, checked(what, *_some(test, files.num_test), classes), classes, name
    )


def run(
    found: Features,
    folder: Path,
    *,
    strategies: Sequence[str],
    seeds: Sequence[int],
    plan: Plan,
    head: Head = Head(),  # noqa: B008 it is a constant
    ceiling: bool = True,
    **options: Any,
) -> list[Path]:
    """Runs a study of strategies; returns the folders of its trials.

    Args:
      found: the rows.
      folder: of the study.
      strategies: names, or expressions such as `typiclust(max_clusters=100)`.
      seeds: of the trials.
      plan: what is bought.
      head: the model.
      ceiling: also train on all labels, once: a solved head leaves nothing to chance.
      **options: of `jaxal.studies.study`.
    """
    pool = make_pool(_flat(found.pool), mesh=pool_mesh(jax.devices()[:1]))
    labels = found.pool.labels

    def part(names: Sequence[str], plan: Plan, **options: Any) -> list[Path]:
        return study(
            _maker(found, plan, head),
            pool,
            labels,
            folder,
            grid={"strategy": names},
            rounds=plan.rounds + 1,
            initial=plan.initial,
            dataset=found.name,
            ids=found.pool.ids.tolist(),
            settings={"model": "logistic_head", **head._asdict()},
            **options,
        )

    which, _ = options.get("part") or (1, 1)
    if ceiling and which == 1:
        every = Plan(len(labels), 1, 0)
        part([CEILING], every, seeds=seeds[:1], is_shown=False)
    return part(strategies, plan, seeds=seeds, **options)


def _maker(found: Features, plan: Plan, head: Head) -> Callable[..., ActiveLearner]:
    made = logistic_head(found.num_classes, capacity=plan.most, penalty=head.penalty)
    samples = made.posterior
    if head.evidence:
        samples = laplace(made.model, num_samples=20, prior_precision="evidence")
    test = jax.device_put((_flat(found.test), found.test.labels), jax.devices()[0])

    def make(**cell: str) -> ActiveLearner:
        name = cell["strategy"]
        chosen = strategy("random" if name == CEILING else name)
        return active_learner(
            made.model,
            made.learner,
            chosen,
            batch_size=plan.query_size,
            posterior=samples if asks_posterior(chosen) else None,
            test=test,
            measure="network",
        )

    return make


def _flat(split: Split) -> np.ndarray:
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
