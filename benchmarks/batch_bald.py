"""BatchBALD: seconds to choose a batch, and how much that batch tells.

    python benchmarks/batch_bald.py --peers --json benchmarks/results/batch_bald.json

Speed alone says little here, since fewer sampled answers are faster and worse. So the
mutual information of every contender's batch is estimated afterwards in float64, from
answers none of them saw, with its standard error; log S is the most there can be.
Contenders take turns on the same pool; whichever peer is not installed is left out.
Every peer draws one answer for each network (scikit-activeml's default): the defaults
of the other two do not fit this pool in memory or minutes.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.selection.joint.batch_bald import batch_bald


class Contender(NamedTuple):
    """`run` takes what `prepare`, untimed, makes of logits; returns rows in order."""

    run: Callable[..., Sequence[int]]
    prepare: Callable[[np.ndarray], object]


class Case(NamedTuple):
    """Networks drawn around one linear classifier, and how far apart they are."""

    features: int
    signal: float
    noise: float


CASES = {
    "networks agree on most rows": Case(16, 4.0, 1.0),
    "networks disagree": Case(16, 2.0, 1.5),
    "every row as good as any": Case(200, 3.0, 3.0),
}


def make_pool(
    case: Case, seed: int, num_samples: int, num_rows: int, num_classes: int
) -> np.ndarray:
    """Returns logits `[S, N, C]` of linear classifiers drawn around one of them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_rows, case.features))
    layer = case.signal * rng.normal(size=(case.features, num_classes))
    noise = case.noise * rng.normal(size=(num_samples, case.features, num_classes))
    scale = case.features**-0.5
    logits = [rows @ (layer + change) * scale for change in noise]
    return np.stack(logits).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns softmax in float64."""
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def mutual_information(
    logits: np.ndarray, rows: Sequence[int], num_draws: int = 50_000
) -> tuple[float, float]:
    """Returns the information of a batch about the networks, and its standard error.

    Draws a network and its answers and averages `log p(answers | network) -
    log p(answers)`, which is less noisy than the entropies apart.
    """
    rng = np.random.default_rng(0)
    log_probs = np.log(np.maximum(probabilities(logits[:, list(rows)]), 1e-300))
    num_samples = log_probs.shape[0]
    network = np.arange(num_draws) % num_samples
    likelihood = np.zeros((num_draws, num_samples))
    for k in range(log_probs.shape[1]):
        cumulative = np.exp(log_probs[:, k]).cumsum(-1)[network]
        points = rng.random(num_draws)[:, None] * cumulative[:, -1:]
        likelihood += log_probs[:, k, (points > cumulative).sum(1)].T
    highest = likelihood.max(1)
    marginal = np.log(np.exp(likelihood - highest[:, None]).mean(1)) + highest
    terms = likelihood[np.arange(num_draws), network] - marginal
    return float(terms.mean()), float(terms.std() / num_draws**0.5)


def jaxal_contender(batch_size: int, **sizes: int) -> Contender:
    """Ours; sampled answers as many as asked for."""

    def run(logits: jax.Array, available: jax.Array) -> Sequence[int]:
        key = jax.random.key(0)
        return batch_bald(
            key, logits, available, batch_size=batch_size, **sizes
        ).indices.tolist()

    def prepare(logits: np.ndarray) -> tuple:
        return jax.block_until_ready(
            (jnp.asarray(logits), jnp.ones(logits.shape[1], bool))
        )

    return Contender(run, prepare)


def skactiveml_contender(batch_size: int) -> Contender:
    """scikit-activeml with its defaults."""
    module = importlib.import_module("skactiveml.pool._bald")

    def run(probs: np.ndarray) -> Sequence[int]:
        utilities = module.batch_bald(probs, batch_size, random_state=0)
        return [int(np.nanargmax(row)) for row in utilities]

    return Contender(run, lambda logits: (probabilities(logits),))


def redux_contender(batch_size: int) -> Contender:
    """batchbald_redux in double precision, as its examples have it."""
    torch = importlib.import_module("torch")
    module = importlib.import_module("batchbald_redux.batchbald")

    def run(log_probs: Any) -> Sequence[int]:
        batch = module.get_batchbald_batch(
            log_probs, batch_size, log_probs.shape[1], dtype=torch.double
        )
        return batch.indices

    def prepare(logits: np.ndarray) -> tuple:
        log_probs = np.log(np.maximum(probabilities(logits), 1e-12))
        return (torch.from_numpy(log_probs.swapaxes(0, 1).copy()),)

    return Contender(run, prepare)


def baal_contender(batch_size: int) -> Contender:
    """baal, which counts draws for each network."""
    module = importlib.import_module("baal.active.heuristics")

    def run(probs: np.ndarray) -> Sequence[int]:
        ranking = module.BatchBALD(batch_size, num_draw=1)(probs)
        return ranking[:batch_size].tolist()

    def prepare(logits: np.ndarray) -> tuple:
        return (np.ascontiguousarray(probabilities(logits).transpose(1, 2, 0)),)

    return Contender(run, prepare)


PEERS = {
    "scikit-activeml": skactiveml_contender,
    "batchbald_redux": redux_contender,
    "baal": baal_contender,
}


def contenders(batch_size: int, with_peers: bool) -> dict[str, Contender]:
    """Returns ours at two sizes and every peer that is installed."""
    found = {
        "jaxal": jaxal_contender(batch_size),
        "jaxal, 100 draws": jaxal_contender(
            batch_size, num_configurations=100, num_draws=100
        ),
    }
    for name, make in PEERS.items() if with_peers else ():
        try:
            found[name] = make(batch_size)
        except ImportError as error:
            print(f"{name} left out: {error}")
    return found


def race(
    logits: np.ndarray, runners: dict[str, Contender], repeats: int
) -> list[dict[str, Any]]:
    """Times the contenders in turns, ours after a first call that compiles."""
    inputs = {name: runner.prepare(logits) for name, runner in runners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    batches, first = {}, {}
    # Nothing but ours compiles, and the slowest take minutes: no first round for them.
    for name in [name for name in runners if name not in PEERS]:
        start = time.perf_counter()
        runners[name].run(*inputs[name])
        first[name] = time.perf_counter() - start
    for _ in range(repeats):
        for name, runner in runners.items():
            start = time.perf_counter()
            batches[name] = [int(row) for row in runner.run(*inputs[name])]
            seconds[name].append(time.perf_counter() - start)
            print(f"  {name}: {seconds[name][-1]:.2f} s", flush=True)
    results: list[dict[str, Any]] = []
    for name, batch in batches.items():
        nats, error = mutual_information(logits, batch)
        results.append(
            {
                "name": name,
                "first_seconds": first.get(name),
                "seconds": float(np.median(seconds[name])),
                "all_seconds": seconds[name],
                "nats": nats,
                "nats_error": error,
                "distinct": len(set(batch)),
            }
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json")
    args = parser.parse_args()
    runners = contenders(args.batch_size, args.peers)
    report: dict[str, Any] = {
        "settings": vars(args),
        "jax": jax.__version__,
        "cases": {},
    }
    print(f"at most log S = {np.log(args.samples):.3f} nats can be learnt")
    for title in args.cases:
        print(f"\n{title}", flush=True)
        logits = make_pool(
            CASES[title], args.seed, args.samples, args.rows, args.classes
        )
        results = race(logits, runners, args.repeats)
        report["cases"][title] = results
        print(f"{'':18} seconds  ratio  nats")
        for row in results:
            ratio = row["seconds"] / results[0]["seconds"]
            print(
                f"{row['name']:18} {row['seconds']:7.3f} {ratio:6.1f}  "
                f"{row['nats']:.4f} +- {row['nats_error']:.4f}",
                flush=True,
            )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
