"""What every strategy, selector and stream picks on fixed pools, written down.

A referee for changes that must not change picks; it uses public names alone, so that it
runs on the code before and after: `python tests/record_picks.py write picks.json`, and
then `... compare picks.json --only badge k_center`. It prints the first round of a pool
that differs, for picks are labelled; exits with 1 where picks do or a name is gone.
"""

import argparse
import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
if __name__ == "__main__":  # compiling takes the time; with XLA_FLAGS="" as for users
    FLAGS = os.environ.get("XLA_FLAGS", QUICK)
    os.environ["XLA_FLAGS"] = f"{FLAGS} --xla_force_host_platform_device_count=4"
    CACHE = os.path.join(tempfile.gettempdir(), "jaxal-picks-cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", CACHE)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

import jaxal  # noqa: E402

N, D, S, K, ROUNDS = 60, 6, 5, 5, 3
PER_ROW = ("logits", "samples", "features", "inputs")
FIELDS = ("is_available", "is_labelled", "labels", *PER_ROW)
named = jaxal.strategy


def clouds(seed: int, classes: Any, is_labelled: Any, is_valid: Any = True) -> dict:
    rng, num_classes = np.random.default_rng(seed), classes.max() + 1
    centres = 1.5 * rng.normal(size=(num_classes, D))
    # Rows that are not there lie far out, where a selector would go if it saw them.
    spread = np.where(is_valid, 1, 5) * np.ones(N)
    features = centres[classes] + spread[:, None] * rng.normal(size=(N, D))
    logits = features @ centres.T / 2 - np.square(centres).sum(-1) / 4
    logits += 0.3 * rng.normal(size=(N, num_classes))
    samples = logits + rng.normal(size=(S, N, num_classes))
    inputs = features + rng.normal(size=(N, D))
    arrays = zip(PER_ROW, (logits, samples, features, inputs), strict=True)
    return {name: x.astype(np.float32) for name, x in arrays} | {
        "classes": classes.astype(np.int32),
        "is_available": ~is_labelled & is_valid,
        "is_labelled": is_labelled & is_valid,
    }


