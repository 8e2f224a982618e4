"""What a run writes about itself: its settings, and where its results come from."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import jax

from jaxal.runs.store import Record

FORMAT = 1
PROGRAM = "program"  # in the place of a preset, where a run is no command's
ADDED: Record = {
    "schedule": "cosine",
    "budget": None,
    "num_validation": 0,
    "image_size": None,
    "initial_rows": None,
    "prior_precision": 1.0,
    "temperature": "none",
    "measure": "network",
    "learner": "trained",
    "strategy_options": [],
}
"""Settings that runs of earlier versions do not name, and what they amounted to."""
_PACKAGES = ("jax", "jaxlib", "numpy", "flax", "optax")


def environment() -> Record:
    """Returns versions, commit and devices: what results are traced back to."""
    import jaxal

    versions = {name: _version(name) for name in _PACKAGES}
    devices = jax.devices()
    return {
        "jaxal": jaxal.__version__,
        "commit": _commit(Path(jaxal.__file__).parent),
        "python": platform.python_version(),
        **versions,
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "machine": platform.platform(),
    }


def complete(settings: Record) -> Record:
    """Returns the settings of a run with those that did not exist when it began.

    A program says what it knows, and nothing is added to that.

    Example:
      >>> from jaxal.runs.provenance import complete
      >>> complete({"seed": 0})["schedule"]
      'cosine'
    """
    if settings.get("preset") == PROGRAM:
        return settings
    return {**ADDED, **settings}


def differences(old: Record, new: Record) -> list[str]:
    """Returns a line for each field that is not the same in two records.

    Example:
      >>> from jaxal.runs.provenance import differences
      >>> differences({"width": 16, "seed": 0}, {"width": 64, "seed": 0})
      ['width: 16, now 64']
    """
    fields = [*old, *(field for field in new if field not in old)]
    return [
        f"{field}: {old.get(field)!r}, now {new.get(field)!r}"
        for field in fields
        if old.get(field) != new.get(field)
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The commit of the checkout, with "+changes" when files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", "--", "types.py"):  # installed inside another project
            return None
        is_changed = bool(
            git("status", "--porcelain", "--untracked-files=no", "--", ".")
        )
        return git("rev-parse", "HEAD") + ("+changes" if is_changed else "")
    except (OSError, subprocess.TimeoutExpired):
        return None
