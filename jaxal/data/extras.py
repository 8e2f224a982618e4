"""Optional packages, imported when first needed, with the cure in the error."""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def require(module: str, purpose: str) -> ModuleType:
    """Imports an optional module.

    Args:
      module: its import name.
      purpose: what needs it, for the message.

    Returns:
      The module.

    Raises:
      ImportError: it is not installed; the message says what to install.

    Example:
      >>> require("json", "reading JSON").loads("[1]")
      [1]
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module}, which cannot be imported ({error}). "
            "Install it with: pip install 'jaxal[experiments]'"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silences TensorFlow Datasets' remarks about OpenCV and missing folders."""
    logger = logging.getLogger("absl")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled
