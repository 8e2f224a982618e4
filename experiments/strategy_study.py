"""Is a strategy worth it? All of them against random, on frozen features, many seeds.

    python experiments/strategy_study.py --markdown docs/strategy_study.md

A logistic regression on a frozen embedding (digits: the 64 pixels; MNIST: 64 principal
components of the pool's pixels) buys 20 labels a round for 5 rounds, from 20 labels
("low") and from 300 ("high"). All seeds of a strategy run in one vmapped program. A
seed decides initial labels, weights, order, dropout and choices; strategies share the
initial labels of a seed, so differences are paired. The number is the accuracy on the
test set, averaged over the rounds after the first purchase; the table gives its mean
difference to random in percentage points with a 95 % Student interval over seeds. With
so many strategies some intervals leave out zero by luck: one in twenty would.

Posterior samples are 20 dropout masks (rate 0.2) on the features.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxal import (
    ActiveLearner,
    LoopState,
    Model,
    Output,
    Pool,
    active_learner,
    array_oracle,
    make_pool,
    mc_dropout,
    mean_interval,
    paired_difference,
    seed_axes,
    strategy,
    strategy_names,
    supervised,
)
from jaxal.data import load
from jaxal.training.optimizers import adamw

NUM_CLASSES, NUM_FEATURES = 10, 64
BUDGETS = {"low": 20, "high": 300}  # labels to start with
SEEDS = 20
QUERY_SIZE, ROUNDS = 20, 5
RATE = 0.2  # of dropout

Curves = dict[str, dict[str, list[list[float]]]]  # setting -> strategy -> [seed][round]


class Features(NamedTuple):
    """A pool and a test set, embedded once and for all."""

    pool: np.ndarray  # [N, D]
    labels: np.ndarray  # [N]
    test: tuple[np.ndarray, np.ndarray]  # [T, D], [T]


def linear_probe() -> Model:
    """Logistic regression with dropout on its inputs, which are its features."""

    def init(key: Array, inputs: Array) -> dict[str, Any]:
        weights = 0.01 * jax.random.normal(key, (inputs.shape[-1], NUM_CLASSES))
        return {"params": {"kernel": weights, "bias": jnp.zeros(NUM_CLASSES)}}

    def apply(
        variables: Any, inputs: Array, *, key: Array | None = None, train: bool = False
    ) -> tuple[Output, Any]:
        del train
        features = inputs
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - RATE, features.shape)
            features = jnp.where(kept, features / (1 - RATE), 0)
        params = variables["params"]
        logits = features @ params["kernel"] + params["bias"][None]
        return Output(logits, inputs), variables

    return Model(init, apply)


def digits() -> Features:
    data = load("digits")
    return _features(data.train, data.test, lambda x: x.reshape(len(x), -1) / 16)


def mnist(num_pool: int, num_test: int = 4000) -> Features:
    data = load("mnist")
    pixels = data.train.inputs[:num_pool].reshape(num_pool, -1) / 255
    _, _, axes = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)

    def components(x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), -1) / 255) @ axes[:NUM_FEATURES].T

    return _features(data.train, data.test, components, num_pool, num_test)


def _features(
    train: Any,
    test: Any,
    embed: Callable[[np.ndarray], np.ndarray],
    num_pool: int | None = None,
    num_test: int | None = None,
) -> Features:
    pool, held_out = embed(train.inputs[:num_pool]), embed(test.inputs[:num_test])
    # Centred by the pool and scaled by one number: directions keep their lengths.
    centre, scale = pool.mean(0), pool.std()
    return Features(
        ((pool - centre) / scale).astype(np.float32),
        train.labels[:num_pool],
        (((held_out - centre) / scale).astype(np.float32), test.labels[:num_test]),
    )


def make_loop(name: str, labels: Array) -> ActiveLearner:
    model = linear_probe()
    capacity = max(BUDGETS.values()) + QUERY_SIZE * (ROUNDS + 1)
    learner = supervised(
        model,
        adamw(0.02, weight_decay=1e-2),
        epochs=1,
        min_steps=200,
        capacity=capacity,
    )
    return active_learner(
        model,
        learner,
        strategy(name),
        array_oracle(labels),
        batch_size=QUERY_SIZE,
        posterior=mc_dropout(model, 20),
    )


@partial(jax.jit, static_argnums=(0, 1))
def start(name: str, initial: int, keys: Array, pool: Pool, labels: Array) -> LoopState:
    """Returns the states of all seeds, the same but for what a strategy remembers."""
    loop = make_loop(name, labels)
    axes = seed_axes(jax.eval_shape(lambda: loop.init(keys[0], pool)))
    return jax.vmap(lambda key: loop.init(key, pool, initial=initial), out_axes=axes)(
        keys
    )


def make_rounds(name: str) -> Callable[[Array, LoopState, Array], Any]:
    """Returns the whole loop of all seeds as one program, for any data of one shape."""

    @jax.jit
    def rounds(keys: Array, states: LoopState, labels: Array) -> Any:
        axes = seed_axes(states)
        step = jax.vmap(make_loop(name, labels).step, (0, axes), (axes, 0))

        def one(states: LoopState, index: Array) -> tuple[LoopState, Any]:
            now = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            states, info = step(now, states)
            return states, (states.learner["params"], info.num_bad_rows)

        return jax.lax.scan(one, states, jnp.arange(ROUNDS + 1))[1]

    return rounds


def accuracies(params: Any, test: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Returns test accuracies `[seeds, rounds]`, without the initial set's."""
    inputs, labels = test
    params = jax.tree.map(lambda leaf: np.asarray(leaf)[1:], params)
    logits = inputs @ params["kernel"] + params["bias"][..., None, :]
    return (logits.argmax(-1) == labels).mean(-1).T


