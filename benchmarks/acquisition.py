"""How fast every score and selector is, and how much memory it takes.

    python benchmarks/acquisition.py --peers --json benchmarks/results/acquisition.json
    python benchmarks/acquisition.py --sizes 100000x10 --only entropy bald

What there is stands in contents.py. For every score: rows/s, GB/s of logits read and
the fraction that is of this machine's copy bandwidth, of one copy by XLA and of one by
all cores; for all, the seconds to a first result (tracing and compiling) apart from
those of every later call, and the memory of one call. With `--peers` the same arrays
are scored in turns by NumPy, PyTorch, baal, modAL and scikit-activeml, where they are
installed and have the score. What fails, or takes longer than `--limit`, is said to.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import contents
import jax
import numpy as np
from contents import Entry, Size
from harness import (
    Contender,
    compare,
    failure,
    jax_contender,
    machine,
    print_header,
    print_table,
    write_json,
)
from score_peers import LIBRARIES, load
from tables import commit

Row = dict[str, Any]


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
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=LIBRARIES,
        metavar="LIBRARY",
        help=f"other libraries too: {', '.join(LIBRARIES)}, or all of them",
    )
    parser.add_argument(
        "--limit", type=float, default=120, help="seconds for all calls of one library"
    )
    parser.add_argument("--repeats", type=int, default=7, help="timed calls each")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--json", metavar="FILE", help="where to write the results")
    options = parser.parse_args()
    if options.peers == []:
        options.peers = list(LIBRARIES)
    return options


def work(options: argparse.Namespace) -> Iterator[tuple[Entry, Size]]:
    """Everything asked for, at every size it is fit for."""
    sizes = {
        "scores": options.sizes,
        "samples": options.sample_sizes,
        "selectors": options.selector_sizes,
    }
    for group, of_group in sizes.items():
        for size in of_group:
            for entry in contents.ENTRIES:
                is_wanted = not options.only or entry.name in options.only
                if contents.READS[entry.reads].sizes == group and is_wanted:
                    if entry.fits(size):
                        yield entry, size
                    else:
                        print(f"# {entry.name} at {_text(size)}: left out, too large")


def measure(
    entry: Entry,
    size: Size,
    options: argparse.Namespace,
    header: Row,
    peers: dict[str, dict[str, Contender]],
) -> list[Row]:
    """Times one score or selector at one size, one row a contender."""
    make_inputs = contents.inputs_of(entry, size)
    example = make_inputs(np.random.default_rng(options.seed))
    function = contents.function_of(entry, size)
    contenders: dict[str, Contender] = {}
    rows = {}
    try:
        contenders["jaxal"] = jax_contender(function, *example)
    except Exception as error:  # for want of memory, say: the others still run
        rows["jaxal"] = row_of(entry, size, "jaxal") | {"status": failure(error)}
    contenders |= {
        name: has[entry.name] for name, has in peers.items() if entry.name in has
    }
    timings = compare(
        contenders,
        make_inputs,
        repeats=options.repeats,
        seed=options.seed,
        limit=options.limit,
    )
    ours = timings["jaxal"].median if "jaxal" in timings else None
    num_rows = size[1] if contents.READS[entry.reads].sizes == "samples" else size[0]
    for library, timing in timings.items():
        row = row_of(entry, size, library) | {
            "status": timing.status,
            "repeats": timing.repeats,
            "compile_s": contenders[library].compile_seconds,
            "peak_mb": (contenders[library].peak_bytes or 0) / 1e6 or None,
        }
        if timing.repeats:
            row |= {
                "ms": timing.median * 1e3,
                "low_ms": timing.low * 1e3,
                "high_ms": timing.high * 1e3,
                "rows_per_s": num_rows / timing.median,
                "vs_jaxal": ours and timing.median / ours,
            }
            if not entry.is_selector:
                row |= bandwidth(4 * int(np.prod(size)), timing.median, header)
        rows[library] = row
    return list(rows.values())


def bandwidth(num_bytes: int, seconds: float, header: Row) -> Row:
    """How fast logits were read, and what a copy reads and writes in that time."""
    rate = num_bytes / seconds / 1e9
    threads = header.get("copy_gb_per_s_threads")
    return {
        "gb_per_s": rate,
        "of_copy": rate / header["copy_gb_per_s"],
        "of_threads": threads and rate / threads,
    }


def row_of(entry: Entry, size: Size, library: str) -> Row:
    """A row with nothing measured yet."""
    names = ("repeats", "ms", "low_ms", "high_ms", "rows_per_s", "gb_per_s", "of_copy")
    names += ("of_threads", "compile_s", "peak_mb", "vs_jaxal", "status")
    row = {"name": entry.name, "size": _text(size), "library": library}
    return row | dict.fromkeys(names)


def _text(size: Size) -> str:
    return "x".join(map(str, size))


def main() -> None:
    options = parse_arguments()
    names = {entry.name for entry in contents.ENTRIES}
    if unknown := set(options.only or ()) - names:
        raise SystemExit(f"Nothing is called {sorted(unknown)}: see contents.py.")
    peers, said = load(options.peers or ())
    header = machine() | {"commit": commit(), "peers": said}
    header["without a row"] = contents.missing()
    print_header(header)
    results: list[Row] = []
    for entry, size in work(options):
        rows = measure(entry, size, options, header, peers)
        widths = {"name": 24, "size": 13, "library": 15}
        print_table(rows, heading=not results, widths=widths)
        results += rows
        if options.json:  # after each, so that an interrupted run leaves its part
            write_json(options.json, header, results)
        jax.clear_caches()  # a program for each size would stay otherwise


if __name__ == "__main__":
    main()
