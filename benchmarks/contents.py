"""Every score and selector, and what the benchmark gives it to read.

A new one is a line in `ENTRIES`, or in `EXCLUDED` with the reason; `missing()` names
what has neither.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from harness import MakeInputs, normal

from jaxal import embeddings, scores, selection

Size = tuple[int, ...]

WIDTH = 64  # features of scores that read some
NUM_CLASSES = 10  # of selectors that read logits
NUM_SAMPLES = 20  # of selectors that read samples
NUM_TARGETS = 100  # rows whose predictions count, where targets are asked for


class Reads(NamedTuple):
    """Arrays of one size: of "scores" NxC, "samples" SxNxC or "selectors" NxDxK."""

    sizes: str
    make: Callable[[Size], MakeInputs]


def _together(*makers: MakeInputs) -> MakeInputs:
    return lambda rng: sum((make(rng) for make in makers), ())


READS = {
    "logits": Reads("scores", lambda size: normal(*size)),
    "logits and features": Reads(
        "scores", lambda size: _together(normal(*size), normal(size[0], WIDTH))
    ),
    "samples": Reads("samples", lambda size: normal(*size)),
    "samples and targets": Reads(
        "samples",
        lambda size: _together(normal(*size), normal(size[0], NUM_TARGETS, size[2])),
    ),
    "scores": Reads("selectors", lambda size: normal(size[0])),
    "features": Reads("selectors", lambda size: normal(*size[:2], scale=1.0)),
    "outer": Reads(
        "selectors",
        lambda size: _together(normal(size[0], NUM_CLASSES), normal(*size[:2])),
    ),
    "class samples": Reads(
        "selectors", lambda size: normal(NUM_SAMPLES, size[0], NUM_CLASSES)
    ),
}


class Entry(NamedTuple):
    """What is timed: `function(*arrays)`, for a selector `(key, arrays, free, K)`."""

    name: str
    reads: str
    function: Callable[..., Any]
    fits: Callable[[Size], bool] = lambda size: True  # or the size is left out
    of: str = ""  # the exported name, where it is another

    @property
    def is_selector(self) -> bool:
        return READS[self.reads].sizes == "selectors"


def by_score(selector: Callable) -> Callable:
    """A selector `(key, scores [N], is_available, *, batch_size)`."""

    def select(key: Any, read: tuple, is_available: Any, batch_size: int) -> Any:
        return selector(key, *read, is_available, batch_size=batch_size)

    return select


def by_embedding(selector: Callable, embed: Callable = lambda x: x) -> Callable:
    """A selector `(key, embedding, is_available, is_labelled, *, batch_size)`."""

    def select(key: Any, read: tuple, is_available: Any, batch_size: int) -> Any:
        nobody = ~is_available
        rows = embed(*read)
        return selector(key, rows, is_available, nobody, batch_size=batch_size)

    return select


def by_prediction(selector: Callable, given: Callable) -> Callable:
    """A selector on features and `given(logits)`; some rows are labelled."""

    def select(key: Any, read: tuple, is_available: Any, batch_size: int) -> Any:
        logits, features = read
        is_labelled = _some_labelled(logits)
        return selector(
            key,
            features,
            is_available & ~is_labelled,
            is_labelled,
            batch_size=batch_size,
            **given(logits),
        )

    return select


def _some_labelled(logits: Any) -> Any:
    num_rows = logits.shape[0]
    return jnp.arange(num_rows) < min(NUM_TARGETS, num_rows // 2)


def _labels(logits: Any) -> Any:
    return jnp.where(_some_labelled(logits), jnp.argmax(logits, axis=-1), -1)


def _galaxy(key: Any, read: tuple, is_available: Any, batch_size: int) -> Any:
    logits = read[0]
    is_available &= ~_some_labelled(logits)
    labels = _labels(logits)
    return selection.galaxy(key, logits, is_available, labels, batch_size=batch_size)


def _prob_cover(key: Any, rows: Any, *masks: Any, batch_size: int) -> Any:
    radius = jnp.sqrt(1.5 * rows.shape[1])  # some rows are as near as that, most not
    return selection.prob_cover(key, rows, *masks, batch_size=batch_size, radius=radius)


def _gaussians(score: Callable) -> Callable:
    """A score of means and log-variances, made of the first two of the classes."""
    return lambda samples: score(samples[..., :2])


def _k_means(key: Any, read: tuple, is_used: Any, batch_size: int) -> Any:
    return selection.k_means(
        key, *read, is_used, num_clusters=batch_size, num_steps=10, tolerance=0.0
    )


def _density(logits: Any, features: Any) -> Any:
    return scores.information_density(scores.entropy(logits), features)


def _error_reduction(logits: Any, features: Any) -> Any:
    rows = jnp.arange(min(NUM_TARGETS, logits.shape[0]))
    is_labelled = jnp.arange(logits.shape[0]) < NUM_TARGETS
    labels = jnp.argmax(logits, axis=-1)
    args = (logits, features, labels, is_labelled)
    return scores.expected_error_reduction(*args, candidates=rows, targets=rows)


def _few_classes(size: Size) -> bool:
    """Whether the work, quadratic in the classes, is seconds rather than minutes."""
    return size[-1] <= 10 and size[-2] <= 100_000


ENTRIES = (
    Entry("entropy", "logits", scores.entropy),
    Entry("margin", "logits", scores.margin),
    Entry("least_confidence", "logits", scores.least_confidence),
    Entry(
        "expected_gradient_length",
        "logits and features",
        scores.expected_gradient_length,
    ),
    Entry("information_density", "logits and features", _density),
    Entry(
        "expected_error_reduction",
        "logits and features",
        _error_reduction,
        fits=_few_classes,
    ),
    Entry("bald", "samples", scores.bald),
    Entry("consensus_kl", "samples", scores.consensus_kl),
    Entry("expected_entropy", "samples", scores.expected_entropy),
    Entry("consensus_entropy", "samples", scores.consensus_entropy),
    Entry("mean_std", "samples", scores.mean_std),
    Entry("log_mean_prob", "samples", scores.log_mean_prob),
    Entry("vote_entropy", "samples", scores.vote_entropy),
    Entry("variation_ratio", "samples", scores.variation_ratio),
    Entry(
        "predictive_variance",
        "samples",
        _gaussians(partial(scores.predictive_variance, has_log_variance=True)),
    ),
    Entry("gaussian_bald", "samples", _gaussians(scores.gaussian_bald)),
    Entry("epig", "samples and targets", scores.epig, fits=_few_classes),
    Entry("top_k", "scores", by_score(selection.top_k)),
    Entry("gumbel_top_k", "scores", by_score(selection.gumbel_top_k)),
    Entry("power_top_k", "scores", by_score(selection.power_top_k)),
    Entry("softmax_top_k", "scores", by_score(selection.softmax_top_k)),
    Entry("softrank_top_k", "scores", by_score(selection.softrank_top_k)),
    Entry("k_center", "features", by_embedding(selection.k_center)),
    Entry("k_means_plus_plus", "features", by_embedding(selection.k_means_plus_plus)),
    Entry(
        "k_means_plus_plus_badge",
        "outer",
        by_embedding(selection.k_means_plus_plus, embeddings.gradient_embedding),
        of="k_means_plus_plus",
    ),
    Entry("k_means", "features", _k_means),
    Entry("active_ft", "features", by_embedding(selection.active_ft)),
    Entry("facility_location", "features", by_embedding(selection.facility_location)),
    Entry("frank_wolfe", "features", by_embedding(selection.frank_wolfe)),
    Entry("graph_cut", "features", by_embedding(selection.graph_cut)),
    Entry("k_means_nearest", "features", by_embedding(selection.k_means_nearest)),
    Entry("lcmd", "features", by_embedding(selection.lcmd)),
    Entry("log_determinant", "features", by_embedding(selection.log_determinant)),
    Entry("max_det", "features", by_embedding(selection.max_det)),
    Entry("max_herding", "features", by_embedding(selection.max_herding)),
    Entry("typiclust", "features", by_embedding(selection.typiclust)),
    Entry("prob_cover", "features", by_embedding(_prob_cover)),
    Entry(
        "vessal",
        "outer",
        by_embedding(selection.vessal, embeddings.gradient_embedding),
    ),
    Entry(
        "cluster_margin",
        "outer",
        by_prediction(
            selection.cluster_margin, lambda logits: {"scores": scores.margin(logits)}
        ),
    ),
    Entry(
        "drop_query",
        "outer",
        by_prediction(selection.drop_query, lambda logits: {"logits": logits}),
    ),
    Entry(
        "alfa_mix",
        "outer",
        by_prediction(
            selection.alfa_mix,
            lambda logits: {"logits": logits, "labels": _labels(logits)},
        ),
    ),
    Entry(
        "uherding",
        "outer",
        by_prediction(
            selection.uherding, lambda logits: {"uncertainty": scores.margin(logits)}
        ),
    ),
    Entry(
        "dcom",
        "outer",
        by_prediction(
            selection.dcom,
            lambda logits: {
                "uncertainty": scores.margin(logits),
                "labels": _labels(logits),
                "predictions": jnp.argmax(logits, axis=-1),
            },
        ),
    ),
    Entry("galaxy", "outer", _galaxy),
    Entry("batch_bald", "class samples", by_score(selection.batch_bald)),
    Entry(
        "bait",
        "outer",
        by_embedding(selection.bait, selection.fisher_embedding),
        fits=lambda size: size[1] <= 64,  # three products of N (C D)^2
    ),
)

EXCLUDED = {
    "Clustering": "a type",
    "FisherEmbedding": "a type",
    "LinearHead": "a type",
    "Neighbours": "a type",
    "linear_head": "in the rows of drop_query and alfa_mix",
    "per_label": "another score, once a label",
    "nearest_neighbours": "in the row of typiclust",
    "purity_radius": "once a pool, where prob_cover runs once a round",
    "radius_degrees": "in the row of prob_cover",
    "K_CENTER": "the rule of k_center",
    "K_MEANS_PLUS_PLUS": "the rule of k_means_plus_plus",
    "blocked_selection": "what k_center and k_means_plus_plus call",
    "fisher_embedding": "in the row of bait",
}


def exported() -> list[str]:
    """Returns the names that jaxal.scores and jaxal.selection export."""
    return sorted({*scores.__all__, *selection.__all__})


def missing(names: Iterable[str] | None = None) -> list[str]:
    """Returns which names have no row and no reason for having none."""
    known = {entry.of or entry.name for entry in ENTRIES} | set(EXCLUDED)
    # A stream is the score of its name, one sample at a time, in the caller's loop.
    known |= {f"{entry.name}_stream" for entry in ENTRIES} | {"Stream"}
    return [n for n in (exported() if names is None else names) if n not in known]


def inputs_of(entry: Entry, size: Size) -> MakeInputs:
    """Fresh host arrays of one size; those of a selector begin with a seed."""
    make = READS[entry.reads].make(size)
    if not entry.is_selector:
        return make
    return lambda rng: (np.uint32(rng.integers(2**31)), *make(rng))


def function_of(entry: Entry, size: Size) -> Callable:
    """What is timed, as a function of arrays alone."""
    if not entry.is_selector:
        return entry.function

    def select(seed: Any, *read: Any) -> Any:
        is_available = jnp.ones(size[0], bool)
        return entry.function(jax.random.key(seed), read, is_available, size[-1])

    return select