def study(names: Sequence[str], num_seeds: int, kept: pathlib.Path) -> Curves:
    """Returns every curve, `[seeds][rounds]`; what the file `kept` has is not rerun."""
    keys = jax.random.split(jax.random.key(0), max(SEEDS, num_seeds))[:num_seeds]
    data = {"digits": digits()}
    data["mnist"] = mnist(len(data["digits"].labels))  # one shape, one compilation
    found: Curves = {f"{d} {b}": {} for b in BUDGETS for d in data}
    if kept.exists():
        found = json.loads(kept.read_text())
    for name in (n for n in names if n not in found["digits low"]):
        begin, rounds = time.perf_counter(), make_rounds(name)
        for dataset, features in data.items():
            labels = jnp.asarray(features.labels)
            for budget, initial in BUDGETS.items():
                pool = make_pool(features.pool)
                kind = name if strategy(name).init else "random"  # compiled once
                states = start(kind, initial, keys, pool, labels)
                params, num_bad = rounds(keys, states, labels)
                assert not np.asarray(num_bad).any()
                values = accuracies(params, features.test)
                found[f"{dataset} {budget}"][name] = values.tolist()
        kept.write_text(json.dumps(found))
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return found


def table(found: Curves) -> str:
    """Returns the differences to random as Markdown, best on average first."""
    settings = list(found)
    means = {
        setting: {n: np.mean(v, axis=1) for n, v in found[setting].items()}
        for setting in settings
    }
    names = [n for n in means[settings[0]] if n != "random"]

    def gain(name: str) -> float:
        gaps = [_paired(means[s][name], means[s]["random"]) for s in settings]
        return float(np.mean([np.mean(ours - theirs) for ours, theirs in gaps]))

    lines = [
        "| strategy | " + " | ".join(settings) + " |",
        "|---|" + "---|" * len(settings),
        "| `random`, accuracy % | "
        + " | ".join(_accuracy(means[s]["random"]) for s in settings)
        + " |",
    ]
    for name in sorted(names, key=gain, reverse=True):
        cells = [_difference(means[s][name], means[s]["random"]) for s in settings]
        count, most = (len(means[settings[0]][n]) for n in (name, "random"))
        title = f"`{name}`" if count == most else f"`{name}`, {count} seeds"
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _accuracy(values: np.ndarray) -> str:
    mean, low, high = (100 * x for x in mean_interval(values))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _paired(values: np.ndarray, baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both for the seeds that both have: the first ones are the same."""
    count = min(len(values), len(baseline))
    return values[:count], baseline[:count]


def _difference(values: np.ndarray, baseline: np.ndarray) -> str:
    values, baseline = _paired(values, baseline)
    test = paired_difference(100 * values, 100 * baseline)
    text = f"{test.mean:+.1f} ({test.low:+.1f} to {test.high:+.1f})"
    return f"**{text}**" if test.low > 0 or test.high < 0 else text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategies", nargs="+", default=strategy_names())
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="fewer are the first of them, for strategies that take long",
    )
    parser.add_argument(
        "--json",
        type=pathlib.Path,
        default=pathlib.Path("strategy_study.json"),
        help="every curve; strategies that are in it already are not run again",
    )
    parser.add_argument("--markdown", type=pathlib.Path, help="the table")
    args = parser.parse_args()
    names = ["random", *(n for n in args.strategies if n != "random")]
    found = study(names, args.seeds, args.json)
    text = table(found)
    print(text)
    if args.markdown:
        args.markdown.write_text(text)


if __name__ == "__main__":
    main()
