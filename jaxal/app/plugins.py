"""Strategies of a person's own, from files named on the command line."""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from jaxal.runs.errors import RunError


def load_plugins(paths: Sequence[Path]) -> None:
    """Imports Python files that register strategies.

    Args:
      paths: files, run as modules of their own.

    Raises:
      RunError: a file does not exist.
    """
    for path in paths:
        spec = importlib.util.spec_from_file_location(f"jaxal_plugin_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise RunError(f"--plugin {path} is not a Python file that can be read.")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def checksums(paths: Sequence[Path]) -> dict[str, str]:
    """Returns a digest of each file, by its name."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in paths}
