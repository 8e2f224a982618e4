"""Time of selection against the sizes of the problem."""

import pathlib
import statistics

import matplotlib
from tables import WORKS, counted

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

_AXES = {"rows": "pool rows N", "batch_size": "picks K", "features": "features D"}
_COLOURS = dict(
    zip(
        ("jaxal", "jaxal x2", "torch", "numpy", "scikit-activeml", "scikit-learn"),
        plt.rcParams["axes.prop_cycle"].by_key()["color"],
        strict=False,
    )
)


def draw(sweeps: list[dict], folder: pathlib.Path) -> None:
    """Draws one figure for each kind of work: time against N, K and D.

    Args:
      sweeps: races with the size that was changed and its value.
      folder: where `selection_<work>.png` goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for work in dict.fromkeys(one["workload"]["work"] for one in sweeps):
        races = [one for one in sweeps if one["workload"]["work"] == work]
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True)
        for axis, size in zip(axes, _AXES, strict=True):
            _panel(axis, [one for one in races if one["size"] == size], size)
        axes[0].set_ylabel("seconds, median")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=6, frameon=False
        )
        figure.suptitle(_caption(work, races))
        figure.tight_layout(rect=(0, 0.08, 1, 1))
        figure.savefig(folder / f"selection_{work}.png", dpi=150)
        plt.close(figure)


def _panel(axis: plt.Axes, races: list[dict], size: str) -> None:
    for label in dict.fromkeys(name for one in races for name in one["results"]):
        points = [
            (one["value"], statistics.median(counted(seconds)))
            for one in races
            if (seconds := one["results"].get(label, {}).get("seconds"))
        ]
        if points:
            style = {"marker": "o", "color": _COLOURS.get(label), "label": label}
            axis.plot(*zip(*points, strict=True), **style)
    floor = [(one["value"], one["floor_seconds"]) for one in races]
    if all(seconds > 0 for _, seconds in floor):  # where one is known
        axis.plot(*zip(*floor, strict=True), "k--", lw=1, label="product floor")
    axis.set(xscale="log", yscale="log", xlabel=_AXES[size])
    values = [one["value"] for one in races]
    axis.set_xticks(values, [f"{value:,}" for value in values])
    axis.minorticks_off()
    axis.grid(alpha=0.3)


def _caption(work: str, races: list[dict]) -> str:
    full = max(races, key=lambda one: one["workload"]["rows"])["workload"]
    largest = {size: max(one["workload"][size] for one in races) for size in _AXES}
    caption = f"{WORKS[work]}; otherwise N = {largest['rows']:,}, "
    caption += f"K = {largest['batch_size']:,}, D = {largest['features']:,}"
    return caption + (f", C = {full['classes']}" if work != "coreset" else "")
