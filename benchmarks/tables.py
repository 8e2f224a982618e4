"""Results as a page that people can read."""

import importlib.metadata
import pathlib
import statistics
import subprocess
import sys

_PACKAGES = ("jax", "jaxlib", "numpy", "torch", "scikit-learn", "scikit-activeml")
_PACKAGES += ("baal", "modAL-python")
_WORKS = {"badge": "BADGE", "coreset": "Core-set", "ranked": "Entropy, top K"}


def header() -> dict:
    """Returns what a number is worth nothing without."""
    return {
        "command": "python " + " ".join(sys.argv),
        "commit": _commit(),
        "versions": {name: v for name in _PACKAGES if (v := _version(name))},
    }


def table(race: dict) -> str:
    """Returns one race as a Markdown table."""
    fastest = _fastest_peer(race)
    lines = [
        f"### {title(race['workload'])}",
        "",
        f"Floor, the products of an exact method: {race['floor_seconds']:.3f} s at "
        f"{race['rates']['flops'] / 1e9:.0f} GFLOP/s. Reading the arrays once: "
        f"{race['copy_seconds'] * 1e3:.0f} ms at {race['rates']['bytes'] / 1e9:.1f} "
        "GB/s of copying.",
        "",
        "| library | median s | from - to | over floor | jaxal is faster by | passes | "
        "peak MB (before) | spread |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(label, race) for label in race["results"]]
    if fastest:
        lines += ["", f"The fastest of the others is {fastest}."]
    return "\n".join(lines) + "\n"


def page(found: dict) -> str:
    """Returns everything, with where it was measured on top."""
    head, machine = found["header"], found["races"][0]["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in head["versions"].items())
    lines = [
        "# Selection",
        "",
        f"    {head['command']}",
        "",
        f"{machine['device']} ({machine['cpu']}, {machine['cores']} cores, load "
        f"{machine['load_average']}), {machine['time']}; Python {machine['python']}; "
        f"{versions}; commit {head['commit']}.",
        "",
        "A turn of each library after the other, each in a process of its own, on the "
        "same arrays. Spread is the covering radius (Core-set) or the mean squared "
        "distance of gradients to the nearest pick (BADGE): where it agrees, the same "
        "thing was done. Memory is that of the whole process.",
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table(race) for race in found["races"])


def title(workload: dict) -> str:
    """Returns the sizes in words."""
    sizes = f"N = {workload['rows']:,}, D = {workload['features']:,}"
    if workload["work"] != "coreset":
        sizes += f", C = {workload['classes']}"
    sizes += f", K = {workload['batch_size']:,}"
    if workload["labelled"]:
        sizes += f", {workload['labelled']:,} labelled"
    if workload["clusters"]:
        sizes += f", {workload['clusters']} clusters"
    return f"{_WORKS[workload['work']]}: {sizes}"


def _line(label: str, race: dict) -> str:
    result, ours = race["results"][label], _best_of_ours(race)
    if not result["seconds"]:
        return f"| {label} | {result['status']}: {result['why']} | | | | | | |"
    median = statistics.median(result["seconds"])
    spread = f"{min(result['seconds']):.3f} - {max(result['seconds']):.3f}"
    ratio = f"{median / ours:.1f}" if ours and not label.startswith("jaxal") else ""
    quality = result.get("quality", {}).get("spread")
    cells = [
        label,
        f"{median:.3f}",
        spread,
        f"{median / race['floor_seconds']:.1f}",
        ratio,
        str(result.get("passes", "")),
        f"{result['bytes_peak'] / 1e6:.0f} ({result['bytes_before'] / 1e6:.0f})",
        "" if quality is None else f"{quality:.5g}",
    ]
    return "| " + " | ".join(cells) + " |"


def _best_of_ours(race: dict) -> float | None:
    ours = [
        statistics.median(result["seconds"])
        for label, result in race["results"].items()
        if label.startswith("jaxal") and result["seconds"]
    ]
    return min(ours, default=None)


def _fastest_peer(race: dict) -> str | None:
    times = {
        label: statistics.median(result["seconds"])
        for label, result in race["results"].items()
        if not label.startswith("jaxal") and result["seconds"]
    }
    return min(times, key=times.get, default=None)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()[:12] or "unknown"
