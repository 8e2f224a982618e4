"""Active learning by learning: a bandit over strategies, paid in estimated accuracy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.pools.mapping import either
from jaxal.readings import field
from jaxal.registry import register, strategy
from jaxal.strategies.parts import ask, combine, mask_of, replaced
from jaxal.strategies.ranked import random
from jaxal.types import Selection, Strategy, View


class BanditMemory(NamedTuple):
    """What is known of `E` strategies, the first of which is chance."""

    log_weights: Array  # [E]
    chances: Array  # [E] with which the last batch was drawn
    arm: Array  # [] int32 whose batch it was
    num_rounds: Array  # [] int32 batches drawn so far
    importance: Array  # [N] of rows in the batches drawn, zero elsewhere
    parts: tuple  # what each strategy remembers


@register(
    "albl",
    family="bandit over strategies",
    cost="the sum of its parts",
)
def albl(
    strategies: Sequence[Strategy] | None = None,
    *,
    horizon: int = 20,
    delta: float = 0.1,
) -> Strategy:
    r"""Returns ALBL: each round a bandit draws the strategy whose batch is bought.

    Strategy e is drawn with probability $p_e = (1 - E p_{min}) w_e / \sum w + p_{min}$.
    The reward is the accuracy of the network on the rows bought so far, each weighted
    by one over the probability with which it was to be bought; unlike plain accuracy
    on chosen rows that is an estimate for the pool. EXP4.P then sets, with
    $\hat r_e = r / p_e$ for the strategy drawn and 0 for others,

    $w_e \leftarrow w_e \exp(\frac{p_{min}}{2} (\hat r_e + \frac{1}{p_e}
    \sqrt{\ln(E / \delta) / (E T)}))$.

    The authors buy one row a time, and pay every strategy that proposed it; here K rows
    are bought together and the arms are the strategies' batches, or no strategy could
    be told from another by what it earns. A row of the batch had the probability
    `q = p_0 K / n + sum_e p_e [e proposes it]` of being bought, chance being strategy 0
    and n the available rows, and weighs `1 / (n q)`; the mean over rounds of weighted
    correct answers estimates accuracy without bias, for a fixed network.

    Args:
      strategies: what to choose from besides chance, which always takes part, as by
        default in the authors' code; margin and Core-set by default.
        All of them choose every round.
      horizon: T, rounds that are planned. It sets $p_{min} = \sqrt{\ln E / (E T)}$, at
        most 1 / E.
      delta: how sure the bound of EXP4.P is to hold; the default is the authors'.

    Returns:
      A `Strategy` with memory that needs logits, labels and what its parts need.
      Scores are the probabilities q.

    Raises:
      ValueError: there are no strategies, or a setting is out of range.

    Example:
      >>> from jaxal import strategy
      >>> strategy("albl").init(100).log_weights.tolist()
      [0.0, 0.0, 0.0]

    Reference:
      Hsu and Lin, "Active Learning by Learning", AAAI 2015.
      https://doi.org/10.1609/aaai.v29i1.9597; EXP4.P: Beygelzimer et al., "Contextual
      Bandit Algorithms with Supervised Learning Guarantees", AISTATS 2011.
      https://arxiv.org/abs/1002.4058
    """
    others = (
        (strategy("margin"), strategy("coreset"))
        if strategies is None
        else tuple(strategies)
    )
    if not others or horizon < 1 or not 0 < delta <= 1:
        raise ValueError(
            f"albl got {len(others)} strategies, horizon {horizon} and delta {delta}, "
            "expected at least one strategy, a positive horizon and delta in (0, 1]."
        )
    parts = (random(), *others)
    num_arms = len(parts)
    least = min(math.sqrt(math.log(num_arms) / (num_arms * horizon)), 1 / num_arms)
    bonus = math.sqrt(math.log(num_arms / delta) / (num_arms * horizon))

    def init(num_rows: int) -> BanditMemory:
        zeros = jnp.zeros(num_arms)
        nobody = jnp.zeros((), jnp.int32)
        own = tuple(part.init(num_rows) for part in parts)
        return BanditMemory(zeros, zeros + 1, nobody, nobody, jnp.zeros(num_rows), own)

    def step(
        key: Array, view: View, memory: BanditMemory, batch_size: int
    ) -> tuple[Selection, BanditMemory]:
        reward = _reward(memory, view)
        log_weights = _learn(memory, reward, least, bonus)
        chances = jax.nn.softmax(log_weights) * (1 - num_arms * least) + least
        key_arm, key_parts = jax.random.split(key)
        arm = jax.random.categorical(key_arm, jnp.log(chances)).astype(jnp.int32)
        batches, known_parts = [], memory.parts
        for index in range(num_arms):
            key_part = jax.random.fold_in(key_parts, index)
            batch, after = ask(parts, index, key_part, view, memory.parts, batch_size)
            batches.append(batch)
            # Only who is drawn has bought anything.
            kept = either(arm == index, after[index], memory.parts[index])
            known_parts = replaced(known_parts, index, kept)
        picks = jax.tree.map(lambda *columns: jnp.stack(columns)[arm], *batches)
        proposed = jnp.stack([mask_of(view, batch) for batch in batches[1:]])
        num_free = jnp.maximum(jnp.sum(view.is_available), 1)
        by_chance = chances[0] * jnp.minimum(batch_size / num_free, 1)
        odds = by_chance + chances[1:] @ proposed.astype(jnp.float32)  # [N]
        importance = jnp.where(mask_of(view, picks), 1 / (num_free * odds), 0)
        importance = jnp.where(importance > 0, importance, memory.importance)
        known = BanditMemory(
            log_weights, chances, arm, memory.num_rounds + 1, importance, known_parts
        )
        scores = jnp.where(
            picks.is_valid, odds.at[picks.indices].get(mode="clip"), -jnp.inf
        )
        return picks._replace(scores=scores), known

    return combine(parts, step, needs=("logits", "labels"))._replace(init=init)


def _reward(memory: BanditMemory, view: View) -> Array:
    """Returns the importance-weighted accuracy on all rows bought, in [0, 1]."""
    predicted = jnp.argmax(field(view, "logits"), axis=-1)
    is_right = view.is_labelled & (predicted == field(view, "labels"))
    total = jnp.sum(jnp.where(is_right, memory.importance, 0))
    return jnp.clip(total / jnp.maximum(memory.num_rounds, 1), 0, 1)


def _learn(memory: BanditMemory, reward: Array, least: float, bonus: float) -> Array:
    """Returns the log-weights after the reward of the last batch, centred at 0."""
    is_arm = jnp.arange(memory.chances.size) == memory.arm
    gain = (jnp.where(is_arm, reward, 0) + bonus) / memory.chances
    learnt = memory.log_weights + least / 2 * gain
    learnt = jnp.where(memory.num_rounds > 0, learnt, memory.log_weights)
    return learnt - jnp.mean(learnt)
