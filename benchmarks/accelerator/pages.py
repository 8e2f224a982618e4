"""Results as JSON, and as a page that people can read."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

# In the order of columns: what a row may hold, and what the page calls it.
_COLUMNS = {
    "name": "what",
    "library": "library",
    "size": "size",
    "seconds": "median s",
    "low": "lower quartile",
    "high": "upper quartile",
    "calls": "calls",
    "queued_s": "queued s",
    "rows_per_s": "rows/s",
    "images_per_s": "images/s",
    "rounds_per_s": "rounds/s",
    "gb_per_s": "GB/s",
    "tflop_per_s": "TFLOP/s",
    "floor_s": "floor s",
    "of_floor": "floor / time",
    "bound": "bound by",
    "jaxal_faster": "jaxal is faster by",
    "import_s": "import s",
    "start_s": "device s",
    "data_s": "data s",
    "first_pick_s": "first pick s",
    "second_pick_s": "second pick s",
    "compile_s": "compile s",
    "peak_mb": "peak MB",
    "accuracy": "accuracy",
    "aim": "aim",
    "cut": "cut short",
    "data": "data",
    "held": "laws held",
    "not_asked": "not asked",
    "picks": "picks",
    "shared": "shared",
    "gap": "gap",
    "in_float32": "all products in float32",
    "precision": "products ask for",
    "status": "status",
}
_PLAIN = """`median s` waits for every call; `queued s` is a call's share of many that
are started one behind the other, told where calls are short. The floor is the longer of
two times, the fewest bytes at the rate of a copy and the fewest operations at that of a
product, both measured in this run. `peak MB` is arguments, results and temporaries of a
program. docs/accelerator.md says more."""


def write(
    found: Mapping[str, Any], page: pathlib.Path | None, data: pathlib.Path | None
) -> None:
    """Writes what there is so far; a reader never sees half a file."""
    for path, make in ((data, _json), (page, markdown)):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_text(make(found))
            part.replace(path)


def markdown(found: Mapping[str, Any]) -> str:
    """Returns the page: where it was measured, then a section for every part."""
    machine = found.get("machine", {})
    versions = ", ".join(f"{k} {v}" for k, v in machine.get("versions", {}).items())
    lines = [f"# On an accelerator, scale {found['scale']}", ""]
    if machine.get("backend") == "cpu":
        lines += ["**Measured on a CPU: no figure here is an accelerator's.**", ""]
    lines += [f"    {found['command']}", "", f"{_device(machine)}; {versions}; "]
    lines[-1] += f"commit {found['commit']}; {machine.get('time', '')}."
    lines += ["", _PLAIN.replace("\n", " ")]
    peers = _peers(found["parts"])
    asked = [part for part in found["parts"] if part["status"] != "not asked for"]
    for part in asked:
        lines += ["", *_section(part, peers)]
    if left := [p["name"] for p in found["parts"] if p not in asked]:
        lines += ["", f"Not asked for: {', '.join(left)}."]
    return "\n".join(lines) + "\n"


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=1, default=str) + "\n"


def _device(machine: Mapping[str, Any]) -> str:
    smi = machine.get("nvidia_smi") or {}
    parts = [f"{machine.get('devices', 0)} x {machine.get('device', 'no device')}"]
    if smi:
        parts.append(f"{smi.get('memory.total')}, driver {smi.get('driver_version')}")
    cpu = f"{machine.get('cpu')}, {machine.get('cores')} cores"
    return ", ".join([*parts, f"{cpu}, load {machine.get('load_average')}"])


def _section(part: Mapping[str, Any], ours: Mapping[tuple, float]) -> list[str]:
    lines = [f"## {part['what']}", "", _status(part)]
    if part["rows"]:
        lines += ["", *_table([_beside(row, ours) for row in part["rows"]])]
    for row in part["rows"]:
        lines += _kernels(row) if row.get("kernels") else []
    return lines


def _kernels(row: Mapping[str, Any]) -> list[str]:
    """What the profiler saw of one call: a line for every kernel that took long."""
    head = f"{row['name']}, {row['size']}: kernels ran {row['busy_s']:.3g} s "
    head += f"in {row['span_s']:.3g} s"
    lines = [
        f"    {kernel['seconds'] * 1e3:10.3f} ms in {kernel['calls']:6,} calls, "
        f"{kernel['name']}"
        for kernel in row["kernels"]
    ]
    return ["", head, "", *lines]


def _status(part: Mapping[str, Any]) -> str:
    said = f"`{part['name']}`: {part['status']}"
    if "seconds" in part:
        said += f", {part['seconds']:.0f} of {part['limit_s']:.0f} s"
    for name in ("device_peak_mb", "host_peak_mb"):
        if name in part:
            kind = name.split("_")[0]
            said += f"; so far the {kind} held {part[name]:,.0f} MB at most"
    why = " ".join(str(part.get("why", "")).split())[:300]
    return said + (f"; {why}." if why else ".")


def _peers(parts: Sequence[Mapping[str, Any]]) -> dict[tuple, float]:
    """Seconds of jaxal's own rows, by what was done; `first` times more than that."""
    rows = [row for part in parts if part["name"] != "first" for row in part["rows"]]
    return {
        (row["name"], row.get("size")): _taken(row)
        for row in rows
        if "seconds" in row and "library" not in row
    }


def _beside(row: Mapping[str, Any], ours: Mapping[tuple, float]) -> dict[str, Any]:
    key = (row["name"], row.get("size"))
    if "library" in row and "seconds" in row and key in ours:
        return {**row, "jaxal_faster": _taken(row) / ours[key]}
    return dict(row)


def _taken(row: Mapping[str, Any]) -> float:
    return min(row["seconds"], row.get("queued_s", row["seconds"]))


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    has = [c for c in _COLUMNS if any(row.get(c) not in (None, "") for row in rows)]
    lines = [_line([_COLUMNS[column] for column in has]), "|" + "---|" * len(has)]
    return lines + [_line([_cell(row.get(column)) for column in has]) for row in rows]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return " ".join(str(value).split()).replace("|", "/")
