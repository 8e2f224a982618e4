"""JAX's own modes are the user's to set: what is written here works under them."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def any_promotion(fn: Callable[P, R]) -> Callable[P, R]:
    """Returns a function that is traced under JAX's usual promotion of dtypes.

    Under `jax_numpy_dtype_promotion="strict"` a mask times a number is refused; that is
    for a program to find its own mistakes, not for it to inherit other people's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.modes import any_promotion
      >>> half = any_promotion(lambda mask: mask * 0.5 + jnp.arange(2))
      >>> with jax.numpy_dtype_promotion("strict"):
      ...   half(jnp.array([True, False])).tolist()
      [0.5, 1.0]
    """

    @functools.wraps(fn)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_dtype_promotion("standard"):
            return fn(*args, **kwargs)

    return tolerant
