"""Sizes of everything, at three scales; letters as in jaxal.

N rows, D features, C classes, S posterior samples, K picks.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class PoolSize(NamedTuple):
    """A pool to select from."""

    rows: int
    features: int
    classes: int
    batch_size: int
    labelled: int = 0
    samples: int = 20
    clusters: int = 50

    def __str__(self) -> str:
        shape = f"{self.batch_size:,} of {self.rows:,} x {self.features:,}"
        return f"{shape}, C = {self.classes:,}"


class Training(NamedTuple):
    """A network, its images, and how long it learns."""

    network: str  # of jaxal.models
    settings: Mapping[str, Any]
    side: int  # pixels
    rows: int
    test_rows: int
    batch_sizes: tuple[int, ...]  # of throughput; the first is that of fits
    images: int  # trained on or scored in one timed call
    chunk_sizes: tuple[int, ...]  # rows scored together
    epochs: int  # of the full fit
    budgets: tuple[int, ...]  # labels of each round
    budget_epochs: int


class Study(NamedTuple):
    """A study of features, all seeds in one program."""

    strategies: tuple[str, ...]
    seeds: int
    rows: int
    features: int
    initial: int
    batch_size: int
    rounds: int
    epochs: int


class Checks(NamedTuple):
    """What is compared with the CPU, and what is held to the laws."""

    laws: tuple[str, ...]  # strategies, none for all of them
    picks: tuple[str, ...]
    pool: PoolSize
    processes: int  # at most; 0 for none but this


class Scale(NamedTuple):
    """How large everything is."""

    name: str
    repeats: int
    product_side: int
    copy_bytes: int
    scores: tuple[tuple[int, int], ...]  # N x C
    samples: tuple[int, int, int]  # S x N x C
    selections: tuple[str, ...]
    pools: tuple[PoolSize, ...]
    imagenet: PoolSize
    training: Training
    study: Study
    first: tuple[str, ...]
    checks: Checks


SELECTIONS = ("badge", "coreset", "max_det", "typiclust", "batch_bald")

FULL = Scale(
    name="full",
    repeats=7,
    product_side=8192,
    copy_bytes=2**30,
    scores=((1_000_000, 10), (10_000_000, 10)),
    samples=(20, 1_000_000, 10),
    selections=SELECTIONS,
    pools=(
        PoolSize(50_000, 512, 10, 1000, labelled=1000),
        PoolSize(1_000_000, 512, 10, 1000, labelled=1000),
    ),
    imagenet=PoolSize(1_280_000, 2048, 1000, 10_000, clusters=1000),
    training=Training(
        network="resnet18",
        settings=MappingProxyType({"width": 64, "dtype": "bfloat16"}),
        side=32,
        rows=50_000,
        test_rows=10_000,
        batch_sizes=(128, 1024),
        images=16_384,
        chunk_sizes=(512, 4096),
        epochs=30,
        budgets=(2_500, 5_000, 7_500, 10_000),
        budget_epochs=60,
    ),
    study=Study(("margin", "badge"), 50, 10_000, 128, 20, 20, 10, 20),
    first=("margin", "badge"),
    checks=Checks((), (), PoolSize(2000, 64, 10, 50, labelled=40), processes=8),
)

CPU = Scale(
    name="cpu",
    repeats=3,
    product_side=1024,
    copy_bytes=2**27,
    scores=((100_000, 10),),
    samples=(20, 20_000, 10),
    selections=("badge", "coreset", "typiclust"),
    pools=(PoolSize(10_000, 64, 10, 100, labelled=100),),
    imagenet=PoolSize(12_800, 128, 100, 200, clusters=100),
    training=Training(
        network="gal_cnn",  # compiled in a moment
        settings=MappingProxyType({}),
        side=16,
        rows=500,
        test_rows=200,
        batch_sizes=(64,),
        images=128,
        chunk_sizes=(128,),
        epochs=2,
        budgets=(100, 200),
        budget_epochs=2,
    ),
    study=Study(("margin",), 50, 500, 16, 10, 10, 3, 5),
    first=("badge",),
    checks=Checks(
        ("margin", "random"),
        ("margin", "badge"),
        PoolSize(500, 32, 5, 20, labelled=20),
        processes=1,
    ),
)

TINY = Scale(
    name="tiny",
    repeats=2,
    product_side=64,
    copy_bytes=2**16,
    scores=((200, 10),),
    samples=(3, 100, 4),
    selections=("badge",),
    pools=(PoolSize(200, 8, 3, 6, labelled=5, samples=3, clusters=4),),
    imagenet=PoolSize(300, 16, 12, 10, clusters=6),
    training=Training(
        network="mlp",
        settings=MappingProxyType({"hidden": (16,)}),
        side=8,
        rows=64,
        test_rows=32,
        batch_sizes=(16,),
        images=32,
        chunk_sizes=(32,),
        epochs=1,
        budgets=(16, 24),
        budget_epochs=40,  # enough to beat guessing, or the loop refuses the fit
    ),
    study=Study(("margin",), 3, 40, 4, 4, 4, 2, 1),
    first=("margin",),
    checks=Checks(
        ("margin",),
        ("margin",),
        PoolSize(60, 4, 3, 5, labelled=4, samples=3, clusters=4),
        processes=0,
    ),
)

SCALES = {scale.name: scale for scale in (TINY, CPU, FULL)}
