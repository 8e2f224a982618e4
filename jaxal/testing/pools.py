"""What a view is made of: a pool without oddities, and what may be done to it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxal.types import Selection

NUM_ROWS, NUM_DIMS, NUM_CLASSES, NUM_SAMPLES = 40, 8, 3, 4
BATCH_SIZE = 5
NUMBERS = ("logits", "samples", "features", "inputs")  # fields that can hold NaN


class HostilePool(NamedTuple):
    """What a view is made of, whole; on the host."""

    name: str
    logits: np.ndarray  # [N, C]
    samples: np.ndarray  # [S, N, C]
    features: np.ndarray  # [N, D]
    inputs: np.ndarray  # [N, D]
    classes: np.ndarray  # [N] int32, the truth: a view tells it of labelled rows only
    is_available: np.ndarray  # [N] bool
    is_labelled: np.ndarray  # [N] bool

    @property
    def labels(self) -> np.ndarray:
        """Classes of labelled rows, `[N]` int32, -1 elsewhere."""
        return np.where(self.is_labelled, self.classes, -1).astype(np.int32)

    @property
    def predictive(self) -> np.ndarray:
        """Log-probabilities of the mean of the samples' predictions, `[N, C]`."""
        with np.errstate(all="ignore"):  # samples may be NaN, or infinite
            powers = np.exp(self.samples - self.samples.max(-1, keepdims=True))
            return np.log((powers / powers.sum(-1, keepdims=True)).mean(0))

    @property
    def is_masked(self) -> np.ndarray:
        """Rows neither available nor labelled, `[N]` bool."""
        return ~(self.is_available | self.is_labelled)

    def take(self, rows: np.ndarray) -> "HostilePool":
        """Returns the pool of some of the rows, or of all in another order."""
        leaves = {
            name: getattr(self, name)[:, rows]
            if name == "samples"
            else getattr(self, name)[rows]
            for name in self._fields[1:]
        }
        return self._replace(**leaves)

    def masks_of(self, other: "HostilePool") -> "HostilePool":
        """Returns these rows, as far as another pool has them for sale."""
        masks = other.is_available, other.is_labelled
        return self._replace(is_available=masks[0], is_labelled=masks[1])

    def bought(self, selection: Selection) -> "HostilePool":
        """Returns the pool in which the valid picks are labelled."""
        rows = np.asarray(selection.indices)[np.asarray(selection.is_valid)]
        is_bought = np.isin(np.arange(self.is_labelled.size), rows)
        return self._replace(
            is_available=self.is_available & ~is_bought,
            is_labelled=self.is_labelled | is_bought,
        )

    def changed(self, name: str, fn: Any, fields: tuple = NUMBERS) -> "HostilePool":
        """Returns the pool with `fn(values)` for some of its fields."""
        return self._replace(name=name, **{f: fn(getattr(self, f)) for f in fields})


def ordinary(
    seed: int, num_classes: int = NUM_CLASSES, dtype: Any = np.float32
) -> HostilePool:
    """Returns a pool without oddities, every fifth row of it labelled."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(NUM_ROWS, NUM_DIMS))
    logits = features @ rng.normal(size=(NUM_DIMS, num_classes))
    noise = rng.normal(size=(NUM_SAMPLES, NUM_ROWS, num_classes))
    is_labelled = np.arange(NUM_ROWS) % 5 == 0
    return HostilePool(
        name="ordinary",
        logits=logits.astype(np.float32),
        samples=(logits[None] + noise).astype(np.float32),
        features=features.astype(dtype),
        inputs=features.astype(np.float32),
        classes=rng.permutation(np.arange(NUM_ROWS) % num_classes).astype(np.int32),
        is_available=~is_labelled,
        is_labelled=is_labelled,
    )


def filled(pool: HostilePool, value: float) -> HostilePool:
    """Returns the pool with one number everywhere in its masked rows."""

    def fill(values: np.ndarray) -> np.ndarray:
        held = np.asarray(value, values.dtype)
        return np.where(pool.is_masked[:, None], held, values)

    return pool.changed(f"{pool.name}, masked rows of {value:g}", fill)


def refilled(pool: HostilePool) -> HostilePool:
    """Returns the pool with other numbers in its masked rows."""
    rng = np.random.default_rng(0)

    def fill(values: np.ndarray) -> np.ndarray:
        other = 3 * rng.normal(size=values.shape).astype(values.dtype)
        return np.where(pool.is_masked[:, None], other, values)

    return pool.changed(f"{pool.name}, refilled", fill)


def with_nan(pool: HostilePool, field: str) -> HostilePool:
    """Returns the pool with one NaN in an available row, in one field.

    A NaN in `predictive` comes from one in a sample.
    """
    field = "samples" if field == "predictive" else field
    row = np.flatnonzero(pool.is_available)[pool.is_available.sum() // 2]

    def spoil(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[(-1, row, -1) if field == "samples" else (row, -1)] = np.nan
        return values

    return pool.changed(f"a NaN in {field} of row {row}", spoil, (field,))


def in_float64(pool: HostilePool) -> HostilePool:
    """Returns the pool in 64 bits."""
    name = f"{pool.name}, float64"
    return pool.changed(name, lambda values: values.astype(np.float64))


def wide(seed: int, num_classes: int) -> tuple[HostilePool, ...]:
    """Returns pools of many classes and float16 features, to be bought whole."""
    pool = ordinary(seed, num_classes, np.float16)
    name = f"{num_classes:,} classes, float16 features, all rows bought"
    return _with_and_without(pool, name)


def narrow(seed: int) -> tuple[HostilePool, ...]:
    """Returns pools of two classes and bfloat16 features, to buy one row from."""
    pool = ordinary(seed, 2, jnp.bfloat16)
    return _with_and_without(pool, "2 classes, bfloat16 features, one row bought")


def _with_and_without(pool: HostilePool, name: str) -> tuple[HostilePool, ...]:
    nobody = np.zeros(NUM_ROWS, bool)
    without = {"is_available": ~nobody, "is_labelled": nobody}
    return (
        pool._replace(name=name),
        pool._replace(name=f"{name}, nothing labelled", **without),
    )
