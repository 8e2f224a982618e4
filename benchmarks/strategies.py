"""Times every registered strategy, each in a process of its own, one after another.

    python benchmarks/strategies.py --json all.json --markdown all.md
    python benchmarks/strategies.py badge coreset --batch-size 100 --limit 60

Begins with a view whose arrays are on the device (features around some centres, the
logits of a linear model, posterior samples around them, some rows labelled) and ends
with the chosen rows on the host. The first call, which compiles, is told apart from
those after it, each with another key. Memory is the most the process held above what
it held before. A strategy that fails, or is not through with its first call within the
limit, is reported as such.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

_HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(_HERE.parent), str(_HERE.parents[1])]

import numpy as np  # noqa: E402
import workloads  # noqa: E402
from peers.worker import answer, forget_peak, memory  # noqa: E402

_WIDTHS = {"strategy": 26, "status": 14}
_NOISE = 1.0  # standard deviation of a sample's logits around the mean's


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="strategies; all by default")
    parser.add_argument("--rows", type=int, default=50_000, help="N")
    parser.add_argument("--features", type=int, default=512, help="D")
    parser.add_argument("--classes", type=int, default=10, help="C")
    parser.add_argument("--samples", type=int, default=20, help="S")
    parser.add_argument("--labelled", type=int, default=1000)
    parser.add_argument("--clusters", type=int, default=50, help="0: one Gaussian")
    parser.add_argument("--batch-size", default="100,1000", help="K, several as in a,b")
    parser.add_argument("--repeats", type=int, default=5, help="calls after the first")
    parser.add_argument(
        "--limit", type=float, default=300, help="seconds for one process, all told"
    )
    parser.add_argument("--json", type=pathlib.Path, help="a file for all numbers")
    parser.add_argument("--markdown", type=pathlib.Path, help="a file for the table")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)  # folder, K
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    if options.worker:
        return work(options.names[0], options)
    import harness
    import tables

    from jaxal import strategy_names

    names = options.names or list(strategy_names())
    found = {**tables.header(), **harness.machine()}
    found["sizes"] = {
        size: getattr(options, size)
        for size in ("rows", "features", "classes", "samples", "labelled", "clusters")
    }
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write(folder, options)
        for batch_size in map(int, options.batch_size.split(",")):
            for one in names:
                rows.append(measure(one, batch_size, folder, options))
                line = [summary(rows[-1])]
                harness.print_table(line, heading=len(rows) == 1, widths=_WIDTHS)
                if options.json:  # after each, so that an interrupted run leaves some
                    harness.write_json(options.json, found, rows)
    if options.markdown:
        options.markdown.write_text(page(found, rows))


def write(folder: pathlib.Path, options: argparse.Namespace) -> None:
    """Writes the arrays that every strategy is given."""
    sizes = {"rows", "features", "classes", "labelled", "clusters"}
    chosen = {name: getattr(options, name) for name in sizes}
    workloads.write(workloads.Workload("badge", batch_size=1, **chosen), folder)


def measure(
    name: str, batch_size: int, folder: pathlib.Path, options: argparse.Namespace
) -> dict:
    """Returns what one process says of one strategy, or why it does not."""
    command = [sys.executable, str(_HERE), name, f"--samples={options.samples}"]
    command += [f"--repeats={options.repeats}", f"--limit={options.limit}"]
    command += ["--worker", str(folder), str(batch_size)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    status = {"status": "ok", "why": ""}
    try:
        out, err = process.communicate(timeout=options.limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        why = f"more than {options.limit:g} s"
        status = {"status": "over the limit", "why": why}
    facts = [json.loads(line[1:]) for line in out.splitlines() if line[:1] == "@"]
    result: dict = {"strategy": name, "batch_size": batch_size, **status}
    for fact in facts:
        result |= fact
    if "first_seconds" in result and result["status"] == "over the limit":
        result["status"] = "ok"  # one call was made, and there was no time for more
    if process.returncode not in (0, -9) and result["status"] == "ok":
        last = (err.strip().splitlines() or [""])[-1]
        why = f"exit status {process.returncode}: {last}"[:300]
        result |= {"status": "failed", "why": why}
    return result


def work(name: str, options: argparse.Namespace) -> None:
    """What the process of one strategy does: a line of JSON after every call."""
    start = time.perf_counter()
    folder, batch_size = pathlib.Path(options.worker[0]), int(options.worker[1])
    import jax

    from jaxal import strategy

    try:
        chosen = strategy(name)
        view = view_of(chosen, folder, options.samples)
        select = jax.jit(lambda key, view: chosen.select(key, view, batch_size))
        taken = {"seconds": [], "cpu_seconds": []}
        for seed in range(1 + options.repeats):
            elapsed = time.perf_counter() - start
            # The last call as a guess of the next.
            if elapsed + (taken["seconds"] or [0])[-1] > options.limit:
                break
            call = timed(lambda seed=seed: select(jax.random.key(seed), view))
            _check(call.pop("selection"), batch_size, view)
            if seed == 0:
                answer({f"first_{fact}": value for fact, value in call.items()})
                continue
            taken["seconds"].append(call.pop("seconds"))
            taken["cpu_seconds"].append(call.pop("cpu_seconds"))
            answer({**taken, **call})
    except Exception as error:  # whatever a strategy raises is its result
        why = f"{type(error).__name__}: {error}"[:300]
        answer({"status": "failed", "why": why})


def view_of(chosen, folder: pathlib.Path, num_samples: int):
    """Returns a view with just what a strategy named."""
    import jax
    import jax.numpy as jnp

    from jaxal import View

    arrays = workloads.read(folder)
    names = chosen.needs | chosen.streams
    is_labelled, found = jnp.asarray(arrays["is_labelled"]), {}
    if "samples" in names:
        logits = np.asarray(arrays["logits"])
        rng, shape = np.random.default_rng(1), (num_samples, *logits.shape)
        noise = _NOISE * rng.standard_normal(shape, np.float32)
        found["samples"] = jnp.asarray(logits[None] + noise)
    for name, source in (
        ("logits", "logits"),
        ("features", "features"),
        ("inputs", "features"),
    ):
        if name in names:
            found[name] = jnp.asarray(arrays[source])
    if "labels" in names:
        known = np.where(arrays["is_labelled"], arrays["logits"].argmax(-1), -1)
        found["labels"] = jnp.asarray(known, jnp.int32)
    return jax.block_until_ready(View(~is_labelled, is_labelled, **found))


def timed(call) -> dict:
    """Returns the selection, seconds of wall and processors, and memory."""
    before = memory("VmRSS")
    forget_peak()
    start, cpu_start = time.perf_counter(), time.process_time()
    selection = call()
    rows = np.asarray(selection.indices)  # waits, and brings them to the host
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "selection": (rows, np.asarray(selection.is_valid)),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "bytes_before": before,
        "bytes_peak": memory("VmHWM"),
    }


def _check(selection: tuple, batch_size: int, view) -> None:
    """A fast wrong answer is no answer."""
    rows, is_valid = selection
    picks = rows[is_valid]
    most = min(batch_size, int(view.is_available.sum()))
    if len(set(picks.tolist())) != most:
        raise AssertionError(f"{len(set(picks.tolist()))} distinct picks, not {most}")
    if not np.asarray(view.is_available)[picks].all():
        raise AssertionError("rows were picked that are not available")


def summary(result: dict) -> dict:
    """Returns one result as a line of the table."""
    from harness import timing

    steady = timing(result["seconds"]) if result.get("seconds") else None
    cpu = timing(result["cpu_seconds"]).median if steady else None
    more = None
    if "first_bytes_peak" in result:
        # A first call also holds the compiler; where there are others they count.
        prefix = "" if steady else "first_"
        peak, before = (
            result[f"{prefix}bytes_peak"],
            result[f"{prefix}bytes_before"],
        )
        more = round((peak - before) / 1e6)
    return {
        "strategy": result["strategy"],
        "K": result["batch_size"],
        "first s": result.get("first_seconds"),
        "first CPU s": result.get("first_cpu_seconds"),
        "median s": steady and steady.median,
        "low": steady and steady.low,
        "high": steady and steady.high,
        "calls": steady.repeats if steady else 0,
        "CPU s": cpu,
        "peak MB": more,
        "status": result["status"],
        "why": result["why"],
    }


def page(found: dict, rows: list[dict]) -> str:
    """Returns everything as Markdown, with where it was measured on top."""
    sizes, versions = found["sizes"], found["versions"]
    lines = [
        "# Strategies",
        "",
        f"    {found['command']}",
        "",
        f"{found['device']} ({found['cpu']}, {found['cores']} cores, load "
        f"{found['load_average']}), {found['time']}; Python {found['python']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {found['commit']}.",
        "",
        f"N = {sizes['rows']:,}, D = {sizes['features']:,}, C = {sizes['classes']:,}, "
        f"S = {sizes['samples']}, {sizes['labelled']:,} labelled, features around "
        f"{sizes['clusters']} centres. The first call compiles. CPU seconds are those "
        "of all threads together; memory is what the process held at most above what "
        "it held before the call.",
    ]
    for batch_size in dict.fromkeys(row["batch_size"] for row in rows):
        lines += ["", f"## K = {batch_size:,}", ""]
        lines += [
            "| strategy | first call s | its CPU s | median s | quartiles | CPU s "
            "| calls | MB |",
            "|" + "---|" * 8,
        ]
        some = [summary(row) for row in rows if row["batch_size"] == batch_size]
        lines += map(_line, some)
    return "\n".join(lines) + "\n"


def _line(row: dict) -> str:
    name = f"| `{row['strategy']}` |"
    if row["status"] != "ok":
        return f"{name} {row['status']}: {row['why']} |" + " |" * 6
    first = f" {row['first s']:.2f} | {row['first CPU s']:.2f} |"
    last = f" {row['calls']} | {row['peak MB']} |"
    if row["median s"] is None:
        return f"{name}{first} | | |{last}"
    steady = f" {row['median s']:.3f} | {row['low']:.3f} - {row['high']:.3f} |"
    return f"{name}{first}{steady} {row['CPU s']:.3f} |{last}"


if __name__ == "__main__":
    main()
