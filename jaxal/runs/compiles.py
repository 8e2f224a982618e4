"""How many programs XLA has compiled, so that a round can show it compiled none."""

import functools

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"
_count = 0


def count() -> int:
    """Returns the number of compilations of this process since the first call.

    Example:
      >>> import jax
      >>> from jaxal.runs import compiles
      >>> before = compiles.count()
      >>> jax.jit(lambda x: x * 3 + 1)(2.0)
      Array(7., dtype=float32, weak_type=True)
      >>> compiles.count() > before
      True
    """
    _listen()
    return _count


@functools.cache
def _listen() -> None:
    jax.monitoring.register_event_duration_secs_listener(_on_event)


def _on_event(event: str, duration_secs: float, **details: str | int) -> None:
    del duration_secs, details
    global _count
    _count += event == _EVENT
