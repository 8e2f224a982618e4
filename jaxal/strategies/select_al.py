"""Which regime the labels are in: does losing typical or doubtful ones hurt more?"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxal.embeddings import Dense
from jaxal.readings import field
from jaxal.registry import register, strategy
from jaxal.selection import gumbel_top_k
from jaxal.selection.engine.distances import squared_distances
from jaxal.strategies.parts import ask, combine
from jaxal.types import Selection, Strategy, View

_L2 = 1e-2  # of the logistic regression; its 100 steps then reach four digits
_STEPS = 100
_NEIGHBOURS = 20  # TypiClust's
_REFERENCES = 2048  # rows of the pool that density is judged by


class Regime(NamedTuple):
    """Held-out errors without some of the labels, and what follows from them."""

    without_typical: Array  # [] share of held-out rows misclassified
    without_uncertain: Array  # []
    is_low: Array  # [] bool, losing typical rows hurts as much or more


@register(
    "select_al",
    family="coverage or uncertainty, by a test",
    cost="O(M D (M + C)) for M = 512 labelled rows, and one part",
)
def select_al(
    low: Strategy | None = None,
    high: Strategy | None = None,
    *,
    fraction: float = 0.3,
    num_folds: int = 5,
    max_rows: int = 512,
) -> Strategy:
    """Returns SelectAL: a strategy for few labels or for many, as a test finds.

    Labels are few where the network needs typical rows most, and many where it needs
    doubtful ones. So the network is trained again without the typical and without the
    doubtful part of its labels; whichever lacks more says what to buy.

    Here a logistic regression on the network's features stands in for the network, so
    that the test is part of the compiled choice: in `num_folds` folds of at most
    `max_rows` labelled rows it loses `fraction` of each
    class, and its error is counted on the fold. Doubt is the margin of a regression
    that has not seen the row; typicality, the inverse of the mean distance to the 20
    nearest rows, as in TypiClust, of 2,048 rows drawn from the pool. Where the errors
    are equal, as without labels they are, labels count as few.

    Args:
      low: who chooses while labels are few; TypiClust by default.
      high: who chooses once they are many; margin by default.
      fraction: of each class's labels that is left out, rounded down; 0.3 is a choice
        made here, as are the next two.
      num_folds: folds of the test, at least 2.
      max_rows: labelled rows the test looks at, drawn at random where there are more.

    Returns:
      A `Strategy` that needs features, labels, logits and what its parts need.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> from jaxal import strategy
      >>> sorted(strategy("select_al").needs)
      ['features', 'labels', 'logits']

    Reference:
      Hacohen and Weinshall, "How to Select Which Active Learning Strategy is Best
      Suited for Your Specific Problem and Budget", NeurIPS 2023.
      https://arxiv.org/abs/2306.03543
    """
    if not 0 < fraction < 1 or num_folds < 2 or max_rows < num_folds:
        raise ValueError(
            f"select_al got fraction {fraction}, num_folds {num_folds} and max_rows "
            f"{max_rows}, expected a fraction between 0 and 1, at least 2 folds and at "
            "least as many rows as folds."
        )
    parts = (
        strategy("typiclust") if low is None else low,
        strategy("margin") if high is None else high,
    )

    def step(
        key: Array, view: View, memory: tuple, batch_size: int
    ) -> tuple[Selection, tuple]:
        key_test, key_select = jax.random.split(key)
        num_classes = field(view, "logits").shape[-1]
        features, labels = field(view, "features"), field(view, "labels")
        regime = find_regime(
            key_test,
            features,
            labels,
            view.is_available,
            num_classes=num_classes,
            fraction=fraction,
            num_folds=num_folds,
            max_rows=max_rows,
        )
        low_run = partial(ask, parts, 0, batch_size=batch_size)
        high_run = partial(ask, parts, 1, batch_size=batch_size)
        return lax.cond(regime.is_low, low_run, high_run, key_select, view, memory)

    return combine(parts, step, needs=("features", "labels", "logits"))


def find_regime(
    key: Array,
    features: Array,
    labels: Array,
    is_available: Array,
    *,
    num_classes: int,
    fraction: float = 0.3,
    num_folds: int = 5,
    max_rows: int = 512,
) -> Regime:
    """Returns the errors without typical and without doubtful labels.

    Args:
      key: a typed key, consumed.
      features: `[N, D]`.
      labels: `[N]` integers, -1 where nobody has answered.
      is_available: `[N]` bool, the rest of the pool.
      num_classes: `C`.
      fraction: see `select_al`, as for the others.
      num_folds: folds of the test.
      max_rows: labelled rows to look at.

    Returns:
      A `Regime`.

    Example:
      Without labels there are no errors to compare, and labels are few.

      >>> import jax, jax.numpy as jnp
      >>> from jaxal.strategies.select_al import find_regime
      >>> nobody, free = jnp.full(8, -1), jnp.ones(8, bool)
      >>> key, features = jax.random.key(0), jnp.eye(8)
      >>> bool(find_regime(key, features, nobody, free, num_classes=2).is_low)
      True
    """
    key_rows, key_reference = jax.random.split(key)
    num_rows = labels.size
    is_labelled = labels >= 0
    size = min(max_rows, num_rows)
    same = jnp.zeros(num_rows)
    chosen = gumbel_top_k(key_rows, same, is_labelled, batch_size=size)
    rows = jnp.where(chosen.is_valid, chosen.indices, num_rows)
    classes = jnp.where(chosen.is_valid, labels.at[rows].get(mode="clip"), -1)
    x = features.at[rows].get(mode="clip").astype(jnp.float32)
    typicality = _typicality(
        key_reference, x, rows, features, is_labelled | is_available
    )
    # Rows come in the order drawn, so that every fold is a random one.
    fold = jnp.arange(size) % num_folds
    is_held = (fold[None] == jnp.arange(num_folds)[:, None]) & chosen.is_valid[None]
    is_train = ~is_held & chosen.is_valid[None]
    x = _scaled(x, chosen.is_valid)
    unseen = fit_logistic(x, classes, is_train, num_classes)
    doubt = _doubt(jnp.einsum("fmc,fm->mc", unseen, is_held.astype(x.dtype)))
    errors = []
    for score in (typicality, doubt):
        lost = _highest_of_class(score, classes, is_train, fraction)
        logits = fit_logistic(x, classes, is_train & ~lost, num_classes)
        is_wrong = is_held & (jnp.argmax(logits, axis=-1) != classes[None])
        errors.append(jnp.sum(is_wrong) / jnp.maximum(jnp.sum(chosen.is_valid), 1))
    return Regime(errors[0], errors[1], errors[0] >= errors[1])


def fit_logistic(x: Array, classes: Array, is_train: Array, num_classes: int) -> Array:
    """Returns logits `[F, M, C]` of all rows `x` [M, D], trained on `is_train` [F, M].

    Softmax regression with a bias, mean loss plus `0.005 |W|^2`, by 100 steps of
    Nesterov's method for strongly convex functions.
    """
    x = jnp.pad(x, ((0, 0), (0, 1)), constant_values=1)
    weights = is_train.astype(x.dtype) / jnp.maximum(
        jnp.sum(is_train, axis=-1, keepdims=True), 1
    )
    target = jax.nn.one_hot(classes, num_classes, dtype=x.dtype)
    # The Hessian is at most half the mean of x x^T, whose trace bounds it.
    steepest = 0.5 * weights @ jnp.sum(jnp.square(x), axis=-1) + _L2  # [F]
    slope = jnp.sqrt(_L2 / steepest)
    momentum = ((1 - slope) / (1 + slope))[:, None, None]
    rate = (1 / steepest)[:, None, None]

    def logits_of(w: Array) -> Array:
        return jnp.einsum("md,fdc->fmc", x, w, precision=lax.Precision.HIGHEST)

    def step(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        w, ahead = carry
        residual = jax.nn.softmax(logits_of(ahead), axis=-1) - target[None]
        residual = residual * weights[:, :, None]
        slope = jnp.einsum("md,fmc->fdc", x, residual, precision=lax.Precision.HIGHEST)
        new = ahead - rate * (slope + _L2 * ahead)
        return new, new + momentum * (new - w)

    start = jnp.zeros((is_train.shape[0], x.shape[-1], num_classes), x.dtype)
    return logits_of(lax.fori_loop(0, _STEPS, step, (start, start))[0])


def _scaled(x: Array, is_row: Array) -> Array:
    """Returns rows around their mean, of mean square length one."""
    count = jnp.maximum(jnp.sum(is_row), 1)
    x = jnp.where(is_row[:, None], x, 0)
    x = jnp.where(is_row[:, None], x - jnp.sum(x, axis=0)[None] / count, 0)
    square = jnp.sum(jnp.square(x)) / count
    return x / jnp.sqrt(jnp.where(square > 0, square, 1))


def _doubt(logits: Array) -> Array:
    probs = lax.top_k(jax.nn.softmax(logits, axis=-1), min(2, logits.shape[-1]))[0]
    return probs[:, -1] - probs[:, 0]


def _typicality(
    key: Array, x: Array, rows: Array, features: Array, is_pool: Array
) -> Array:
    """Returns `[M]` the inverse of the mean distance to near rows of the pool."""
    size = min(_REFERENCES, is_pool.size)
    drawn = gumbel_top_k(key, jnp.zeros(is_pool.size), is_pool, batch_size=size)
    others = Dense(features.at[drawn.indices].get(mode="clip").astype(x.dtype))
    origin = others.origin(drawn.is_valid)  # amid the rows, where digits are kept
    ours, others = Dense(x).relative_to(origin), others.relative_to(origin)
    distances = jnp.sqrt(squared_distances(ours, ours.sqnorm(), others))
    is_other = drawn.is_valid[None] & (drawn.indices[None] != rows[:, None])
    near = -lax.top_k(-jnp.where(is_other, distances, jnp.inf), min(_NEIGHBOURS, size))[
        0
    ]
    count = jnp.sum(jnp.isfinite(near), axis=-1)
    mean = jnp.sum(jnp.where(jnp.isfinite(near), near, 0), axis=-1)
    mean = mean / jnp.maximum(count, 1)
    return jnp.where(count > 0, 1 / jnp.maximum(mean, 1e-12), 0)


def _highest_of_class(
    scores: Array, classes: Array, is_train: Array, fraction: float
) -> Array:
    """Returns `[F, M]` the highest scores of each class, that part of its rows."""
    places = jnp.arange(scores.size)
    is_same = classes[:, None] == classes[None]
    is_ahead = scores[None] > scores[:, None]
    is_tied = (scores[None] == scores[:, None]) & (places[None] < places[:, None])
    among = is_train.astype(scores.dtype).T  # [M, F]
    rank = (is_same & (is_ahead | is_tied)).astype(scores.dtype) @ among
    count = is_same.astype(scores.dtype) @ among
    return (rank < jnp.floor(fraction * count + 1e-4)).T & is_train
