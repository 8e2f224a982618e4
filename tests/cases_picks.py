"""Every selector, and pools that break selectors: new ones join these tables."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

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
