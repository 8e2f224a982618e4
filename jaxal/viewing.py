"""Looking at the pool, and measuring: what is asked of a posterior, in chunks."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from jaxal.chunks import look_at_chunk
from jaxal.doubts import APART, EQUAL, say_probabilities
from jaxal.pacing import paced
from jaxal.pools.inputs import num_rows
from jaxal.pools.mapping import map_rows, map_some_rows, num_chunks, row_buffers, zeroed
from jaxal.pools.mesh import find_mesh
from jaxal.types import PER_ROW, Inputs, Output, Pool, Posterior, Strategy, View


class Looked(NamedTuple):
    """A view, and whether it can be trusted."""

    view: View
    num_bad_rows: Array  # [] int32 rows whose outputs are NaN or +inf
    num_bad_samples: Array  # [] int32 those of them whose samples are
    are_samples_equal: Array  # [] bool, samples were looked at and all say the same
    are_probabilities: Array  # [] bool, what is read as logits sums to one in each row

    @property
    def is_sound(self) -> Array:
        """Whether rows may be bought by it, `[]` bool."""
        return (self.num_bad_rows == 0) & ~self.are_samples_equal


def make_look(
    posterior: Posterior, strategy: Strategy, chunk_size: int, mesh: Mesh | None
) -> Callable[..., Looked]:
    """Returns the function that computes a strategy's view of a pool.

    Args:
      posterior: where logits, samples and features come from.
      strategy: whose `needs` and `streams` are computed, and nothing else.
      chunk_size: rows looked at together, on each device.
      mesh: the mesh of the pool, None for that of its arrays.

    Returns:
      A function of `(key, state, pool, progress=None)`, the posterior's state.

    Raises:
      ValueError: the strategy needs a field that no view has.
    """
    check_needs(strategy)
    cache: dict[Mesh | None, Look] = {}

    def look(key: Array, state: Any, pool: Pool, progress: Any = None) -> Looked:
        where = find_mesh(mesh, pool)
        if where not in cache:
            cache[where] = _compile(posterior, strategy, chunk_size, where)
        whole, piecewise = cache[where]
        if progress is None:
            return whole(key, state, pool)
        return piecewise(key, state, pool, progress)

    return look


class Look(NamedTuple):
    """Two ways through a pool, with one result: at once, or in pieces."""

    whole: Callable[[Array, Any, Pool], Looked]
    piecewise: Callable[[Array, Any, Pool, Any], Looked]


def _compile(
    posterior: Posterior, strategy: Strategy, chunk_size: int, mesh: Mesh | None
) -> Look:
    # Draws that need all rows at once are made by all devices together.
    mesh = None if posterior.is_joint else mesh

    def size(pool: Pool) -> int:
        return pool.labels.shape[0] if posterior.is_joint else chunk_size

    def per_row(key: Array, state: Any) -> Callable[[Inputs], Any]:
        return lambda rows: look_at_chunk(posterior, strategy, key, state, rows)

    def start(key: Array, state: Any, pool: Pool) -> Any:
        return row_buffers(per_row(key, state), pool.inputs, chunk_size=size(pool))

    def fill(
        outputs: Any, key: Array, state: Any, pool: Pool, first: Any, count: Any
    ) -> Any:
        fn = per_row(key, state)
        return map_some_rows(
            fn, pool.inputs, outputs, first, count, chunk_size=size(pool), mesh=mesh
        )

    def finish(outputs: Any, pool: Pool) -> Looked:
        return _as_view(strategy, outputs, pool)

    def whole(key: Array, state: Any, pool: Pool) -> Looked:
        outputs = start(key, state, pool)
        count = num_chunks(pool.inputs, size(pool), mesh)
        return finish(fill(outputs, key, state, pool, 0, count), pool)

    start_jit, finish_jit = jax.jit(start), jax.jit(finish)
    fill_jit = jax.jit(fill, donate_argnums=0)

    def piecewise(key: Array, state: Any, pool: Pool, progress: Any) -> Looked:
        outputs = start_jit(key, state, pool)
        total_rows = pool.labels.shape[0]
        count = num_chunks(pool.inputs, size(pool), mesh)

        def run(done: int, more: int) -> None:
            nonlocal outputs
            first = jnp.int32(done)
            outputs = fill_jit(outputs, key, state, pool, first, jnp.int32(more))
            jax.block_until_ready(outputs)

        def in_rows(done: int, total: int) -> None:
            progress(total_rows * done // total, total_rows)

        paced(run, count, in_rows)
        return finish_jit(outputs, pool)

    return Look(jax.jit(whole), piecewise)


def _as_view(strategy: Strategy, outputs: Any, pool: Pool) -> Looked:
    is_seen = pool.is_available | pool.is_labelled
    fields, rows, flags = outputs
    # What a model makes of padding, NaN included, reaches no strategy.
    fields, rows = jax.tree.map(partial(zeroed, is_seen), (dict(fields), rows))
    if "samples" in fields:
        fields["samples"] = jnp.moveaxis(fields["samples"], 0, 1)
    if "inputs" in strategy.needs:
        fields["inputs"] = pool.inputs
    labels = pool.labels if "labels" in strategy.needs else None
    view = View(pool.is_available, pool.is_labelled, labels, rows=rows, **fields)
    # A network that has seen no label may well be constant: nothing is known yet.
    are_equal = pool.is_labelled.any() & ~(flags.is_apart & is_seen).any()
    return Looked(
        view,
        (flags.is_bad & is_seen).sum(dtype=jnp.int32),
        (flags.is_bad_sample & is_seen).sum(dtype=jnp.int32),
        are_equal,
        (flags.is_simplex | ~is_seen).all() & is_seen.any(),
    )


def refuse_unsound(looked: Looked) -> None:
    """Raises where nothing may be bought; says nothing of values that are traced.

    Warns where logits look like probabilities: then every row is in doubt.

    Args:
      looked: at the pool.

    Raises:
      FloatingPointError: outputs are NaN or infinite.
      ValueError: all samples are equal.
    """
    if isinstance(looked.num_bad_rows, jax.core.Tracer):
        return
    if (bad := int(looked.num_bad_rows)) > 0:
        drawn = int(looked.num_bad_samples)
        part = f", in posterior samples on {drawn} of them" if drawn else ""
        raise FloatingPointError(
            f"The model's outputs are NaN or infinite on {bad} rows of the pool{part}; "
            "nothing was selected. Lower the learning rate, or check the inputs."
        )
    if bool(looked.are_samples_equal):
        raise ValueError(EQUAL)
    if bool(looked.are_probabilities):
        say_probabilities("The model's outputs", 4)


def refuse_unsound_fit(info: Any) -> None:
    """Raises where a fit must not be asked; says nothing of values that are traced.

    Args:
      info: of a learner; one that says nothing of `is_sound` is believed.

    Raises:
      FloatingPointError: the fit ended with NaN or infinity, or is worse than guessing
        without a look at the inputs.
    """
    is_sound = jnp.asarray(getattr(info, "is_sound", True))
    if isinstance(is_sound, jax.core.Tracer) or bool(is_sound.all()):
        return
    final, naive = float(info.final_loss), float(info.naive_loss)
    what = (
        f"ended with a loss of {final:.3g} on its own {int(info.num_labelled)} "
        f"training rows, and class frequencies alone (or the mean) give {naive:.3g}"
        if jnp.isfinite(final)
        else "ended with a loss or weights that are NaN or infinite"
    )
    raise FloatingPointError(
        f"Training {what}; nothing was selected. Lower the learning rate, train for "
        "more steps, or scale the inputs and targets: jaxal.models.self_scaling(model)."
    )


def check_samples(posterior: Posterior, strategy: Strategy) -> None:
    """Refuses what is known before anything is computed to have no disagreement.

    Args:
      posterior: where samples come from.
      strategy: that may read them.

    Raises:
      ValueError: it does, and there is one sample.
    """
    if reads_samples(strategy) and posterior.num_samples < 2:
        raise ValueError(
            f"Strategy {strategy.name!r} reads posterior samples, and the posterior "
            f"has {posterior.num_samples}. {APART}"
        )


def reads_samples(strategy: Strategy) -> bool:
    """Returns whether a strategy reads posterior samples."""
    return "samples" in strategy.needs | strategy.streams


def asks_posterior(strategy: Strategy) -> bool:
    """Returns whether a strategy reads more than one network without chance says."""
    return bool({"samples", "predictive"} & (strategy.needs | strategy.streams))


def make_measure(
    posterior: Posterior,
    metrics: Callable[[Array, Array], Any],
    *,
    of: str,
    chunk_size: int,
) -> Callable[[Array, Any, Inputs, Array], Any]:
    """Returns the function that measures a posterior on a test set.

    Args:
      posterior: what is measured.
      metrics: from outputs `[T, C]` and labels `[T]`.
      of: "predictive" for `posterior.predict`, "network" for `posterior.network`.
      chunk_size: rows asked together; a joint posterior is asked all at once.

    Returns:
      A function of `(key, state, inputs, labels)`.
    """

    def ask(key: Array, state: Any, inputs: Inputs) -> Output:
        if of == "network":
            return posterior.network(state, inputs)
        return posterior.predict(key, state, inputs)

    @jax.jit
    def measure(key: Array, state: Any, inputs: Inputs, labels: Array) -> Any:
        size = num_rows(inputs) if posterior.is_joint else chunk_size
        rows = map_rows(lambda x: ask(key, state, x).logits, inputs, chunk_size=size)
        return metrics(rows, labels)

    def quietly(key: Array, state: Any, inputs: Inputs, labels: Array) -> Any:
        # What is not defined, as the accuracy of an absent class, is NaN and no fault.
        with jax.debug_nans(False):
            return measure(key, state, inputs, labels)

    return quietly


def check_needs(strategy: Strategy) -> None:
    """Raises ValueError where a strategy reads fields that no view has, or no rows."""
    known = {*PER_ROW, "labels"}
    unknown = (strategy.needs | strategy.streams) - known
    if unknown:
        raise ValueError(
            f"Strategy {strategy.name!r} needs {sorted(unknown)}; a view has "
            f"{sorted(known)}."
        )
    if strategy.streams and strategy.rowwise is None:
        raise ValueError(
            f"Strategy {strategy.name!r} streams {sorted(strategy.streams)} but has no "
            "rowwise function to read it. Name it in needs, or pass rowwise=."
        )
