"""Seven strategies on CIFAR-10, tested as they should be and as they should not.

    python experiments/cifar_ablation.py --plan 1000+10x250 --seeds 0..44
    python experiments/cifar_ablation.py --imbalance
    jaxal report studies/cifar-ablation-1000+10x250

Random, least confidence, margin, entropy, BADGE, Core-set and TypiClust with ResNet-18
trained from scratch in each round, the ceiling of all labels for each seed, seconds by
phase in the report. Budget plans are 1000+10x250, 4000+10x500, 10000+10x1000 and
500+20x250 labels; --imbalance keeps 1 1 .7 .7 .4 .4 .2 .2 .1 .1 of the classes.

A study of these found "no significant difference" by an unpaired test over the rounds
of averaged curves, which takes progress for chance. At the end both tests are printed:
areas under the curve paired by seed, corrected after Holm, and, as a control, that one.
Its own data, paired by seed, show Core-set, TypiClust and entropy below random.

The plans are for an accelerator: ResNet-18 of width 64, 30 epochs, all 50,000 images.
--plan cpu, which a machine without one runs and which its folder is called after, is
width 8, 600 images to buy from, 60+4x30 labels, 1,000 test images and 10 epochs or
200 steps: it shows that everything works, and says nothing of CIFAR-10. Five seeds of
it, 47 minutes of one shared core: nobody beats random (30.5 % at 180 labels); paired by
seed, least confidence is at t = -3.2, which the wrong test takes for -0.6. The table is
in docs/studies.md. No result at the full scale is claimed: it has not been run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import numpy as np
from scipy import stats

import jaxal
from jaxal.app.interrupts import script
from jaxal.comparisons import CEILING
from jaxal.data import load
from jaxal.models import build
from jaxal.runs import compiles, store
from jaxal.settings import Settings, setting
from jaxal.studies import grid, study
from jaxal.words import parse

PLANS = "1000+10x250", "4000+10x500", "10000+10x1000", "500+20x250", "cpu"
RATIOS = (1, 1, 0.7, 0.7, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1)
STRATEGIES = "random least_confidence margin entropy badge coreset typiclust"
Curves = dict[str, np.ndarray]  # accuracies [seeds, rounds] by strategy


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What to run."""

    plan: str = setting(
        choices=PLANS, follows="cpu without accelerator, else the first"
    )
    """Labels to start with, rounds and labels a round."""
    strategies: tuple[str, ...] = setting(tuple(STRATEGIES.split()), is_set=True)
    """Who chooses; the first is what others are compared with."""
    seeds: tuple[int, ...] = setting((0, 1, 2), low=0, is_set=True)
    """Trials of each; 0..9 has ten."""
    imbalance: bool = setting(False)
    """Thin the classes of the pool."""
    dataset: str = setting("cifar10")
    """Images in colour, of any size."""
    width: int | None = setting(low=1, follows="8 for cpu, else 64")
    """Of the network."""
    epochs: int | None = setting(low=1, follows="10 for cpu, else 30")
    """Of each fit."""
    min_steps: int | None = setting(low=0, follows="200 for cpu, else 0")
    """At least so many steps a fit."""
    folder: Path | None = setting(follows="studies/cifar-ablation-PLAN")
    """Of the study."""


class Budget:
    """A plan with what goes along."""

    def __init__(self, options: Options):
        """Reads a plan such as 1000+10x250."""
        usual = "cpu" if jax.default_backend() == "cpu" else PLANS[0]
        self.name = options.plan or usual
        is_small = self.name == "cpu"
        plan = "60+4x30" if is_small else self.name
        self.initial, rest = int(plan.split("+")[0]), plan.split("+")[1]
        self.rounds, self.query_size = map(int, rest.split("x"))
        self.pool, self.test = (600, 1000) if is_small else (None, None)
        self.width = options.width or (8 if is_small else 64)
        self.epochs = options.epochs or (10 if is_small else 30)
        self.min_steps = options.min_steps or (200 if is_small else 0)
        self.dtype = "float32" if is_small else "bfloat16"


