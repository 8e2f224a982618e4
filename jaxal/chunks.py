"""What is seen of a chunk of rows, and what there is to object to it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxal import checks
from jaxal.doubts import are_apart, is_bad, is_simplex
from jaxal.pools.inputs import num_rows
from jaxal.types import PER_ROW, Inputs, Posterior, Strategy, View


class Flags(NamedTuple):
    """What there is to object to a row."""

    is_bad: Array  # [B] bool, an output is NaN or +inf
    is_bad_sample: Array  # [B] bool, a sample's is
    is_apart: Array  # [B] bool, samples differ, or there are none
    is_simplex: Array  # [B] bool, logits are not negative and sum to one


def look_at_chunk(
    posterior: Posterior, strategy: Strategy, key: Array, state: Any, inputs: Inputs
) -> tuple[dict[str, Array], Any, Flags]:
    """Returns the fields that are needed, what `rowwise` makes of rows, and flags."""
    wanted = strategy.needs | strategy.streams
    found: dict[str, Any] = {"inputs": inputs}
    nobody = jnp.zeros(num_rows(inputs), bool)
    flags = Flags(nobody, nobody, ~nobody, nobody)
    if wanted & {"logits", "features"}:
        output = posterior.network(state, inputs)
        found["logits"], found["features"] = output.logits, output.features
        checks.check_field("logits", output.logits, nobody.shape[0])
        flags = flags._replace(
            is_bad=is_bad(output.logits).any(axis=-1),
            is_simplex=is_simplex(output.logits) & strategy.reads_classes,
        )
    if "predictive" in wanted:
        found["predictive"] = posterior.predict(key, state, inputs).logits
        flags = _flag(flags, is_bad(found["predictive"]).any(axis=-1))
    if "samples" in wanted:
        samples = found["samples"] = posterior.sample(key, state, inputs).logits
        checks.check_field("samples", samples, nobody.shape[0])
        is_odd = is_bad(samples).any(axis=(0, -1))
        flags = _flag(flags, is_odd)._replace(
            is_bad_sample=is_odd,
            is_apart=are_apart(samples),
            is_simplex=is_simplex(samples).all(axis=0) & strategy.reads_classes,
        )
    if "features" in wanted:
        features = _features(found, strategy)
        checks.check_field("features", features, nobody.shape[0])
        flags = _flag(flags, ~jnp.isfinite(features).all(axis=-1))
    whole = {n: found[n] for n in PER_ROW if n in strategy.needs and n != "inputs"}
    if "samples" in whole:  # rows first, as every other field
        whole["samples"] = jnp.moveaxis(whole["samples"], 1, 0)
    return whole, _rowwise(strategy, found, nobody.shape[0]), flags


def _flag(flags: Flags, is_odd: Array) -> Flags:
    return flags._replace(is_bad=flags.is_bad | is_odd)


def _rowwise(strategy: Strategy, found: dict[str, Any], size: int) -> Any:
    if strategy.rowwise is None:
        return None
    seen = {n: found[n] for n in PER_ROW if n in strategy.streams | strategy.needs}
    nobody = jnp.zeros(size, bool)
    return strategy.rowwise(View(~nobody, nobody, **seen))


def _features(found: dict[str, Any], strategy: Strategy) -> Array:
    if found["features"] is None:
        raise ValueError(
            f"Strategy {strategy.name!r} needs features, and the model returns none. "
            "Return Output(logits, features), features being what the last layer sees."
        )
    return found["features"]
