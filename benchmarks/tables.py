"""Results as a page that people can read."""

import importlib.metadata
import pathlib
import statistics
import subprocess
import sys

_PACKAGES = ("jax", "jaxlib", "numpy", "torch", "scikit-learn", "scikit-activeml")
_PACKAGES += ("baal", "modAL-python")
_COLUMNS = 14
WORKS = {"badge": "BADGE", "coreset": "Core-set", "ranked": "Entropy, top K"}
WORKS |= {"clue": "CLUE", "drop_query": "DropQuery", "max_herding": "MaxHerding"}
WORKS |= {"prob_cover": "ProbCover", "typiclust": "TypiClust"}


def header() -> dict:
    """Returns what a number is worth nothing without."""
    return {
        "command": "python " + " ".join(sys.argv),
        "commit": commit(),
        "versions": {name: v for name in _PACKAGES if (v := _version(name))},
    }


def table(race: dict) -> str:
    """Returns one race as a Markdown table."""
    fastest = _fastest_peer(race)
    lines = [
        f"### {title(race['workload'])}",
        "",
        _floor(race),
        "",
        "| library | turns | median s | from - to | over floor | jaxal is faster by | "
        "CPU s | over floor | jaxal needs less by | passes | load and compile s | "
        "peak MB (before) | peak over features | spread |",
        "|" + "---|" * _COLUMNS,
    ]
    lines += [_line(label, race) for label in race["results"]]
    if fastest:
        lines += ["", f"The fastest of the others is {fastest}."]
    return "\n".join(lines) + "\n"


def _floor(race: dict) -> str:
    reading = (
        f"Reading the arrays once: {race['copy_seconds'] * 1e3:.0f} ms at "
        f"{race['rates']['bytes'] / 1e9:.1f} GB/s of copying."
    )
    if not race["floor_seconds"]:
        return reading
    return (
        f"Floor, the products of an exact method: {race['floor_seconds']:.3f} s at "
        f"{race['rates']['flops'] / 1e9:.0f} GFLOP/s. {reading}"
    )


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
        "same arrays. The first turn of each is a warm-up, not counted where there "
        "are more. Spread is the covering radius (Core-set) or the mean squared "
        "distance of gradients to the nearest pick (BADGE): where it agrees, the same "
        "thing was done. Memory is that of the whole process, of which a part was "
        "there before; features count 4 bytes a number. CPU seconds "
        "are those of all threads together: where others use the machine too, their "
        "ratios are the ones to trust.",
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
    return f"{WORKS[workload['work']]}: {sizes}"


def _line(label: str, race: dict) -> str:
    result = race["results"][label]
    if not result["seconds"]:
        said = f"{result.get('status', 'no turn')}: {result.get('why', 'interrupted')}"
        return f"| {label} | {said} |" + " |" * (_COLUMNS - 2)
    quality = result.get("quality", {}).get("spread")
    seconds, cpu_seconds = (counted(result[c]) for c in ("seconds", "cpu_seconds"))
    runs = result["whole_runs_to_prepare"] * statistics.median(seconds)
    features = 4 * race["workload"]["rows"] * race["workload"]["features"]
    cells = [
        label,
        _turns(result),
        f"{statistics.median(seconds):.3f}",
        f"{min(seconds):.3f} - {max(seconds):.3f}",
        *_ratios(label, race, "seconds"),
        f"{statistics.median(cpu_seconds):.2f}",
        *_ratios(label, race, "cpu_seconds"),
        str(result.get("passes", "")),
        f"{max(0.0, result['seconds_to_prepare'] - runs):.1f}",
        f"{result['bytes_peak'] / 1e6:.0f} ({result['bytes_before'] / 1e6:.0f})",
        f"{result['bytes_peak'] / features:.2f}",
        "" if quality is None else f"{quality:.5g}",
    ]
    return "| " + " | ".join(cells) + " |"


def counted(seconds: list[float]) -> list[float]:
    """Returns the turns that count: the first warms up, where there are others."""
    return seconds[1:] or seconds


def _turns(result: dict) -> str:
    """How many turns count, and why there were no more."""
    why = result.get("status", result.get("why", ""))
    return str(len(counted(result["seconds"]))) + (f", then {why}" if why else "")


def _ratios(label: str, race: dict, clock: str) -> tuple[str, str]:
    """Over the floor, and over the better of jaxal's own."""
    medians = _medians(race, clock)
    floor = race[f"floor_{clock}"]
    over_floor = f"{medians[label] / floor:.1f}" if floor else ""
    ours = min((s for k, s in medians.items() if k.startswith("jaxal")), default=None)
    if ours is None or label.startswith("jaxal"):
        return over_floor, ""
    return over_floor, f"{medians[label] / ours:.1f}"


def _medians(race: dict, clock: str) -> dict[str, float]:
    results = race["results"].items()
    return {
        k: statistics.median(counted(one[clock])) for k, one in results if one[clock]
    }


def _fastest_peer(race: dict) -> str | None:
    times = _medians(race, "seconds")
    others = [label for label in times if not label.startswith("jaxal")]
    return min(others, key=times.get, default=None)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str:
    """The commit, with a plus sign where files are not as it has them."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    found, changes = (
        subprocess.run([*git, *command], capture_output=True, text=True, check=False)
        for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
    )
    commit = found.stdout.strip()[:12] or "unknown"
    return commit + ("+" if changes.stdout.strip() else "")
