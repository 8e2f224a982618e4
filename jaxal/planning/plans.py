"""What a round of a strategy will take, before anything runs."""

import dataclasses
import math
from typing import NamedTuple

import jax

from jaxal.planning.costs import Blocked, Work
from jaxal.planning.memory import (
    Compiled,
    Sizes,
    compile_choice,
    compile_look,
    pool_struct,
    size_of,
)
from jaxal.planning.rates import Rates, measure_rates
from jaxal.registry import strategy as strategy_by_name
from jaxal.selection.engine.by_distance import default_candidates
from jaxal.selection.engine.distances import group_size
from jaxal.types import PER_ROW, Strategy, View

# Passes over the fewest there can be, measured on Gaussian and clustered rows of 8 and
# 64 features: 1.1 to 1.5 for k-means++, 1.8 to 6.5 for k-center.
_PASSES_OVER_FEWEST = 3
_PER_DISTANCE = 6  # operations that make a distance of an inner product


class Passes(NamedTuple):
    """How often the rows of the pool are gone through."""

    fewest: int
    expected: int
    most: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a round takes on each device; `print` it."""

    strategy: str
    rows: int  # on one device
    batch_size: int
    devices: int
    memory: dict[str, int]  # bytes, by what they are for
    peak_bytes: int
    flops: float
    passes: Passes
    seconds: float
    rates: Rates
    notes: tuple[str, ...]

    def __str__(self) -> str:
        width = max(map(len, self.memory))
        parts = [f"  {name:<{width}}  {_bytes(n)}" for name, n in self.memory.items()]
        fewest, expected, most = self.passes
        times = f"{expected}" if fewest == most else f"{expected} ({fewest} to {most})"
        lines = [
            f"{self.strategy}: {self.batch_size:,} picks, {self.rows:,} rows on each of"
            f" {self.devices} device(s)",
            f"peak memory a device: {_bytes(self.peak_bytes)}",
            *parts,
            f"operations a device: {self.flops:.3g}",
            f"passes over the pool: {times}",
            f"time: about {self.seconds:.2g} s, at {self.rates.flops / 1e9:.3g} GFLOP/s"
            f" and {self.rates.bytes / 1e9:.3g} GB/s",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def plan(
    strategy: str | Strategy,
    *,
    rows: int,
    classes: int,
    features: int = 0,
    batch_size: int,
    devices: int = 1,
    samples: int = 1,
    input_bytes: int = 0,
    labelled: int = 0,
    chunk_size: int = 1024,
    rates: Rates | None = None,
) -> Plan:
    """Returns what choosing takes: memory, operations, passes and time, on each device.

    Memory is the compiler's own answer for looking at the pool and for choosing, with
    a model that costs nothing; operations are counted in the traced program, each
    centre against each row once; time is operations over the rate of matrix products
    plus bytes over that of copies. Training and the model's own forward pass are not
    included.

    Args:
      strategy: a name, or a `Strategy`, the user's own included.
      rows: `N`, of the whole pool.
      classes: `C`.
      features: `D`, what the last layer sees.
      batch_size: picks `K`.
      devices: how many the pool is spread over.
      samples: `S`, of the posterior.
      input_bytes: bytes of one row of inputs, as the pool holds them.
      labelled: rows that are labelled already.
      chunk_size: rows looked at together, on each device.
      rates: of one device, measured for a moment where None.

    Returns:
      A `Plan`.

    Raises:
      ValueError: a size is out of range, or no strategy has that name.

    Example:
      >>> from jaxal.planning import Rates, plan
      >>> fast = Rates(flops=1e12, bytes=1e11)
      >>> found = plan("margin", rows=4096, classes=10, batch_size=10, rates=fast)
      >>> found.passes
      Passes(fewest=1, expected=1, most=1)
    """
    chosen = strategy_by_name(strategy) if isinstance(strategy, str) else strategy
    local = _check_sizes(rows, classes, features, batch_size, devices, samples)
    chunk = min(chunk_size, local)
    sizes = Sizes(local, classes, features, samples, input_bytes, batch_size, chunk)
    view, look = compile_look(chosen, sizes)
    choice, notes = _choice(chosen, view, batch_size)
    work = look.work + choice.work
    if work.num_unknown_loops:
        notes.append("operations in loops of unknown length are counted once")
    passes = _passes(work.blocked, chosen)
    greedy = (_blocked_flops(one, passes.expected, labelled) for one in work.blocked)
    flops = work.flops + sum(greedy)
    moved = look.total + _streamed_bytes(chosen, sizes)
    moved += passes.expected * size_of(view) + choice.outputs + choice.scratch
    rates = measure_rates() if rates is None else rates
    memory, peak = _memory(sizes, view, look, choice)
    return Plan(
        strategy=chosen.name,
        rows=local,
        batch_size=batch_size,
        devices=devices,
        memory=memory,
        peak_bytes=peak,
        flops=flops,
        passes=passes,
        seconds=flops / rates.flops + moved / rates.bytes,
        rates=rates,
        notes=tuple(notes),
    )


def _choice(
    strategy: Strategy, view: View, batch_size: int
) -> tuple[Compiled, list[str]]:
    notes = ["the model's own memory and time come on top"]
    try:
        return compile_choice(strategy, view, batch_size), notes
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        notes.append("its choice cannot be traced, and is not counted")
        return Compiled(0, 0, 0, Work(0.0)), notes


def _memory(
    sizes: Sizes, view: View, look: Compiled, choice: Compiled
) -> tuple[dict[str, int], int]:
    pool, held = size_of(pool_struct(sizes)), size_of(view)
    inputs = sizes.rows * sizes.input_bytes
    work = max(look.scratch, choice.scratch + choice.outputs)
    memory = {
        "inputs": inputs,
        "masks and labels": pool - inputs,
        "what is seen of the pool": held,
        "work: looking": look.scratch,
        "work: choosing": choice.scratch + choice.outputs,
    }
    return memory, pool + held + work


def _passes(blocked: tuple[Blocked, ...], strategy: Strategy) -> Passes:
    """Returns passes of choosing where it makes any, else the one that looks."""
    if not blocked:
        reads = bool({*PER_ROW} & (strategy.needs | strategy.streams))
        return Passes(int(reads), int(reads), int(reads))
    picks = max(one.num_picks for one in blocked)
    fewest = math.ceil(picks / default_candidates(picks))
    return Passes(fewest, min(_PASSES_OVER_FEWEST * fewest, picks), picks)


def _blocked_flops(blocked: Blocked, passes: int, labelled: int) -> float:
    """Each new centre against each row; a product takes centres in groups."""
    block = min(default_candidates(blocked.num_picks), blocked.num_rows)
    group = min(group_size(), block)
    a_pass = math.ceil(blocked.num_picks / passes / group) * group
    centres = a_pass * passes + labelled
    a_distance = 2 * blocked.num_products + _PER_DISTANCE
    between = passes * block * block
    return float(a_distance * (blocked.num_rows * centres + between))


def _streamed_bytes(strategy: Strategy, sizes: Sizes) -> int:
    a_row = {
        "logits": 4 * sizes.classes,
        "predictive": 4 * sizes.classes,
        "samples": 4 * sizes.classes * sizes.samples,
        "features": 4 * sizes.features,
    }
    return sizes.rows * sum(a_row.get(name, 0) for name in strategy.streams)


def _check_sizes(
    rows: int, classes: int, features: int, batch_size: int, devices: int, samples: int
) -> int:
    least = {"rows": 1, "classes": 2, "features": 0, "devices": 1, "samples": 1}
    given = dict(
        rows=rows, classes=classes, features=features, devices=devices, samples=samples
    )
    for name, number in given.items():
        if number < least[name]:
            raise ValueError(f"{name} is {number}, expected at least {least[name]}.")
    if not 1 <= batch_size <= rows:
        raise ValueError(
            f"batch_size is {batch_size}, expected 1 to {rows}, the number of rows."
        )
    return max(math.ceil(rows / devices), batch_size)


def _bytes(number: int) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min((max(number, 1).bit_length() - 1) // 10, len(units) - 1)
    return f"{number / 1024**power:,.4g} {units[power]}"
