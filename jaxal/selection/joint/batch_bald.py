"""BatchBALD: the batch whose answers, taken jointly, say most about the model."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal import linalg
from jaxal.checks import check_positive, of_classes
from jaxal.pools.mesh import Shard
from jaxal.readings import field
from jaxal.registry import register
from jaxal.scores import bald
from jaxal.selection.engine.chance import row_lots
from jaxal.selection.engine.door import selector
from jaxal.selection.engine.picks import best_of, least_equal, rankable
from jaxal.selection.joint.configurations import (
    Configurations,
    drawn,
    enumerated,
    extended,
)
from jaxal.selection.ranked import top_k
from jaxal.selection.subsets import in_pool
from jaxal.types import Selection, Strategy, View, stateless

# Numbers held at once while a chunk of rows is evaluated: 4 MiB stays in cache.
_CHUNK_ELEMENTS = 1 << 20


class _Predictions(NamedTuple):
    probs: Array  # [N, C, S]
    entropies: Array  # [N, S]


class _State(NamedTuple):
    configurations: Configurations
    bounds: Array  # [N] upper bounds on what each row would add
    is_available: Array  # [N] bool
    lots: Array  # [N] by which equal rows are told apart
    last: Array  # the row picked last


@of_classes
@selector
def batch_bald(
    key: Array,
    sample_logits: Array,
    is_available: Array,
    *,
    batch_size: int,
    num_configurations: int = 1024,
    num_draws: int = 256,
) -> Selection:
    """Picks rows whose labels are jointly most informative about the model.

    Greedily maximises the mutual information between a batch's labels and the
    posterior samples `w`,

        I(y_1, .., y_K; w) = H(y_1, .., y_K) - sum_k E_w H(y_k | w).

    Row n adds `sum_m v_m (H(sum_s q_ms p_s(y_n)) - sum_s q_ms H(p_s(y_n)))`, where m
    runs over the answers the rows picked so far may get, v_m is how likely answer m
    is and q_m the posterior over samples it leaves. As long as all C^k answers fit
    in `num_configurations` they are enumerated and the gain is exact. After that
    every posterior sample draws the same number of answers, as in the paper. Two
    things lower the noise: draws are stratified, and the second term uses the
    answers' own posteriors where the paper takes the average over samples, so no
    estimated gain exceeds what an answer can still reveal.

    Gains only fall as the batch grows (submodularity), so a gain from an earlier
    pick bounds the present one: rows are evaluated best bound first, in chunks,
    until no bound exceeds the best gain found. While answers are enumerated that is
    the exact greedy choice, later it is so up to the noise of the draws.

    Cost: `2 M S C` operations for each row evaluated, in the worst case every row at
    every pick, and a copy of `sample_logits` in memory.

    Args:
      key: typed key, consumed by ties, and by the draws where enumeration does not fit.
      sample_logits: `[S, N, C]` logits, one network a sample, the same S networks
        for every row: dropout masks that differ between rows make joint
        entropies meaningless.
      is_available: `[N]` bool, rows that may be picked.
      batch_size: K, static.
      num_configurations: most answers to enumerate, static.
      num_draws: answers drawn once there are more, static; a multiple of S is used,
        at least one for each sample.

    Returns:
      Selection in order of picking. `scores` holds the nats each row added: they
      sum to the batch's mutual information.

    Raises:
      ValueError: a shape or a size is out of range, or an available row holds NaN or
        +inf in any sample.
      TypeError: an argument has the wrong type.

    Example:
      Rows 0 and 1 ask the same question, row 2 another, row 3 none.

      >>> import jax, jax.numpy as jnp
      >>> a = jnp.array([3.0, 3.0, -3.0, -3.0]); b = jnp.array([2.0, -2.0, 2.0, -2.0])
      >>> yes = jnp.stack([a, a, b, 0 * a], axis=1)
      >>> logits = jnp.stack([yes, -yes], axis=-1)
      >>> available = jnp.ones(4, bool)
      >>> key = jax.random.key(0)
      >>> picks = batch_bald(key, logits, available, batch_size=2).indices.tolist()
      >>> picks[0] in (0, 1), picks[1]
      (True, 2)

    Reference:
      Kirsch et al., BatchBALD: Efficient and Diverse Batch Acquisition for Deep
      Bayesian Active Learning, NeurIPS 2019. https://arxiv.org/abs/1906.08158
    """
    check_positive(num_configurations=num_configurations, num_draws=num_draws)
    sizes = (batch_size, num_configurations, num_draws)
    return _select(key, sample_logits, is_available, *sizes)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _select(
    key: Array,
    sample_logits: Array,
    is_available: Array,
    batch_size: int,
    num_configurations: int,
    num_draws: int,
) -> Selection:
    num_samples, _, num_classes = sample_logits.shape
    pool = _predict(sample_logits)
    gains = _entropy_terms(pool.probs.mean(-1)).sum(-1) - pool.entropies.mean(-1)
    before = Configurations(
        jnp.ones((1,), jnp.float32), jnp.full((1, num_samples), 1 / num_samples)
    )
    lots = row_lots(key, Shard(None, 1, gains.size))
    start = _State(before, gains, is_available, lots, jnp.int32(0))
    state, pick = _take_best(start, gains)
    picks = [pick]

    # The number of answers grows while they are enumerated: one program a step,
    # and log(M) / log(C) of them. Then shapes are fixed and one scan does the rest.
    while len(picks) < batch_size and num_classes ** len(picks) <= num_configurations:
        answers = enumerated(state.configurations, pool.probs[state.last])
        state, pick = _pick(state._replace(configurations=answers), pool)
        picks.append(pick)
    selection = Selection(*(jnp.stack(column) for column in zip(*picks, strict=True)))
    if len(picks) == batch_size:
        return selection

    def body(state: _State, key: Array) -> tuple[_State, Selection]:
        answers = extended(key, state.configurations, pool.probs[state.last])
        return _pick(state._replace(configurations=answers), pool)

    key, draw_key = jax.random.split(key)
    per_sample = max(1, num_draws // num_samples)
    answers = drawn(draw_key, state.configurations, per_sample)
    keys = jax.random.split(key, batch_size - len(picks))
    _, rest = jax.lax.scan(body, state._replace(configurations=answers), keys)
    pairs = zip(selection, rest, strict=True)
    return Selection(*(jnp.concatenate(pair) for pair in pairs))


def _predict(sample_logits: Array) -> _Predictions:
    """Probabilities and entropies, with the axis the products sum over innermost."""
    num_samples, num_rows, num_classes = sample_logits.shape
    chunk = max(1, min(num_rows, _CHUNK_ELEMENTS // (num_samples * num_classes)))

    def predict(i: Array, done: _Predictions) -> _Predictions:
        # The last chunk starts early enough to be whole: some rows are done twice.
        start = jnp.minimum(i * chunk, num_rows - chunk)
        logits = jax.lax.dynamic_slice_in_dim(sample_logits, start, chunk, 1)
        logits = jnp.transpose(logits, (1, 2, 0)).astype(jnp.float32)
        # exp(-200) is 0 in float32, and 0 * -200 is 0 where 0 * -inf is not.
        shifted = jnp.maximum(logits - logits.max(1, keepdims=True), -200.0)
        weights = jnp.exp(shifted)
        total = weights.sum(1)
        entropies = jnp.log(total) - (weights * shifted).sum(1) / total
        found = _Predictions(weights / total[:, None], entropies)
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=0)
        return jax.tree.map(lambda a, b: write(a, b, start), done, found)

    empty = _Predictions(
        jnp.zeros((num_rows, num_classes, num_samples), jnp.float32),
        jnp.zeros((num_rows, num_samples), jnp.float32),
    )
    return jax.lax.fori_loop(0, -(-num_rows // chunk), predict, empty)


def _entropy_terms(probs: Array) -> Array:
    return -probs * jnp.log(jnp.maximum(probs, jnp.finfo(probs.dtype).tiny))


def _pick(state: _State, pool: _Predictions) -> tuple[_State, Selection]:
    """Evaluates rows in order of their bounds until the best is certain, takes it."""
    num_rows, num_classes, num_samples = pool.probs.shape
    configurations = state.configurations
    num_answers = configurations.weights.shape[0]
    chunk = max(8, min(512, _CHUNK_ELEMENTS // (num_answers * num_classes)))
    chunk = min(chunk, num_rows)
    bounds = jnp.where(state.is_available, state.bounds, -jnp.inf)
    sorted_bounds, order = jax.lax.top_k(bounds, num_rows)
    # One entry more than there are rows: nothing is left to evaluate.
    sorted_bounds = jnp.append(sorted_bounds, -jnp.inf)
    mean_posterior = configurations.weights @ configurations.posterior

    def unsettled(carry: tuple[Array, Array, Array]) -> Array:
        start, _, best = carry
        bound = sorted_bounds[jnp.minimum(start, num_rows)]
        return (bound >= least_equal(best)) & (bound > -jnp.inf)

    def evaluate(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        start, gains, best = carry
        # The slice moves back at the end of the pool, and some rows come twice.
        rows = jax.lax.dynamic_slice(order, (start,), (chunk,))
        probs = pool.probs[rows].reshape(-1, num_samples)
        given = linalg.product(probs, configurations.posterior.T)
        terms = _entropy_terms(given) @ configurations.weights
        known = pool.entropies[rows] @ mean_posterior
        found = terms.reshape(chunk, -1).sum(-1) - known
        found = jnp.where(state.is_available[rows], found, -jnp.inf)
        return start + chunk, gains.at[rows].set(found), jnp.maximum(best, found.max())

    none = jnp.full_like(bounds, -jnp.inf)
    first = (jnp.int32(0), none, jnp.float32(-jnp.inf))
    _, gains, _ = jax.lax.while_loop(unsettled, evaluate, first)
    bounds = jnp.where(gains > -jnp.inf, gains, bounds)
    return _take_best(state._replace(bounds=bounds), gains)


def _take_best(state: _State, gains: Array) -> tuple[_State, Selection]:
    shard, free = Shard(None, 1, gains.size), state.is_available
    gain, best = best_of(shard, rankable(gains, free), state.lots)
    pick = Selection(best, gain, free[best])
    return state._replace(is_available=free.at[best].set(False), last=best), pick


@register(
    "batch_bald",
    small={"num_candidates": 30, "num_configurations": 9},
    family="disagreement, diverse",
    cost="O(S N C + K B S C A), B candidates, A answers",
    budget="many labels",
)
def batch_bald_strategy(
    *,
    num_candidates: int | None = 10_000,
    num_configurations: int = 1024,
    num_draws: int = 256,
) -> Strategy:
    r"""Returns BatchBALD: the batch whose labels jointly say most about the model.

    BALD bounds what a row can add, so looking only at the rows of highest BALD loses
    little, and it bounds the memory: `num_candidates` rows are kept, at least the
    batch. A pool with more near-copies of its best rows than that wants all of them,
    None. Cost: `S N C`, and at most `2 M S C` operations for M answers, each candidate
    and each pick; see `jaxal.batch_bald`.

    Args:
      num_candidates: rows of highest BALD that are looked at, None for all, as in the
        paper.
      num_configurations: most answers to a batch to enumerate.
      num_draws: answers drawn once there are more.

    Raises:
      ValueError: `num_candidates` is not positive.

    Reference:
      Kirsch, van Amersfoort and Gal, "BatchBALD: Efficient and Diverse Batch
      Acquisition for Deep Bayesian Active Learning", NeurIPS 2019.
      https://arxiv.org/abs/1906.08158
    """
    if num_candidates is not None:
        check_positive(num_candidates=num_candidates)
    sizes = {"num_configurations": num_configurations, "num_draws": num_draws}

    def select(key: Array, view: View, batch_size: int) -> Selection:
        samples, free = field(view, "samples"), view.is_available
        num = samples.shape[1] if num_candidates is None else num_candidates
        if max(num, batch_size) >= samples.shape[1]:
            return batch_bald(key, samples, free, batch_size=batch_size, **sizes)
        size = max(num, batch_size)
        best = top_k(key, bald(samples), free, batch_size=size)
        rows = jnp.where(best.is_valid, best.indices, 0)
        kept = samples[:, rows]
        picks = batch_bald(key, kept, best.is_valid, batch_size=batch_size, **sizes)
        return in_pool(picks, rows, free)

    return stateless({"samples"}, select, reads_classes=True)
