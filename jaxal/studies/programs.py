"""The programs of a study: several trials at a time, compiled once for all strategies.

A round of a block of trials is three programs: `fit`, `measure` and `choose`. The first
two are the same for every strategy of one learner, and are compiled once. Rounds are
driven from the host: that costs a millisecond a round, and is what lets strategies
share programs and lets a study be killed after any round.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.rounds import ActiveLearner, LoopState
from jaxal.runs.experiment import Validate, one_by_one
from jaxal.types import Inputs, Oracle, Selection

Trials = Any
"""A pytree of `[B, ...]`, an entry a trial; a `LoopState` there has no inputs."""


Program = Callable[[Inputs, Trials, Array], Any]
"""From inputs, trials and which are over, `[B]`, to what comes out, `[B, ...]`."""


class Chosen(NamedTuple):
    """What a round of a trial leaves to the next one, and to its files."""

    state: LoopState  # without inputs; what was trained is None
    selection: Selection  # [K]
    labels: Array  # [K]
    looked: tuple[Array, ...]  # what there is to object to: `Looked` but for its view


class Programs(NamedTuple):
    """What is traced, once for one loop or for all that train alike."""

    weights: Program
    fit: Program
    measure: Program
    choose: Program


def programs(
    loop: ActiveLearner,
    oracle: Oracle,
    first: LoopState,
    validate: Validate | None = None,
    *,
    in_turn: bool,
) -> Programs:
    """Returns the programs of a loop's rounds, for any number of trials.

    Args:
      loop: whose phases they call.
      oracle: who answers, `(key, rows) -> labels`.
      first: a state of the loop, for what its strategy remembers at first.
      validate: measures on validation rows too.
      in_turn: one trial after the other, as a CPU has it best, where loops end when
        they are done; or side by side, as accelerators do.
    """

    def weights(inputs: Inputs, key: Array) -> Any:
        return loop.init(key, first.pool._replace(inputs=inputs)).learner

    def whole(inputs: Inputs, state: LoopState) -> LoopState:
        return state._replace(pool=state.pool._replace(inputs=inputs))

    def fit(inputs: Inputs, trial: tuple[Array, LoopState]) -> Any:
        key, state = trial
        state = whole(inputs, state._replace(memory=first.memory))
        state, info = loop.phases.train(key, state)
        return state.learner, loop.phases.fit(key, state), info

    def measure(inputs: Inputs, trial: tuple[Array, LoopState, Any]) -> Any:
        key, state, fitted = trial
        state = whole(inputs, state._replace(memory=first.memory))
        held_out = validate and validate(key, state, fitted)
        return loop.phases.evaluate(key, state, fitted=fitted), held_out

    def choose(inputs: Inputs, trial: tuple[Array, Array, LoopState, Any]) -> Chosen:
        key, asking, state, fitted = trial
        state = whole(inputs, state)
        looked = loop.phases.look(key, state, fitted=fitted)
        state, selection = loop.phases.decide(key, state, looked)
        rows = jnp.where(selection.is_valid, selection.indices, 0)
        labels = one_by_one(oracle, asking, state.round + 1, rows)
        state = loop.tell(state, selection, labels)
        return Chosen(bare(state), selection, labels, looked[1:])

    each = in_turns if in_turn else side_by_side
    return Programs(each(weights), each(fit), each(measure), each(choose))


def bare(state: LoopState) -> LoopState:
    """Returns what differs between trials but for what they trained."""
    return state._replace(pool=state.pool._replace(inputs=None), learner=None)


def in_turns(fn: Callable) -> Program:
    """Returns `fn(inputs, trial)` for trials `[B, ...]`, one after the other.

    Those that are over cost nothing, and zeros come out.
    """
    traced = jax.jit(fn)  # once, for shapes and for values

    def one(inputs: Inputs, pair: tuple[Any, Array]) -> Any:
        trial, is_over = pair
        shapes = jax.eval_shape(traced, inputs, trial)
        nothing = lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)  # noqa: E731
        return jax.lax.cond(is_over, nothing, lambda: traced(inputs, trial))

    return lambda inputs, *pair: jax.lax.map(partial(one, inputs), pair)


def side_by_side(fn: Callable) -> Program:
    """Returns `fn(inputs, trial)` for trials `[B, ...]`, all at once, over or not."""
    return lambda inputs, trials, is_over: jax.vmap(partial(fn, inputs))(trials)


class Shelf:
    """Compiled programs by name; threads that want one being made wait for it."""

    def __init__(self) -> None:
        """Starts empty."""
        self._guard = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}
        self._made: dict[Any, Callable] = {}

    def call(
        self, name: Any, fn: Callable, *args: Any, seconds: Callable[[float], None]
    ) -> Any:
        """Returns `fn(*args)`, compiling it if nobody has.

        Args:
          name: what tells programs apart, besides the shapes of arguments.
          fn: is traced where it is new.
          *args: arrays.
          seconds: is told how long compiling took, where it did.
        """
        leaves, structure = jax.tree.flatten(args)
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        known = name, structure, shapes, _devices(leaves)
        with self._guard:
            lock = self._locks.setdefault(known, threading.Lock())
        with lock:
            if known not in self._made:
                begin = time.perf_counter()
                self._made[known] = jax.jit(fn).lower(*args).compile()
                seconds(time.perf_counter() - begin)
        return self._made[known](*args)


def _devices(leaves: list[Any]) -> frozenset:
    return frozenset(device for leaf in leaves for device in leaf.devices())
