"""Every selector, and pools that break selectors: new ones join these tables."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxal import selection
from jaxal.embeddings import Concatenated, Dense, Outer, Scaled, random_projection
from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k
from jaxal.types import Selection


class Pick(NamedTuple):
    """A selector as `(key, x [N, D], is_available, is_labelled, ...) -> Selection`."""

    name: str
    select: Callable[..., Selection]
    is_deterministic: bool = False  # the key changes nothing where no two rows tie


def by_score(selector):
    def select(key, x, is_available, is_labelled, **settings):
        del is_labelled
        return selector(key, x[:, 0], is_available, **settings)

    return select


def by_outer(selector):
    def select(key, x, is_available, is_labelled, **settings):
        del is_labelled  # as BADGE does
        rows = Outer(x[:, :2], x)
        return selector(key, rows, is_available, **settings)

    return select


def by_weight(selector):
    def select(key, x, is_available, is_labelled, **settings):
        weights = jnp.abs(x[:, 0]).astype(jnp.float32)
        return selector(
            key, Dense(x), is_available, is_labelled, weights=weights, **settings
        )

    return select


def by_composition(selector):
    """Weighted rows beside others."""

    def select(key, x, is_available, is_labelled, **settings):
        factors = 1 + jnp.abs(x[:, 0]).astype(jnp.float32) / 4
        rows = Concatenated((Scaled(Dense(x[:, :2]), factors), Dense(x[:, 2:])))
        return selector(key, rows, is_available, is_labelled, **settings)

    return select


def by_projection(selector):
    def select(key, x, is_available, is_labelled, **settings):
        rows = random_projection(jax.random.key(0), Outer(x[:, :2], x), 4)
        return selector(key, rows, is_available, is_labelled, **settings)

    return select


# Each compiles many programs in the law tests, so options are spread over few rows.
PICKS = (
    Pick("top_k", by_score(top_k), is_deterministic=True),
    Pick("gumbel_top_k", by_score(gumbel_top_k)),
    Pick("k_center", partial(k_center, first="largest_norm"), is_deterministic=True),
    Pick(
        "k_center_composed",
        by_composition(partial(k_center, first="largest_norm")),
        is_deterministic=True,
    ),
    Pick("k_means_plus_plus_projected", by_projection(k_means_plus_plus)),
    Pick("k_means_plus_plus_weighted", by_weight(k_means_plus_plus)),
    Pick("badge", by_outer(partial(k_means_plus_plus, first="largest_norm"))),
)

NUM_ROWS, NUM_DIMS = 40, 3


def normal_rows(seed: int = 0, num_rows: int = NUM_ROWS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_rows, NUM_DIMS)).astype(np.float32)


def far_row() -> np.ndarray:
    x = normal_rows()
    x[7] = 1e6
    return x


POOLS = {
    "normal": normal_rows(),
    "duplicates": np.repeat(normal_rows()[:5], NUM_ROWS // 5, axis=0),
    "all_equal": np.full((NUM_ROWS, NUM_DIMS), 0.3, np.float32),
    "all_zero": np.zeros((NUM_ROWS, NUM_DIMS), np.float32),
    "one_far": far_row(),
    "far_from_origin": normal_rows() + 1e5,
    "tiny": normal_rows() * 1e-15,
    "float16": normal_rows().astype(np.float16),
    "bfloat16": normal_rows().astype(jnp.bfloat16),
}


def masks(kind: str, num_rows: int = NUM_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Returns (is_available, is_labelled) of one kind."""
    row = np.arange(num_rows)
    is_labelled = {
        "some_labelled": row % 5 == 0,
        "none_labelled": row < 0,
        "all_labelled": row >= 0,
        "few_left": row >= 3,
        "with_padding": row % 7 == 0,
    }[kind]
    is_valid = row < num_rows - 6 if kind == "with_padding" else row >= 0
    return is_valid & ~is_labelled, is_labelled & is_valid


MASKS = ("some_labelled", "none_labelled", "all_labelled", "few_left", "with_padding")


