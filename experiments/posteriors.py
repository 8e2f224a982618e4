"""Where should posterior samples come from? Three strategies under seven posteriors.

    python experiments/posteriors.py

A linear head on the 64 pixels of scikit-learn's digits, 900 rows to buy from, buys 10
labels a round for 8 rounds, from 20 random ones. Strategies bald, epig and batch_bald;
samples are 20 dropout masks (rate 0.2), 5 members of an ensemble or of a bootstrap
ensemble, or 20 last layers drawn from a Laplace posterior (Kronecker and full) of a
head that is trained; or of `logistic_head`, which is solved, with its own prior and
with the one of most evidence. Accuracy is that of the network without chance (of
ensembles the mean of the members) on 597 other rows, averaged over the rounds after
the first purchase; the table (benchmarks/results/posteriors.md) gives it as a
difference to random with the same learner in percentage points, paired by seed, with
a 95 % Student interval.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.datasets import load_digits

from jaxal import (
    Committee,
    Model,
    Output,
    active_learner,
    array_oracle,
    bootstrap_ensemble,
    deep_ensemble,
    laplace,
    logistic_head,
    make_pool,
    mc_dropout,
    mean_interval,
    paired_difference,
    pool_mesh,
    strategy,
    supervised,
)
from jaxal.training.optimizers import adamw

STRATEGIES = ("bald", "epig", "batch_bald")
NUM_POOL, INITIAL, QUERY_SIZE, ROUNDS, SEEDS, RATE = 900, 20, 10, 8, 10, 0.2


def head() -> Model:
    """A linear classifier of ten classes with dropout on its inputs."""

    def init(key: Array, inputs: Array) -> dict:
        kernel = 0.01 * jax.random.normal(key, (inputs.shape[-1], 10))
        return {"params": {"kernel": kernel, "bias": jnp.zeros(10)}}

    def apply(variables, inputs, *, key=None, train=False):
        features, params = inputs, variables["params"]
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - RATE, features.shape)
            features = jnp.where(kept, features / (1 - RATE), 0)
        logits = features @ params["kernel"] + params["bias"][None]
        return Output(logits, inputs), variables

    return Model(init, apply)


def committees() -> dict[str, Committee]:
    """Learner and posterior by name; all heads are trained alike."""
    model, rule = head(), adamw(0.02, weight_decay=1e-2)
    most = INITIAL + QUERY_SIZE * (ROUNDS + 1)
    settings = {"epochs": 1, "min_steps": 200, "capacity": most}
    single = supervised(model, rule, **settings)
    several = supervised(model, rule, members=5, **settings)
    return {
        "dropout": Committee(single, mc_dropout(model, 20)),
        "ensemble": Committee(several, deep_ensemble(model, 5)),
        "bootstrap": bootstrap_ensemble(model, rule, members=5, **settings),
        "laplace": Committee(single, laplace(model, num_samples=20)),
        "laplace_full": Committee(single, laplace(model, "full", num_samples=20)),
        **solved(most),
    }


def solved(most: int) -> dict[str, Committee]:
    """The head that is solved, with Laplace around it."""
    found = logistic_head(10, capacity=most)
    by_evidence = laplace(found.model, num_samples=20, prior_precision="evidence")
    return {
        "solved, laplace": Committee(found.learner, found.posterior),
        "solved, laplace, evidence": Committee(found.learner, by_evidence),
    }


def rows() -> tuple[Array, Array, Array, Array]:
    """Inputs and labels of the pool and of the test set, centred by the pool."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order].astype(np.float32), labels[order]
    pool, test = images[:NUM_POOL], images[NUM_POOL:1497]
    centre, scale = pool.mean(0), pool.std()
    scaled = ((x - centre) / scale for x in (pool, test))
    return *map(jnp.asarray, scaled), *np.split(labels[:1497], [NUM_POOL])


def curves(name: str, parts: Committee, num_seeds: int) -> np.ndarray:
    """Returns accuracies `[seeds, rounds]` after the initial set."""
    inputs, held_out, labels, truth = rows()
    loop = active_learner(
        None,
        parts.learner,
        strategy(name),
        array_oracle(labels),
        batch_size=QUERY_SIZE,
        posterior=parts.posterior,
        test=(held_out, jnp.asarray(truth)),
        measure="network",
    )
    pool = make_pool(inputs, mesh=pool_mesh(jax.devices()[:1]))
    found = []
    for seed in range(num_seeds):
        key = jax.random.key(seed)
        state = loop.init(key, pool, initial=INITIAL)
        for index in range(ROUNDS + 1):
            state, info = loop.step(jax.random.fold_in(key, index), state)
            found.append(info.metrics.accuracy)
    return np.array(found).reshape(num_seeds, -1)[:, 1:]


def difference(values: np.ndarray, baseline: np.ndarray) -> str:
    test = paired_difference(100 * values.mean(1), 100 * baseline.mean(1))
    text = f"{test.mean:+.1f} ({test.low:+.1f} to {test.high:+.1f})"
    return f"**{text}**" if test.low > 0 or test.high < 0 else text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--posteriors", nargs="+", default=list(committees()))
    args = parser.parse_args()
    kinds = committees()
    print("| posterior | random, % | " + " | ".join(args.strategies) + " |")
    print("|---|---|" + "---|" * len(args.strategies), flush=True)
    random: dict[int, np.ndarray] = {}  # by learner
    for kind in args.posteriors:
        key = id(kinds[kind].learner)
        if key not in random:
            random[key] = curves("random", kinds[kind], args.seeds)
        mean = mean_interval(random[key].mean(1))[0]
        found = [curves(name, kinds[kind], args.seeds) for name in args.strategies]
        cells = [difference(values, random[key]) for values in found]
        print(f"| {kind} | {100 * mean:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
