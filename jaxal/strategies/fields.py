"""Reading a view: what a strategy named is there, or the caller is told."""

from jax import Array

from jaxal.types import View


def field(view: View, name: str) -> Array:
    """Returns one array of a view.

    Args:
      view: what may be seen of the pool.
      name: a field of `View`.

    Returns:
      The array.

    Raises:
      ValueError: the view was made without it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal import View
      >>> from jaxal.strategies.fields import field
      >>> nobody = jnp.zeros(2, bool)
      >>> field(View(~nobody, nobody, logits=jnp.zeros([2, 3])), "logits").shape
      (2, 3)
    """
    value = getattr(view, name)
    if value is None:
        raise ValueError(
            f"The view has no {name}, which this strategy needs. Pass "
            f"View(is_available, is_labelled, {name}=...)."
        )
    return value