def mesh_of(num_devices: int) -> Mesh:
    devices = np.asarray(jax.devices()[:num_devices])
    return Mesh(devices, ("pool",), axis_types=(AxisType.Auto,))


def rows_of_all_kinds(seed: int = 0, num_rows: int = NUM_ROWS) -> dict:
    """Returns what any selector may be given of rows, each array by its name."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(num_rows, 3))
    samples = logits + rng.normal(size=(4, num_rows, 3))
    numbers = {
        "x": rng.normal(size=(num_rows, 4)),
        "logits": logits,
        "samples": samples,
        "scores": rng.normal(size=num_rows),
        "weights": 0.5 + rng.random(num_rows),
    }
    classes = rng.integers(0, 3, size=(2, num_rows)).astype(np.int32)
    floats = {name: array.astype(np.float32) for name, array in numbers.items()}
    return floats | dict(zip(("labels", "predictions"), classes, strict=True))


def _on_rows(name, *sides, knows_labelled=True, **settings):
    """A selector of an embedding; `sides` are its arguments called as the rows are."""
    selector = getattr(selection, name)

    def select(key, rows, free, labelled, **more):
        given = {side: rows[_SOURCES.get(side, side)] for side in sides}
        known = labelled if knows_labelled else None
        return selector(key, rows["x"], free, known, **given, **settings, **more)

    return select


def _on_one(name, of, **settings):
    selector = getattr(selection, name)

    def select(key, rows, free, labelled, **more):
        return selector(key, rows[of], free, **settings, **more)

    return select


def _bait(key, rows, free, labelled, **more):
    fisher = selection.fisher_embedding(rows["logits"], rows["x"])
    return selection.bait(key, fisher, free, labelled, **more)


def _galaxy(key, rows, free, labelled, **more):
    labels = jnp.where(labelled, rows["labels"], -1)
    return selection.galaxy(key, rows["logits"], free, labels, **more)


def _outer_lcmd(key, rows, free, labelled, **more):
    return selection.lcmd(key, Outer(rows["logits"], rows["x"]), free, labelled, **more)


_SOURCES = {"uncertainty": "weights"}
# Called with (key, rows_of_all_kinds(), is_available, is_labelled, batch_size=...).
DETERMINISTIC = {
    "top_k": _on_one("top_k", "scores"),
    "k_center": _on_rows("k_center", "weights", first="largest_norm"),
    "lcmd": _on_rows("lcmd"),
    "lcmd_outer": _outer_lcmd,
    "max_det": _on_rows("max_det"),
    "frank_wolfe": _on_rows("frank_wolfe"),
    "max_herding": _on_rows("max_herding", "weights", is_normalized=False),
    "uherding": _on_rows("uherding", "uncertainty"),
    "facility_location": _on_rows("facility_location", kernel="rbf"),
    "graph_cut": _on_rows("graph_cut"),
    "log_determinant": _on_rows("log_determinant"),
    "prob_cover": _on_rows("prob_cover", radius=1.3),
    "dcom": _on_rows("dcom", "uncertainty", "labels", "predictions"),
    "bait": _bait,
    "batch_bald": _on_one("batch_bald", "samples", num_configurations=9),
}
DRAWN = {
    "gumbel_top_k": _on_one("gumbel_top_k", "scores"),
    "power_top_k": _on_one("power_top_k", "weights"),
    "softmax_top_k": _on_one("softmax_top_k", "scores"),
    "softrank_top_k": _on_one("softrank_top_k", "scores"),
    "k_means_plus_plus": _on_rows("k_means_plus_plus", "weights"),
    "k_means_nearest": _on_rows("k_means_nearest", "weights"),
    "cluster_margin": _on_rows("cluster_margin", "scores"),
    "typiclust": _on_rows("typiclust"),
    "active_ft": _on_rows("active_ft", num_steps=10),
    "vessal": _on_rows("vessal"),
    "alfa_mix": _on_rows("alfa_mix", "logits", "labels"),
    "drop_query": _on_rows("drop_query", "logits"),
    "galaxy": _galaxy,
}
SELECTORS = DETERMINISTIC | DRAWN
