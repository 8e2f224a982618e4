"""Seconds of a whole study on frozen embeddings: jaxal, and scikit-activeml beside it.

    python benchmarks/study.py --features x.npz --seeds 10
    taskset -c 0 python benchmarks/study.py --features x.npz --seeds 10

A trial is 10 labels, then 10 rounds of 10 (the plan `low`), measured on the test rows
in each. jaxal runs `jaxal study` as people do, in a process: with an empty cache
of programs, and again with what that left there. It also trains on all labels, which
the other does not. scikit-activeml, where it is installed, runs the loop of its
documentation with scikit-learn's logistic regression, imports left out; both have the
same cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine, print_header, print_table, write_json

STRATEGIES = ("random", "margin", "badge", "coreset", "typiclust")
NUM_ROUNDS, QUERY_SIZE = 10, 10


def main() -> None:
    args = _parse()
    header = machine() | {"features": args.features.name, "seeds": args.seeds}
    print_header(header)
    rows = [] if args.peer_only else jaxal_rows(args)
    if peer := peer_row(args):
        rows.append(peer)
        for row in rows:
            row["times as fast"] = round(peer["seconds"] / row["seconds"], 1)
    print_table(rows)
    if args.json:
        write_json(args.json, header, rows)


def jaxal_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A study with an empty cache, and one that finds its programs there."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        cache = {"JAX_COMPILATION_CACHE_DIR": f"{place}/programs"}
        cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
        for name in ("jaxal, first time", "jaxal, programs kept"):
            folder = Path(place) / name
            words = ["--features", str(args.features), "--folder", str(folder)]
            words += [
                "--num-pool",
                str(args.num_pool),
                "--seeds",
                f"0..{args.seeds - 1}",
            ]
            words += ["--plan", "low", "--strategy", *args.strategies]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "jaxal", "study", *words],
                env=os.environ | cache,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - start
            if done.returncode:
                sys.exit(done.stderr)
            found = {s: _ends(folder, s) for s in args.strategies}
            rows.append({"who": name, "seconds": round(seconds, 1), **found})
    return rows


def _ends(folder: Path, strategy: str) -> float:
    """Accuracy of the last round, a mean over seeds, in per cent."""
    last = []
    for rounds in folder.glob(f"{strategy}-*/rounds.jsonl"):
        last.append(json.loads(rounds.read_text().splitlines()[-1])["accuracy"])
    return round(100 * float(np.mean(last)), 1)


def peer_row(args: argparse.Namespace) -> dict[str, Any] | None:
    """The same trials by scikit-activeml, None where it is not installed."""
    try:
        from skactiveml import pool
    except ImportError:
        print("scikit-activeml is not installed.")
        return None
    made = {
        "random": (pool.RandomSampling, False),
        "margin": (
            lambda **s: pool.UncertaintySampling(method="margin_sampling", **s),
            True,
        ),
        "badge": (pool.Badge, True),
        "coreset": (pool.CoreSet, False),
        "typiclust": (pool.TypiClust, False),
    }
    data = np.load(args.features)
    inputs = data["x_train"][: args.num_pool], data["x_test"]
    labels = data["y_train"][: args.num_pool].astype(int), data["y_test"].astype(int)
    found, start = {}, time.perf_counter()
    for name in args.strategies:
        ends = [_peer_trial(*made[name], inputs, labels, s) for s in range(args.seeds)]
        found[name] = round(100 * float(np.mean(ends)), 1)
    seconds = time.perf_counter() - start
    return {"who": "scikit-activeml", "seconds": round(seconds, 1), **found}


def _peer_trial(
    make: Any, reads_model: bool, inputs: Any, labels: Any, seed: int
) -> float:
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(labels[0])
    known = np.full(len(labels[0]), np.nan)
    first = np.random.default_rng(seed).choice(len(known), QUERY_SIZE, replace=False)
    known[first] = labels[0][first]
    strategy, accuracy = make(random_state=seed), 0.0
    for index in range(NUM_ROUNDS + 1):
        model = SklearnClassifier(
            LogisticRegression(max_iter=1000), classes=classes, random_state=seed
        )
        rows = np.flatnonzero(~np.isnan(known))
        model.fit(inputs[0][rows], known[rows])
        accuracy = float((model.predict(inputs[1]) == labels[1]).mean())
        if index == NUM_ROUNDS:
            break
        told = {"clf": model, "fit_clf": False} if reads_model else {}
        picks = strategy.query(X=inputs[0], y=known, batch_size=QUERY_SIZE, **told)
        known[picks] = labels[0][picks]
    return accuracy


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--num-pool", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES
    )
    parser.add_argument("--peer-only", action="store_true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
