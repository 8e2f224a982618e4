"""How fast every score and selector is, and how much memory it takes.

    python benchmarks/acquisition.py --peers --json benchmarks/results/acquisition.json
    python benchmarks/acquisition.py --sizes 100000x10 --only entropy bald

For every score: rows/s, GB/s of logits read and the fraction of this machine's copy
bandwidth that is; for all, the seconds to a first result (tracing and compiling) apart
from those of every later call, and the memory of one call. With `--peers` the same
arrays are scored by NumPy and by PyTorch (if installed) in turns.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from harness import (
    Contender,
    MakeInputs,
    compare,
    jax_contender,
    machine,
    normal,
    numpy_contender,
    print_header,
    print_table,
    torch_contender,
    write_json,
)
from score_peers import NUMPY, torch_scores

from jaxal import embeddings, scores, selection

Row = dict[str, Any]

SINGLE = (scores.entropy, scores.margin, scores.least_confidence)
SAMPLES = (
    scores.bald,
    scores.consensus_kl,
    scores.expected_entropy,
    scores.consensus_entropy,
    scores.mean_std,
    scores.log_mean_prob,
    scores.vote_entropy,
    scores.variation_ratio,
)


class Selector(NamedTuple):
    """A selector and what it reads: "scores" [N], "features" [N, D] or "outer"."""

    select: Callable[..., Any]  # (key, read, is_available, batch_size)
    reads: str


def _ranked(selector: Callable) -> Callable:
    def select(key: Any, values: Any, is_available: Any, batch_size: int) -> Any:
        return selector(key, values, is_available, batch_size=batch_size)

    return select


def _spread(selector: Callable) -> Callable:
    def select(key: Any, embedding: Any, is_available: Any, batch_size: int) -> Any:
        nobody = ~is_available
        return selector(key, embedding, is_available, nobody, batch_size=batch_size)

    return select


SELECTORS = {
    "top_k": Selector(_ranked(selection.top_k), "scores"),
    "gumbel_top_k": Selector(_ranked(selection.gumbel_top_k), "scores"),
    "k_center": Selector(_spread(selection.k_center), "features"),
    "k_means_plus_plus": Selector(_spread(selection.k_means_plus_plus), "features"),
    "k_means_plus_plus_badge": Selector(_spread(selection.k_means_plus_plus), "outer"),
}
OUTER_CLASSES = 10  # classes of the gradient embedding, whatever the features


def inputs_of(name: str, size: tuple[int, ...]) -> MakeInputs:
    """Fresh host arrays for a score, or for a selector over `N x D x K`."""
    if name == scores.expected_gradient_length.__name__:
        return lambda rng: normal(*size)(rng) + normal(size[0], 64)(rng)
    if name not in SELECTORS:
        return normal(*size)
    num_rows, num_features, _ = size
    by_kind = {
        "scores": normal(num_rows),
        "features": normal(num_rows, num_features, scale=1.0),
        "outer": lambda rng: (
            normal(num_rows, OUTER_CLASSES)(rng) + normal(num_rows, num_features)(rng)
        ),
    }
    make_read = by_kind[SELECTORS[name].reads]
    return lambda rng: (rng.integers(2**31), *make_read(rng))


def selector_function(name: str, batch_size: int) -> Callable:
    """A selector as a function of a seed and arrays."""
    selector = SELECTORS[name]

    def select(seed: Any, *read: Any) -> Any:
        outer = selector.reads == "outer"
        value = embeddings.gradient_embedding(*read) if outer else read[0]
        is_available = jnp.ones(read[0].shape[0], bool)
        return selector.select(jax.random.key(seed), value, is_available, batch_size)

    return select


def parse_size(text: str) -> tuple[int, ...]:
    """Reads "1000000x10"."""
    try:
        return tuple(int(float(part)) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; write numbers joined by x, such as 100000x10"
        ) from None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes: dict[str, Any] = {"nargs": "*", "type": parse_size}
    parser.add_argument(
        "--sizes",
        metavar="NxC",
        default=[(10_000, 10), (1_000_000, 10), (100_000, 100), (10_000, 1000)],
        help="rows x classes, for scores of one network",
        **sizes,
    )
    parser.add_argument(
        "--sample-sizes",
        metavar="SxNxC",
        default=[(20, 10_000, 10), (20, 100_000, 10), (20, 10_000, 100)],
        help="samples x rows x classes, for scores of posterior samples",
        **sizes,
    )
    parser.add_argument(
        "--selector-sizes",
        metavar="NxDxK",
        default=[(10_000, 64, 100), (50_000, 512, 100)],
        help="rows x features x picks, for selectors",
        **sizes,
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these and no others")
    parser.add_argument("--peers", action="store_true", help="NumPy and PyTorch too")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls each")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--json", metavar="FILE", help="where to write the results")
    return parser.parse_args()


def work(options: argparse.Namespace) -> Iterator[tuple[str, tuple, Callable]]:
    """Every name, size and function asked for."""
    single = (*SINGLE, scores.expected_gradient_length)
    for functions, sizes in ((single, options.sizes), (SAMPLES, options.sample_sizes)):
        for size in sizes:
            for function in functions:
                yield function.__name__, size, function
    for size in options.selector_sizes:
        for name in SELECTORS:
            yield name, size, selector_function(name, size[-1])


def contenders_of(
    name: str, function: Callable, example: tuple, torch_functions: Mapping | None
) -> dict[str, Contender]:
    """jaxal, and the peers that offer the same where they are asked for."""
    contenders = {"jaxal": jax_contender(function, *example)}
    if torch_functions is not None and name in NUMPY:
        contenders["numpy"] = numpy_contender(NUMPY[name])
        if name in torch_functions:
            contenders["torch"] = torch_contender(torch_functions[name])
    return contenders


def measure(
    name: str,
    size: tuple[int, ...],
    function: Callable,
    options: argparse.Namespace,
    header: Row,
    torch_functions: Mapping | None,
) -> list[Row]:
    """Times one score or selector at one size, one row a contender."""
    make_inputs = inputs_of(name, size)
    example = make_inputs(np.random.default_rng(options.seed))
    contenders = contenders_of(name, function, example, torch_functions)
    repeats, seed = options.repeats, options.seed
    timings = compare(contenders, make_inputs, repeats=repeats, seed=seed)
    is_selector = name in SELECTORS
    num_rows = size[0] if is_selector or len(size) == 2 else size[1]
    logit_bytes = None if is_selector else int(np.prod(size)) * 4
    rows = []
    for library, timing in timings.items():
        contender = contenders[library]
        rate = logit_bytes and logit_bytes / timing.median / 1e9
        rows.append(
            {
                "name": name,
                "size": "x".join(map(str, size)),
                "library": library,
                "ms": timing.median * 1e3,
                "low_ms": timing.low * 1e3,
                "high_ms": timing.high * 1e3,
                "rows_per_s": num_rows / timing.median,
                "gb_per_s": rate,
                "of_copy": rate and rate / header["copy_gb_per_s"],
                "compile_s": contender.compile_seconds,
                "peak_mb": contender.peak_bytes and contender.peak_bytes / 1e6,
                "vs_jaxal": timing.median / timings["jaxal"].median,
            }
        )
    return rows


def peers_or_none(wanted: bool) -> tuple[Mapping | None, str]:
    """PyTorch's functions, empty where it is not installed, None if nobody asked."""
    if not wanted:
        return None, "not asked for"
    try:
        import torch
    except ImportError:
        return {}, "not installed"
    return torch_scores(), f"{torch.__version__}, {torch.get_num_threads()} threads"


def main() -> None:
    options = parse_arguments()
    torch_functions, torch_version = peers_or_none(options.peers)
    header = machine() | {"torch": torch_version}
    print_header(header)
    results: list[Row] = []
    for name, size, function in work(options):
        if options.only and name not in options.only:
            continue
        rows = measure(name, size, function, options, header, torch_functions)
        print_table(rows, heading=not results, widths={"name": 24, "size": 13})
        results += rows
        if options.json:  # after each, so that an interrupted run leaves its part
            write_json(options.json, header, results)
    if not results:
        raise SystemExit(f"Nothing is called {options.only}: see SINGLE and SAMPLES.")


if __name__ == "__main__":
    main()