def run(options: Options) -> Path:
    """Runs what is missing of the study; returns its folder."""
    budget = Budget(options)
    ratios = RATIOS if options.imbalance else None
    data, device = load(options.dataset, keep_ratios=ratios), jax.devices()[0]
    classes, labels = len(data.class_names), data.train.labels[: budget.pool]
    test = tuple(part[: budget.test] for part in data.test[:2])
    test = jax.device_put(test, device)
    model = build("resnet18", classes, width=budget.width, dtype=budget.dtype)
    settings = {n: getattr(budget, n) for n in ("width", "epochs", "min_steps")}

    @cache
    def learner(capacity: int) -> jaxal.Learner:
        steps = {"epochs": budget.epochs, "min_steps": budget.min_steps}
        return jaxal.supervised(model, capacity=capacity, **steps)

    def make(strategy: str) -> jaxal.ActiveLearner:
        is_ceiling = strategy == CEILING
        most = budget.initial + budget.rounds * budget.query_size
        return jaxal.active_learner(
            model,
            learner(len(labels) if is_ceiling else most),
            jaxal.strategy("random" if is_ceiling else strategy),
            batch_size=budget.query_size,
            test=test,
        )

    where = "-imbalanced" if options.imbalance else ""
    folder = Path(f"studies/cifar-ablation{where}-{budget.name}")
    mesh = jaxal.pool_mesh([device])
    pool = jaxal.make_pool(data.train.inputs[: budget.pool], mesh=mesh)
    plans = {
        options.strategies: (budget.rounds + 1, budget.initial),
        (CEILING,): (1, len(labels)),
    }
    for names, (rounds, initial) in plans.items():
        study(
            make,
            pool,
            labels,
            options.folder or folder,
            grid={"strategy": names},
            seeds=options.seeds,
            rounds=rounds,
            initial=initial,
            dataset=f"{data.name}{where}, {budget.name}",
            settings=settings,
        )
    return options.folder or folder


def called(strategy: str) -> str:
    """Returns what the folders of a strategy's trials begin with."""
    return grid.called({"strategy": strategy})


def curves(folder: Path, strategies: Sequence[str], seeds: Sequence[int]) -> Curves:
    """Returns the accuracies of every strategy, `[seeds, rounds]`."""
    read = lambda name, seed: [  # noqa: E731
        float(r["accuracy"])
        for r in store.read_lines(
            folder / f"{called(name)}-seed{seed}" / "rounds.jsonl"
        )
    ]
    return {name: np.array([read(name, s) for s in seeds]) for name in strategies}


def paired(found: Curves, baseline: str) -> dict[str, tuple[float, float]]:
    """Returns t and Holm's p of areas paired by seed, by strategy: the right test."""
    areas = {name: some[:, 1:].mean(1) for name, some in found.items()}
    tests = {
        name: stats.ttest_rel(area, areas[baseline])
        for name, area in areas.items()
        if name != baseline
    }
    adjusted = jaxal.holm([float(test.pvalue) for test in tests.values()])
    told = zip(tests, adjusted, strict=True)
    return {name: (float(tests[name].statistic), float(p)) for name, p in told}


def unpaired(found: Curves, baseline: str) -> dict[str, tuple[float, float]]:
    """Returns t and p over rounds of averaged curves, by strategy: the wrong test."""
    means = {name: some.mean(0) for name, some in found.items()}
    tests = {
        name: stats.ttest_ind(mean, means[baseline])
        for name, mean in means.items()
        if name != baseline
    }
    return {name: (float(t.statistic), float(t.pvalue)) for name, t in tests.items()}


def verdicts(found: Curves, baseline: str) -> str:
    """Returns a table of both tests."""
    right, wrong = paired(found, baseline), unpaired(found, baseline)
    lines = ["| strategy | t, paired by seed | p (Holm) | t, wrong | p, wrong |"]
    lines += ["|---|---|---|---|---|"]
    for name, (t, p) in right.items():
        lines += [f"| {name} | {t:.1f} | {p:.2g} | {wrong[name][0]:.1f} | "
                  f"{wrong[name][1]:.2g} |"]  # fmt: skip
    return "\n".join(lines)


def main(words: Sequence[str]) -> None:
    program = "python experiments/cifar_ablation.py"
    options = parse(Options(), words, description=__doc__, program=program)
    compiles.remember()
    folder = run(options)
    if len(options.seeds) > 1:
        found = curves(folder, options.strategies, options.seeds)
        print(verdicts(found, options.strategies[0]))
    print(f"jaxal report {folder}")


if __name__ == "__main__":
    script(main)
