"""Expected error reduction: retrain the last layer on every answer and look."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import checks, linalg
from jaxal.checks import check_positive
from jaxal.curvature import softmax_curvature
from jaxal.modes import any_promotion

LOSSES = ("log", "zero_one")


@checks.of_classes
@any_promotion
def expected_error_reduction(
    logits: Array,
    features: Array,
    labels: Array,
    is_labelled: Array,
    *,
    candidates: Array | None = None,
    targets: Array | None = None,
    is_target: Array | None = None,
    loss: str = "log",
    prior_precision: float | Array = 1.0,
    num_steps: int = 1,
    chunk_size: int = 32,
) -> Array:
    """Returns by how much labelling a row is expected to lower the loss on targets.

    `R(now) - sum_y p(y | n) R(after learning that row n is y)`, where R is the mean
    over targets of the loss the network itself expects: the entropy ("log") or one
    minus the highest probability ("zero_one").

    Learning means `num_steps` Newton steps on the last layer, from the present one,
    of the labelled rows' and the candidate's cross-entropy plus `t / 2 |W - W_0|^2`:

        W <- W - (H + V V^T)^-1 gradient(W),  H = t I + sum_labelled F,  V V^T = F_n,

    F being Fisher information at the present layer. H is decomposed once; a candidate
    changes it by rank C, so its C answers share one product of `(C D)^2` (Woodbury).

    Cost for B candidates and M targets: `B C D (C D + C M)` operations, for every
    step after the first another `B C^2 D (C D + N)`. Score a sample of the pool.

    Args:
      logits: `[N, C]` of the trained network.
      features: `[N, D]`, what its last layer sees; append ones to retrain the bias.
      labels: `[N]` int; read only where labelled.
      is_labelled: `[N]` bool, rows whose labels are known.
      candidates: `[B]` int, rows to score; all by default.
      targets: `[M]` int, rows whose loss counts; all by default.
      is_target: `[M]` bool, targets that count; all of them by default.
      loss: "log" or "zero_one", static.
      prior_precision: t, positive: how strongly the layer is held where it is.
      num_steps: Newton steps, static. One is exact to second order.
      chunk_size: candidates retrained at once, static: memory for B C of layers.

    Returns:
      `[B]` expected reduction; negative where an answer would mostly add doubt.

    Raises:
      ValueError: a shape, `loss` or `num_steps` is not as above.
      TypeError: an argument has the wrong type.

    Example:
      Row 0 shares its feature with two others, row 3 with none.

      >>> import jax.numpy as jnp
      >>> features = jnp.array([[2.0, 0], [2.0, 0], [2.0, 0], [0, 2.0]])
      >>> labels, known = jnp.zeros(4, int), jnp.zeros(4, bool)
      >>> gain = expected_error_reduction(jnp.zeros((4, 2)), features, labels, known)
      >>> bool(gain[0] > gain[3] > 0)
      True

    Reference:
      Roy and McCallum, Toward Optimal Active Learning through Sampling Estimation of
      Error Reduction, ICML 2001.
      https://dl.acm.org/doi/10.5555/645530.655646
    """
    logits, features = jnp.asarray(logits), jnp.asarray(features)
    _check(logits, features, labels, is_labelled)
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}, expected one of {LOSSES}.")
    check_positive(num_steps=num_steps)
    everything = jnp.arange(logits.shape[0])
    candidates = everything if candidates is None else jnp.asarray(candidates)
    targets = everything if targets is None else jnp.asarray(targets)
    for name, rows in (("candidates", candidates), ("targets", targets)):
        checks.check_rank(name, rows, 1, "[B]", "Pass row numbers.")
        if not jnp.issubdtype(rows.dtype, jnp.integer):
            raise TypeError(
                f"{name} has dtype {rows.dtype}, expected integers. Pass row numbers, "
                "jnp.flatnonzero(mask, size=...) of a mask."
            )
    if is_target is None:
        is_target = jnp.ones(targets.shape[0], bool)
    checks.check_mask("is_target", is_target, targets.shape[0])
    weights = is_target / jnp.maximum(is_target.sum(), 1).astype(jnp.float32)
    arrays = (logits, features, labels, is_labelled, candidates, targets, weights)
    return _reduction(*arrays, prior_precision, loss, num_steps, chunk_size)


@functools.partial(jax.jit, static_argnums=(8, 9, 10))
def _reduction(
    logits: Array,
    features: Array,
    labels: Array,
    is_labelled: Array,
    candidates: Array,
    targets: Array,
    weights: Array,
    prior_precision: float | Array,
    loss: str,
    num_steps: int,
    chunk_size: int,
) -> Array:
    num_classes = logits.shape[1]
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    logits, features, weights = (x.astype(dtype) for x in (logits, features, weights))
    truth = jax.nn.one_hot(labels, num_classes, dtype=dtype) * is_labelled[:, None]
    probs = jax.nn.softmax(logits)
    inverse = _inverse_hessian(probs, features, is_labelled, prior_precision)
    identity = jnp.eye(num_classes, dtype=dtype)

    def gradient(layer: Array, row: Array, label: Array) -> Array:
        """Of the loss of labelled rows and the candidate, `[C, D]`."""
        found = jax.nn.softmax(logits + linalg.product(features, layer.T))
        errors = found * is_labelled[:, None] - truth
        errors = errors.at[row].add(found[row] - identity[label])
        return linalg.product(errors.T, features) + prior_precision * layer

    # The first gradient differs between answers by one row only.
    rest = linalg.product((probs * is_labelled[:, None] - truth).T, features)
    shared = jnp.einsum("cdef,ef->cd", inverse, rest, precision="highest")

    def reduce(row: Array) -> Array:
        curvature = jnp.diag(probs[row]) - jnp.outer(probs[row], probs[row])
        precondition = _preconditioner(inverse, features[row], curvature)
        first = precondition.step(shared, probs[row][None] - identity)

        def risk_after(label: Array, layer: Array) -> Array:
            for _ in range(num_steps - 1):
                layer -= precondition.apply(gradient(layer, row, label))
            after = logits[targets] + linalg.product(features[targets], layer.T)
            return _risk(after, weights, loss)

        risks = jax.vmap(risk_after)(jnp.arange(num_classes), -first)
        return (probs[row] * risks).sum()

    risks = jax.lax.map(reduce, candidates, batch_size=chunk_size)
    return _risk(logits[targets], weights, loss) - risks


def _inverse_hessian(
    probs: Array, features: Array, is_labelled: Array, prior_precision: float | Array
) -> Array:
    """`(t I + sum_labelled (diag(p) - p p^T) (x) h h^T)^-1` as `[C, D, C, D]`."""
    num_classes, width = probs.shape[1], features.shape[1]
    hessian = softmax_curvature(probs, features, is_labelled)
    identity = jnp.eye(num_classes * width, dtype=probs.dtype)
    inverse = linalg.positive_inverse(hessian + prior_precision * identity)
    return inverse.reshape(num_classes, width, num_classes, width)


class _Preconditioner(NamedTuple):
    """`(H + W (x) h h^T)^-1` for the candidate's feature h and curvature W."""

    apply: Callable[[Array], Array]  # to a gradient [C, D]
    step: Callable[[Array, Array], Array]
    # (H^-1 g [C, D], errors [Y, C]) -> that of g + errors (x) h, [Y, C, D]


