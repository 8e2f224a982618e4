"""Times batch selection, against the machine's own limits and against other libraries.

    python benchmarks/selection.py badge --rows 50000 --features 512 --peers

Each library gets the same arrays, in a process of its own, and they take turns. What is
timed begins with features and logits in the library's own arrays and ends with the
chosen rows on the host; loading and compiling are reported apart.
"""

import argparse
import json
import pathlib
from collections.abc import Iterator

import tables
from peers import PEERS
from race import race
from workloads import Workload

WORKS = tuple(tables.WORKS)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("works", nargs="*", default=["badge", "coreset"], help=WORKS)
    sizes = parser.add_argument_group("sizes")
    sizes.add_argument("--rows", type=int, default=50_000, help="N, of the pool")
    sizes.add_argument("--features", type=int, default=512, help="D")
    sizes.add_argument("--classes", type=int, default=10, help="C")
    sizes.add_argument("--batch-size", type=int, default=1000, help="K, rows to pick")
    sizes.add_argument("--labelled", type=int, default=0, help="centres at the start")
    sizes.add_argument("--clusters", type=int, default=0, help="0 for one Gaussian")
    how = parser.add_argument_group("how")
    how.add_argument("--repeats", type=int, default=5)
    how.add_argument(
        "--devices",
        default="1",
        help="host devices jaxal spreads the pool over; several, as in 1,2, take turns",
    )
    how.add_argument(
        "--peers",
        nargs="?",
        const=",".join(PEERS),
        default="",
        help="also time every other library that is installed, or those named a,b",
    )
    how.add_argument("--limit", type=float, default=600, help="seconds for one run")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--json", type=pathlib.Path, help="a file for all numbers")
    out.add_argument("--markdown", type=pathlib.Path, help="a file for the tables")
    out.add_argument(
        "--plots", type=pathlib.Path, help="a folder: time against N, K, D"
    )
    options = parser.parse_args(arguments)
    for work in options.works:
        if work not in WORKS:
            parser.error(f"unknown work {work!r}, expected some of {', '.join(WORKS)}")
    unknown = set(filter(None, options.peers.split(","))) - set(PEERS)
    if unknown:
        parser.error(f"unknown peers {sorted(unknown)}, known: {', '.join(PEERS)}")
    return options


def workload(work: str, options: argparse.Namespace, **changed: int) -> Workload:
    """Returns the sizes asked for, some of them changed."""
    fields = set(Workload._fields) - {"work"}
    sizes = {name: getattr(options, name) for name in fields} | changed
    return Workload(work, **sizes)


def labels(options: argparse.Namespace) -> list[str]:
    """Returns who takes part: jaxal, once for each number of devices, and peers."""
    counts = options.devices.split(",")
    ours = ["jaxal" if count == "1" else f"jaxal x{count}" for count in counts]
    return ours + [p for p in options.peers.split(",") if p and p != "jaxal"]


def main() -> None:
    options = parse()
    for path in (options.json, options.markdown):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    found = {"header": tables.header(), "races": [], "sweeps": []}
    raced: dict[Workload, dict] = {}
    try:
        for work in options.works:
            one = run(workload(work, options), options, raced)
            found["races"].append(one)
            print(tables.table(one), flush=True)
            write(found, options)
            if options.plots:
                for point in sweep(work, options, raced):
                    found["sweeps"].append(point)
                    write(found, options)
    except KeyboardInterrupt:
        found["races"] += [one for one in raced.values() if not one["is_whole"]]
        write(found, options)
        raise SystemExit(130) from None
    if options.plots:
        import plots

        plots.draw(found["sweeps"], options.plots)


def write(found: dict, options: argparse.Namespace) -> None:
    """Writes what was found so far."""
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.markdown and found["races"]:
        options.markdown.write_text(tables.page(found))


def run(one: Workload, options: argparse.Namespace, raced: dict) -> dict:
    """Returns a race, run once for each workload.

    Libraries that are not installed, or do no such work, are asked but once.
    """
    if one not in raced:
        absent = {
            label
            for workload, other in raced.items()
            for label, result in other["results"].items()
            if workload.work == one.work
            and result.get("status") in {"not installed", "not offered"}
        }
        who = [label for label in labels(options) if label not in absent]
        how = {"repeats": options.repeats, "limit": options.limit, "say": say}
        raced[one] = race(one, who, **how)
        if not raced[one]["is_whole"]:
            raise KeyboardInterrupt
    return raced[one]


def sweep(work: str, options: argparse.Namespace, raced: dict) -> Iterator[dict]:
    """Yields smaller problems: each of N, K and D halved, three times over."""
    for size in ("rows", "batch_size", "features"):
        for factor in (8, 4, 2, 1):
            value = max(1, getattr(options, size) // factor)
            one = workload(work, options, **{size: value})
            if one.batch_size + one.labelled > one.rows:
                continue
            say(f"{work}, {size} = {value}")
            yield {"size": size, "value": value, **run(one, options, raced)}


def say(text: str) -> None:
    """Shows how it goes."""
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    main()
