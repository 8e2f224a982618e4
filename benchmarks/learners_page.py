"""The page of `learners.py`: tables in Markdown, the best of each kind on top."""

import numpy as np

from jaxal import mean_interval


def page(header: dict, rows: list[dict]) -> str:
    """Returns everything as Markdown, with where it was measured on top."""
    versions = ", ".join(f"{k} {v}" for k, v in header["versions"].items())
    lines = [
        "# Learners",
        "",
        f"    {header['command']}",
        "",
        f"{header['cpu']}, {header['cores']} cores, load {header['load_average']}, "
        f"{header['time']}; {versions}; commit {header['commit']}. Means of "
        f"{header['seeds']} seeds with 95 % Student intervals, the same random rows "
        "for every learner; seconds are the median of a fit.",
        "",
        *summary(rows),
    ]
    for name in dict.fromkeys(row["data"] for row in rows):
        some = [row for row in rows if row["data"] == name]
        lines += [
            "",
            f"## {name}",
            "",
            "| labels | learner | accuracy % or RMSE | log-loss | ECE | seconds |",
            "|" + "---|" * 6,
        ]
        lines += map(_markdown, some)
    return "\n".join(lines) + "\n"


def summary(rows: list[dict]) -> list[str]:
    """Returns a table of the best of each kind: accuracy in per cent, or the RMSE."""
    lines = ["| data | labels | jaxal | scikit-learn, linear | scikit-learn, best |"]
    lines.append("|" + "---|" * 5)
    for data, count in dict.fromkeys((row["data"], row["labels"]) for row in rows):
        some = [r for r in rows if (r["data"], r["labels"]) == (data, count)]
        kinds = ("jaxal", ("sklearn LogisticRegression", "sklearn Ridge"), "sklearn")
        cells = [_best(some, kind) for kind in kinds]
        lines.append(f"| {data} | {count} | {' | '.join(cells)} |")
    return lines


def _best(rows: list[dict], kind: str | tuple[str, ...]) -> str:
    some = [r for r in rows if r["learner"].startswith(kind) and "seconds" in r]
    if not some:
        return "-"
    best = max(some, key=lambda r: r.get("accuracy", -r.get("rmse", 0)))
    name = best["learner"].split(maxsplit=1)[1]
    return f"{_quality(best)} ({name})"


def _quality(row: dict) -> str:
    mean, low, _ = mean_interval(row["all"])
    digits = 3 if mean < 1 else 1
    spread = f" ± {mean - low:.{digits}f}" if len(row["all"]) > 1 else ""
    return f"{mean:.{digits}f}{spread}"


def _markdown(row: dict) -> str:
    start = f"| {row['labels']} | {row['learner']} |"
    if "seconds" not in row:
        return f"{start} {row['status']} | | | |"
    rest = [row.get("nll", np.nan), row.get("ece", np.nan)]
    cells = ["" if np.isnan(x) else f"{x:.3f}" for x in rest]
    return f"{start} {_quality(row)} | {cells[0]} | {cells[1]} | {row['seconds']:.4f} |"
