"""Uncertainty Herding: coverage in which uncertain rows count for more."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.checks import of_classes
from jaxal.embeddings import Embedding
from jaxal.readings import by_selector, is_labelled, labels, logits, read
from jaxal.registry import register
from jaxal.scores import margin
from jaxal.selection.cover.max_herding import NUM_TARGETS, max_herding
from jaxal.selection.engine.door import selector, within
from jaxal.selection.engine.kernels import Bandwidth, KernelName
from jaxal.types import Selection, Strategy

_NUM_TEMPERATURES = 49
_NUM_BINS = 15
_NUM_CALIBRATION = 4096


@selector
def uherding(
    key: Array,
    embedding: Array | Embedding,
    is_available: Array,
    is_labelled: Array | None = None,
    *,
    batch_size: int,
    uncertainty: Array,
    kernel: KernelName = "rbf",
    bandwidth: Bandwidth = "nearest_labelled",
    is_normalized: bool = True,
    num_targets: int | None = NUM_TARGETS,
    mesh: Mesh | None = None,
) -> Selection:
    """Picks the row that raises uncertainty coverage most, again and again.

    `UC(S) = mean_n u_n max_{s in S} k(x_n, x_s)`: `max_herding` with uncertainties for
    weights. While few rows are labelled the kernel is wide and representative rows are
    picked; its bandwidth, the least distance of two labelled rows, shrinks as labels
    come in, until each row covers itself only and the uncertain ones are picked.

    Args:
      key: a typed key, consumed; used for the targets, ties and filling up.
      embedding: `[N, D]`, or an `Embedding` of `N` rows.
      is_available: `[N]` bool, rows that may be picked.
      is_labelled: `[N]` bool, rows in `S` already; None for no such rows.
      batch_size: picks `K`, static.
      uncertainty: `[N]`, not negative, such as the margin of calibrated predictions.
        Where it is zero on all available rows, it is taken for one on all.
      kernel: as for `max_herding`.
      bandwidth: as for `max_herding`; the default is the paper's.
      is_normalized: as for `max_herding`.
      num_targets: as for `max_herding`.
      mesh: where the rows live, by default as the embedding is sharded.

    Returns:
      `Selection` in the order picked; a score is the gain in coverage.

    Raises:
      ValueError: a shape or a name is wrong, or `batch_size` is not in `1 .. N`.
      TypeError: a dtype is wrong.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import uherding
      >>> x, free = jnp.eye(4), jnp.ones(4, bool)
      >>> doubt = jnp.array([0.1, 0.0, 0.9, 0.2])
      >>> picks = uherding(jax.random.key(0), x, free, batch_size=2, uncertainty=doubt)
      >>> picks.indices.tolist()
      [2, 3]

    Reference:
      Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method
      for All Label Budgets", ICLR 2025. https://arxiv.org/abs/2412.20644
    """
    return within(max_herding)(
        key,
        embedding,
        is_available,
        is_labelled,
        batch_size=batch_size,
        weights=_or_ones(uncertainty, is_available),
        kernel=kernel,
        bandwidth=bandwidth,
        is_normalized=is_normalized,
        num_targets=num_targets,
        mesh=mesh,
    )


@jax.jit
def _or_ones(uncertainty: Array, is_available: Array) -> Array:
    is_known = jnp.any(is_available & (uncertainty > 0))
    return jnp.where(is_known, uncertainty, jnp.ones_like(uncertainty))


@partial(jax.jit, static_argnames=("num_bins",))
def calibrated_temperature(
    logits: Array, labels: Array, is_labelled: Array, *, num_bins: int = _NUM_BINS
) -> Array:
    """Returns the temperature at which labelled rows' confidence is their accuracy.

    Of 49 temperatures from 0.1 to 10, evenly spaced in their logarithm, the one with
    the least expected calibration error of `softmax(logits / t)`; 1 where no row is
    labelled. The error is taken on 4096 labelled rows at most, those of lowest number.

    Args:
      logits: `[N, C]`.
      labels: `[N]` integers; those of other rows are not looked at.
      is_labelled: `[N]` bool.
      num_bins: bins of confidence, static.

    Returns:
      `[]` temperature.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.selection.cover.uherding import calibrated_temperature
      >>> logits = jnp.array([[4.0, 0.0]] * 4)  # sure of class 0, and wrong once
      >>> labels = jnp.array([0, 0, 0, 1])
      >>> t = calibrated_temperature(logits, labels, jnp.ones(4, bool))
      >>> round(float(t), 2)  # 4 / log(3) = 3.64
      3.48

    Reference:
      Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
      https://arxiv.org/abs/1706.04599
    """
    is_labelled = is_labelled & (labels >= 0)
    size = min(_NUM_CALIBRATION, labels.shape[0])
    (rows,) = jnp.nonzero(is_labelled, size=size, fill_value=0)
    is_there = jnp.arange(size) < jnp.sum(is_labelled)
    shifted = logits[rows].astype(jnp.float32)
    shifted = shifted - jnp.max(shifted, axis=-1, keepdims=True)
    is_right = jnp.argmax(shifted, axis=-1) == labels[rows]

    def error(temperature: Array) -> Array:
        # The largest probability: its exponential is one.
        confidence = 1 / jnp.sum(jnp.exp(shifted / temperature), axis=-1)
        gap = jnp.where(is_there, is_right - confidence, 0)
        bins = jnp.minimum((confidence * num_bins).astype(int), num_bins - 1)
        return jnp.sum(jnp.abs(jax.nn.one_hot(bins, num_bins).T @ gap))

    temperatures = jnp.logspace(-1, 1, _NUM_TEMPERATURES)
    best = temperatures[jnp.argmin(jax.lax.map(error, temperatures))]
    return jnp.where(jnp.any(is_labelled), best, 1)


@register(
    "uherding",
    is_deterministic=True,
    family="coverage, uncertainty",
    cost="O(T (N + K m) D), T targets",
)
def uherding_strategy(
    *,
    of: str = "features",
    bandwidth: Bandwidth = "nearest_labelled",
    temperature: float | None = None,
    num_targets: int | None = NUM_TARGETS,
) -> Strategy:
    """Returns Uncertainty Herding: MaxHerding weighted by calibrated margins.

    Logits are divided by the temperature that calibrates them on the labelled rows.
    The paper finds it on labelled rows held out of training; a view knows one network,
    trained on them all, so temperatures come out lower here; they search 1 to 20,
    this 0.1 to 10. Pass one found otherwise where that matters.

    Args:
      of: what is covered.
      bandwidth: of the kernel, on rows of unit length: by default, as in the paper,
        the least distance of two labelled rows, and 1 where there are none.
      temperature: what logits are divided by, None to calibrate.
      num_targets: rows the coverage is estimated on, None for all.

    Reference:
      Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method
      for All Label Budgets", ICLR 2025. https://arxiv.org/abs/2412.20644
    """
    if temperature is None:
        divisor = read(calibrated_temperature, logits, labels, is_labelled)
        doubt = read(_cooled_margin, logits, divisor)
    else:
        doubt = read(partial(_cooled_margin, divisor=temperature), logits)
    settings = {"bandwidth": bandwidth, "num_targets": num_targets}
    return by_selector(uherding, of, uncertainty=doubt, **settings)


@of_classes
def _cooled_margin(logits: Array, divisor: Array | float) -> Array:
    return margin(logits.astype(jnp.float32) / divisor)
