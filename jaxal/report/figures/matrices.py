"""Pairs of sides as coloured squares: corrected p-values, and who beat whom."""

from typing import Any

import numpy as np

from jaxal.report.figures import canvas
from jaxal.report.gathering import Group
from jaxal.report.results import p_text
from jaxal.runs.store import Record

_CLEAR = 4  # decades of p beyond which the colour is full


def p_values(group: Group, summary: Record) -> Any:
    """Returns a figure of Holm's p-values of all pairs, coloured by who is better."""
    pairs = summary["pairs"]
    p, sign = pairs["p_values"], np.sign(pairs["differences"])
    decades = np.minimum(-np.log10(np.maximum(p, 10.0**-_CLEAR)), _CLEAR)
    texts = [
        [p_text(value) if i != j else "" for j, value in enumerate(row)]
        for i, row in enumerate(p)
    ]
    better = "higher" if group.measure.is_higher_better else "lower"
    note = (
        "Paired t-tests by seed of the area under the curve, p-values corrected by "
        f"Holm's steps over all pairs. Purple: the row is better ({better} "
        f"{group.measure.title.removesuffix(' (%)')}), orange: the column is; pale: "
        "they cannot be told apart."
    )
    shades = np.nan_to_num(sign * decades)
    return _squares(
        group.title,
        pairs["names"],
        pairs["names"],
        shades,
        texts,
        note,
        colours="PuOr",
        limits=(-_CLEAR, _CLEAR),
    )


def penalties(group: Group, summary: Record) -> Any:
    """Returns a figure of the pairwise penalty matrix, see `jaxal.standing`."""
    return penalty_matrix(group.title, summary["standing"])


def penalty_matrix(title: str, standing: Record) -> Any:
    """Returns a figure of who beat whom, the means of the columns below.

    Args:
      title: of the figure.
      standing: names, penalties and number of comparisons.
    """
    names, found = standing["names"], standing["penalties"]
    means = found.sum(0) / max(len(names) - 1, 1)
    whole = np.vstack([found, means])
    texts = [
        [f"{value:.2f}" if i != j else "" for j, value in enumerate(row)]
        for i, row in enumerate(whole)
    ]
    note = (
        "How often the row beat the column, as a share of "
        f"{standing['num_compared']} label counts, by a paired t-test over seeds at "
        "each (5 %, not corrected); sums over data sets. Below: the mean of the "
        "column, lower is better (Ash et al. 2020)."
    )
    return _squares(
        title,
        [*names, "mean of column"],
        names,
        whole,
        texts,
        note,
        colours="Blues",
        limits=(0, max(1.0, whole.max())),
    )


def _squares(
    title: str,
    rows: Any,
    columns: Any,
    shades: np.ndarray,
    texts: list[list[str]],
    note: str,
    *,
    colours: str,
    limits: tuple[float, float],
) -> Any:
    with canvas.plain():
        size = 2.6 + 0.55 * len(columns)
        figure = canvas.new(
            max(size + 0.6, 5.5), size * 0.8 + 1.2 + canvas.height(title)
        )
        axes = figure.add_subplot()
        low, high = limits
        axes.imshow(shades, cmap=colours, vmin=low, vmax=high, aspect="auto")
        named = [canvas.named(str(name), 24) for name in columns]
        axes.set_xticks(range(len(columns)), named, rotation=40, ha="right")
        lines = [canvas.named(str(name), 24) for name in rows]
        axes.set_yticks(range(len(lines)), lines)
        axes.tick_params(labelsize=8, length=0)
        for i, row in enumerate(texts):
            for j, text in enumerate(row):
                deep = abs(shades[i, j]) > 0.55 * max(abs(low), abs(high))
                colour = "white" if deep else "black"
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=8, color=colour
                )
        if len(rows) > len(columns):
            axes.axhline(len(columns) - 0.5, color="white", linewidth=4)
        for side in axes.spines.values():
            side.set_visible(False)
        canvas.titled(figure, axes, title, note)
    return figure
