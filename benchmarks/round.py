"""Seconds of a full round by phase: training, evaluation, looking, choosing.

    python benchmarks/round.py --json benchmarks/results/round.json
    python benchmarks/round.py --model mlp --rows 20000 --strategies margin badge

Random images stand for the pool; what is timed does not depend on what they show. The
first round includes compiling, which is why it is a row of its own; of the later ones
the median is given, and the number of programs they compiled, which must be 0.
"""

import argparse
import statistics
from typing import Any

import jax
import numpy as np
import optax
from harness import machine, print_header, print_table, timed, write_json

from jaxal import active_learner, array_oracle, make_pool, models, strategy, supervised
from jaxal.rounds import ActiveLearner, LoopState

Row = dict[str, Any]
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"
PHASES = ("train", "evaluate", "look", "choose", "tell")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategies", nargs="+", default=["margin", "bald", "badge"])
    parser.add_argument("--model", default="resnet18", choices=sorted(models.MODELS))
    parser.add_argument("--width", type=int, default=16, help="of resnet18")
    parser.add_argument("--rows", type=int, default=4096, help="of the pool")
    parser.add_argument("--test-rows", type=int, default=1024)
    parser.add_argument("--side", type=int, default=32, help="of the images, pixels")
    parser.add_argument("--initial", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=128, help="rows bought")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="at least 2")
    parser.add_argument("--json", help="where to write the results")
    return parser.parse_args()


def build(args: argparse.Namespace, name: str) -> tuple[ActiveLearner, LoopState]:
    rng = np.random.default_rng(0)
    shape = (args.rows + args.test_rows, args.side, args.side, 3)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    labels = rng.integers(0, 10, shape[0]).astype(np.int32)
    settings = {"width": args.width, "dropout": 0.2} if args.model == "resnet18" else {}
    model = models.scale_inputs(models.build(args.model, 10, **settings), 127.5, 64.0)
    loop = active_learner(
        model,
        supervised(model, optax.adamw(1e-4), epochs=args.epochs),  # noise is no guide
        strategy(name),
        array_oracle(labels[: args.rows]),
        batch_size=args.batch_size,
        test=(images[args.rows :], labels[args.rows :]),
    )
    pool = make_pool(images[: args.rows])
    return loop, loop.init(jax.random.key(0), pool, initial=args.initial)


def one_round(
    loop: ActiveLearner, key: jax.Array, state: LoopState, labels: Any
) -> tuple[LoopState, dict[str, float]]:
    seconds = {}
    (state, _), seconds["train"] = timed(loop.phases.train, key, state)
    _, seconds["evaluate"] = timed(loop.phases.evaluate, key, state)
    looked, seconds["look"] = timed(loop.phases.look, key, state)
    selection, seconds["choose"] = timed(loop.phases.choose, key, state, looked)
    answers = np.where(selection.is_valid, labels(selection.indices), -1)
    state, seconds["tell"] = timed(loop.tell, state, selection, answers)
    return state, seconds


def measure(args: argparse.Namespace, name: str) -> list[Row]:
    loop, state = build(args, name)
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: (
            compiled.append(event) if event == COMPILE_EVENT else None
        )
    )
    found, counts = [], []
    for i in range(args.rounds):
        before = len(compiled)
        key = jax.random.key(i)
        state, seconds = one_round(loop, key, state, lambda rows: np.asarray(rows) % 10)
        found.append(seconds)
        counts.append(len(compiled) - before)
    later = {p: statistics.median(s[p] for s in found[1:]) for p in PHASES}
    return [
        row_of(name, "first", found[0], counts[0]),
        row_of(name, "later", later, max(counts[1:])),
    ]


def row_of(name: str, which: str, seconds: dict[str, float], compiled: int) -> Row:
    rounded = {phase: round(seconds[phase], 3) for phase in PHASES}
    total = round(sum(seconds.values()), 3)
    return (
        {"strategy": name, "round": which}
        | rounded
        | {
            "total": total,
            "compiled": compiled,
        }
    )


def main() -> None:
    args = arguments()
    header = machine() | {"command": vars(args)}
    print_header(header)
    rows = [row for name in args.strategies for row in measure(args, name)]
    print_table(rows)
    if args.json:
        write_json(args.json, header, rows)


if __name__ == "__main__":
    main()