def make_pools() -> dict[str, dict]:
    row, rng = np.arange(N), np.random.default_rng(0)
    some, mixed, rare = row % 5 == 0, rng.permutation(row % 4), 1 + row % 3
    tied, first = clouds(3, row % 4, some), row % (N // 4)  # twins on other devices
    twins = {n: tied[n].take(first, axis=int(n == "samples")) for n in PER_ROW}
    pools = {
        "plain": clouds(1, mixed, some),
        "none labelled": clouds(4, mixed, row < 0),
        "masked": clouds(2, mixed, some, (row < N - 7) & ((row < 21) | (row > 25))),
        "tied": tied | twins,
        "imbalanced": clouds(5, np.sort(np.where(row < 54, 0, rare)), some),
        "short batch": clouds(6, mixed, row % 8 != 0),  # 5 picks, then 3, then none
        "two classes": clouds(7, mixed % 2, some),
    }
    for pool in pools.values():
        predictive = jax.nn.log_softmax(pool["samples"])
        predictive = jax.nn.logsumexp(predictive, axis=0) - np.log(S)
        pool["predictive"] = np.asarray(predictive)
    return pools | {f"sharded {n}": pools[n] for n in ("plain", "masked", "tied")}


SETTINGS: dict[str, dict[str, Any]] = {  # what a small pool wants
    "dcom": {"initial_radius": 0.7},
    "badge_partitioned": {"parts": 3},
    "uncertain_coreset": {"factor": 2},
    "tcm": {"transition": 10},
    "expected_error_reduction": {"num_candidates": 24, "num_targets": 9},
    "epig": {"num_targets": 9},
    "batch_bald": {"num_candidates": 30, "num_configurations": 9},
    "laplace_batch_bald": {"num_samples": 5, "num_configurations": 9},
}
COMBINED: dict[str, Callable[[], Any]] = {
    "class_balanced": lambda: jaxal.class_balanced(named("badge"), factor=2),
    "mixture": lambda: jaxal.mixture([named("coreset"), named("bald")], [1, 2]),
    "partition": lambda: jaxal.partition(named("badge"), 4),
    "schedule": lambda: jaxal.schedule([named("coreset"), named("margin")], [15]),
    "stochastic": lambda: jaxal.stochastic(named("bald"), "softmax"),
    "subsample": lambda: jaxal.subsample(named("coreset"), 14, max_labelled=6),
}


def calls(v: Any) -> dict[str, tuple[tuple, dict[str, Any]]]:
    """Returns arguments of selectors and streams; a function's name ends at a comma."""
    x, free, known, logits = v.features, v.is_available, v.is_labelled, v.logits
    doubt, rows, pair = jaxal.margin(logits), (x, free, known), (logits, x)
    fisher, weights = jaxal.fisher_embedding(*pair), {"weights": abs(v.inputs[:, 0])}
    guess = {"labels": v.labels, "predictions": logits.argmax(-1), "uncertainty": doubt}
    ranked = "top_k gumbel_top_k power_top_k softmax_top_k softrank_top_k"
    plain = "k_means_nearest typiclust max_herding lcmd max_det frank_wolfe vessal"
    sets = ("facility_location", "graph_cut", "log_determinant")
    greedy, streams = ("k_center", "k_means_plus_plus"), ("top_k", "gumbel_top_k")
    gradients, badge = jaxal.gradient_embedding(*pair), {"first": "largest_norm"}
    return {
        **{n: ((doubt, free), {}) for n in ranked.split()},
        **{n: (rows, {}) for n in (*plain.split(), "active_ft", *sets, *greedy)},
        **{f"{n}, query": (rows, {"query": v.inputs[:3]}) for n in sets},
        **{f"{n}, private": (rows, {"private": v.inputs[:3]}) for n in sets},
        **{f"{n}, weights": (rows, weights) for n in greedy},
        **{f"{n}, gradients": ((gradients, free), badge) for n in greedy},
        "k_means": ((x, free), {}),
        "prob_cover": (rows, {"radius": 2.5}),
        "dcom": (rows, {"initial_radius": 2.0, "max_radius": 3.0, **guess}),
        "uherding": (rows, {"uncertainty": doubt}),
        "alfa_mix": (rows, {"logits": logits, "labels": v.labels}),
        "drop_query": (rows, {"logits": logits}),
        "cluster_margin": (rows, {"scores": doubt, "oversample": 4.0}),
        "galaxy": ((logits, free, v.labels), {}),
        "bait": ((fisher, free, known), {}),
        "batch_bald": ((v.samples, free), {"num_configurations": 64}),
        **{f"stream_{n}": ((jaxal.margin, logits, free), {}) for n in streams},
        **{f"stream_{n}": (rows, {}) for n in greedy},
        **{f"stream_{n}, gradients": ((gradients, free), badge) for n in greedy},
        "stream_reservoir": ((logits, free), {"weights": jaxal.margin}),
    }


def called(name: str, key: Any, view: Any, memory: Any) -> tuple:
    """Returns what a selector or a stream picks; it is not compiled as a whole."""
    args, settings = calls(view)[name]
    if "stream" in name:
        args = jax.tree.map(lambda x: x if callable(x) else np.asarray(x), args)
        settings = {"chunk_size": 16, **settings}
    sizes = {"num_clusters" if name == "k_means" else "batch_size": K}
    found = getattr(jaxal, name.split(",")[0])(key, *args, **sizes, **settings)
    if name == "k_means":
        found = found.assignment, found.distances, view.is_available
    return getattr(found, "selection", found), memory


def choose(strategy: Any, key: Any, view: Any, memory: Any, batch_size: int) -> tuple:
    """Returns the selection and what to remember, whichever way memory is passed."""
    if "memory" not in jaxal.View._fields:
        return strategy.step(key, view, memory, batch_size)
    if strategy.step is None:
        return strategy.select(key, view, batch_size), memory
    return strategy.step(key, view._replace(memory=memory), batch_size)


@cache
def prepared(make: Callable[[], Any]) -> tuple[Callable, list[str], Any]:
    """Returns a strategy's compiled choice, the fields it needs, and its memory."""
    strategy = make()

    def run(key: Any, view: Any, memory: Any) -> tuple:
        if strategy.rowwise is not None:  # rows are found without masks, as in the loop
            nobody, hidden = view.is_labelled & False, strategy.streams - strategy.needs
            seen = view._replace(is_available=~nobody, is_labelled=nobody, labels=None)
            view = view._replace(rows=strategy.rowwise(seen), **dict.fromkeys(hidden))
        return choose(strategy, key, view, memory, K)

    fields = [*FIELDS[:2], *(strategy.needs | strategy.streams)]
    return jax.jit(run), fields, strategy.init(N) if strategy.init else ()


def play(run: Callable, fields: Any, memory: Any, pool: dict, mesh: Any) -> list:
    """Returns rows, which of them are valid, and scores, for each round."""
    found = []

    def put(name: str) -> Any:
        spec = PartitionSpec(*(None,) * (name == "samples"), jaxal.POOL_AXIS)
        return jax.device_put(pool[name], mesh and NamedSharding(mesh, spec))

    for number in range(ROUNDS):
        labels = np.where(pool["is_labelled"], pool["classes"], -1).astype(np.int32)
        pool = pool | {"labels": labels}
        view = jaxal.View(**{name: put(name) for name in fields})
        key = jax.random.fold_in(jax.random.key(42), number)
        with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
            picks, memory = run(key, view, memory)
        rows, scores, is_valid = map(np.asarray, picks)
        short = [float(f"{x:.4g}") + 0.0 for x in scores.tolist()]
        found.append([rows.tolist(), "".join(map(str, 1 * is_valid)), short])
        bought = np.isin(np.arange(N), rows[is_valid]) & (rows.size == K)
        known, free = pool["is_labelled"] | bought, pool["is_available"] & ~bought
        pool = pool | {"is_labelled": known, "is_available": free}
    return found


def record(only: list[str]) -> dict[str, list]:
    """Returns rounds, the last of which may say what was raised, by name and pool."""
    pools, found = make_pools(), {}
    some = SimpleNamespace(**pools["plain"], labels=pools["plain"]["classes"])
    made = {n: partial(named, n, **SETTINGS.get(n, {})) for n in jaxal.strategy_names()}
    kinds: Any = {"strategy": made, "combined": COMBINED, "function": calls(some)}
    for kind, name, pool in [(k, n, p) for k in kinds for n in kinds[k] for p in pools]:
        if not only or name.split(",")[0] in only:
            rounds = found[f"{kind} {name} | {pool}"] = []
            mesh = jaxal.pool_mesh() if "sharded" in pool else None
            how = (partial(called, name), FIELDS, ())
            try:
                how = how if kind == "function" else prepared(kinds[kind][name])
                rounds.extend(play(*how, pools[pool], mesh))
            except Exception as error:
                rounds.append([f"error: {type(error).__name__}", "", []])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    args = parser.parse_args()
    print(jaxal.__file__)
    old = json.loads(args.file.read_text()) if args.file.exists() else {}
    new, worst = record(args.only), {}
    if args.action == "write":
        new = old | new if args.only else new
        packed = partial(json.dumps, separators=(",", ":"))
        lines = [f"{packed(place)}: {packed(x)}" for place, x in new.items()]
        args.file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    for place in old | new:
        if args.only and place.split()[1].strip(",") not in args.only:
            continue
        both = [x.get(place, [["nothing", "", []]]) for x in (old, new)]
        levels = [  # 2: other picks, 1: other scores alone
            2 * (a[:2] != b[:2]) or 1 - np.allclose(a[2], b[2], 1.001e-3, 1e-6, True)
            for a, b in zip(*both, strict=False)
        ]
        what, found = place.split(" | ")[0], max(levels)
        worst[what] = max(worst.get(what, 0), found)
        if found:
            number, part = levels.index(found), slice(2) if found == 2 else 2
            was, now = (x[number][part] for x in both)
            print(f"{place}, round {number}: {was} -> {now}")
    for kind in ("strategy", "combined", "function"):
        found = {n[len(kind) + 1 :]: x for n, x in worst.items() if n.startswith(kind)}
        picks, scores = ([n for n in found if found[n] == x] for x in (2, 1))
        print(f"{kind}: {len(found) - len(picks)} of {len(found)} the same", end="; ")
        print(f"different: {picks or 'none'}; only scores: {scores or 'none'}")
    return int(2 in worst.values())


if __name__ == "__main__":
    raise SystemExit(main())