def _preconditioner(
    inverse: Array, feature: Array, curvature: Array
) -> _Preconditioner:
    moved = jnp.einsum("cdef,f->cde", inverse, feature, precision="highest")
    inner = jnp.einsum("cde,d->ce", moved, feature, precision="highest")
    identity = jnp.eye(inner.shape[0], dtype=inner.dtype)
    # (I + W S)^-1 W holds for singular curvature W too, as one-hot rows have.
    middle = linalg.solve(identity + linalg.product(curvature, inner), curvature)

    def apply(gradient: Array) -> Array:
        plain = jnp.einsum("cdef,ef->cd", inverse, gradient, precision="highest")
        return step(plain, jnp.zeros((1, inner.shape[0]), inner.dtype))[0]

    def step(plain: Array, errors: Array) -> Array:
        # H^-1 (errors (x) h) is `moved` times errors: no product with H^-1 a label.
        seen = linalg.product(plain, feature)[None] + linalg.product(errors, inner.T)
        weights = errors - linalg.product(seen, middle.T)
        change = jnp.einsum("cde,ye->ycd", moved, weights, precision="highest")
        return plain[None] + change

    return _Preconditioner(apply, step)


def _risk(logits: Array, weights: Array, loss: str) -> Array:
    """Mean loss the predictions expect of themselves, of `[M, C]` logits."""
    probs = jax.nn.softmax(logits)
    if loss == "zero_one":
        return ((1 - probs.max(-1)) * weights).sum()
    smallest = jnp.finfo(probs.dtype).tiny
    entropies = -(probs * jnp.log(jnp.maximum(probs, smallest))).sum(-1)
    return (entropies * weights).sum()


def _check(logits: Array, features: Array, labels: Array, is_labelled: Array) -> None:
    checks.check_last_layer(logits, features)
    checks.check_rank("labels", labels, 1, "[N]", "Pass class numbers.")
    checks.check_mask("is_labelled", is_labelled, logits.shape[0])
    if logits.shape[0] != labels.shape[0]:
        raise ValueError(
            f"logits have {logits.shape[0]} rows and labels {labels.shape[0]}, "
            "expected as many. Pass one class number for each row."
        )
