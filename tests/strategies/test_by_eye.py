"""Strategies pick what one sees should be picked: a new one joins with a row.

A property of a row is True where each draw must have it, False where none may, and
None where the paper promises neither.
"""

import pathlib
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import pytest

from jaxal import strategy, strategy_names
from jaxal.registry import NO_SETTINGS
from tests import pools_by_eye as pools

SEEDS = range(4)
SHEET = pathlib.Path(__file__).parents[2] / "experiments" / "contact_sheet.py"


class Eye(NamedTuple):
    """What a strategy is for, seen on pools in the plane."""

    name: str
    settings: Mapping[str, Any] = NO_SETTINGS
    stays_on_boundary: bool | None = None  # every pick is in the strip
    finds_rare: bool | None = None  # a pick is of a class the model has never seen
    covers_clusters: bool | None = None  # five picks, a cluster each
    takes_outlier: bool | None = None  # a pick is the row by itself


EYES = (
    Eye("random", stays_on_boundary=False, covers_clusters=False),
    Eye("least_confidence", stays_on_boundary=True, finds_rare=False),
    Eye("margin", stays_on_boundary=True, finds_rare=False),
    Eye("entropy", stays_on_boundary=True, finds_rare=False),
    Eye("bald", stays_on_boundary=True, finds_rare=False),
    Eye("mean_std", stays_on_boundary=True, finds_rare=False),
    Eye("variation_ratio", stays_on_boundary=True),
    Eye("badge", covers_clusters=True),
    Eye("coreset", finds_rare=True, covers_clusters=True, takes_outlier=True),
)


def with_a_word_on(what):
    rows = [eye for eye in EYES if getattr(eye, what) is not None]
    return pytest.mark.parametrize("eye", rows, ids=lambda eye: eye.name)


def draws(eye, pool):
    """The groups picked with every seed, as lists."""
    chosen = strategy(eye.name, **eye.settings)
    keys = [jax.random.key(seed) for seed in SEEDS]
    return [pools.picked_groups(pool, chosen, key).tolist() for key in keys]


@with_a_word_on("stays_on_boundary")
def test_picks_stay_on_the_boundary(eye):
    for groups in draws(eye, pools.boundary()):
        assert (set(groups) == {2}) == eye.stays_on_boundary, groups


@with_a_word_on("finds_rare")
def test_a_rare_class_is_found(eye):
    for groups in draws(eye, pools.rare_class()):
        assert (2 in groups) == eye.finds_rare, groups


@with_a_word_on("covers_clusters")
def test_every_cluster_is_covered(eye):
    for groups in draws(eye, pools.five_clusters()):
        assert (set(groups) == set(range(5))) == eye.covers_clusters, groups


@with_a_word_on("takes_outlier")
def test_the_outlier_is_taken(eye):
    for groups in draws(eye, pools.outlier()):
        assert (5 in groups) == eye.takes_outlier, groups


def test_rows_are_of_known_strategies_and_each_says_something():
    names = [eye.name for eye in EYES]
    assert len(set(names)) == len(names)
    assert set(names) <= set(strategy_names())
    for eye in EYES:
        assert any(value is not None for value in eye[2:]), eye.name


def test_the_pools_are_as_described():
    for pool in (
        pools.boundary(),
        pools.rare_class(),
        pools.five_clusters(),
        pools.outlier(),
    ):
        assert pool.x.shape == (40, 2)
    strip = pools.boundary()
    assert (abs(strip.x[strip.group == 2, 0]) < 0.1).all()
    assert (abs(strip.x[strip.group != 2, 0]) > 1.5).all()
    alone = pools.outlier()
    assert (alone.group == 5).sum() == 1


def test_the_contact_sheet_is_drawn_and_small(tmp_path):
    out = tmp_path / "sheet.png"
    command = [sys.executable, str(SHEET), "margin", "random", "bald", f"--out={out}"]
    subprocess.run(command, check=True, capture_output=True)
    png = out.read_bytes()
    width, height = struct.unpack(">2I", png[16:24])
    assert 450 < width < 650 and 150 < height < 300  # three panels in a row
    assert len(png) < 300_000 * 3 / 60  # what sixty strategies may take
