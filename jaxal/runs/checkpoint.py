"""States of a run on disk, with a checksum over every byte of them."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxal.runs import durable, store
from jaxal.runs.errors import RunError
from jaxal.runs.store import Record

MANIFEST = "manifest.json"
STATE = "state.npz"
_PREFIX = "round-"
_NUMBER = "[0-9]{5}|[1-9][0-9]{5,}"
_TEMPORARY = ".partial-"
_SLACK = 4 << 20  # bytes that file systems and the manifest may take


def save(
    folder: Path, number: int, state: Any, facts: Record, *, keep: int = 2
) -> None:
    """Writes the state after a round, whole or not at all, and forgets old ones.

    Args:
      folder: where the checkpoints of a run lie.
      number: the round that is complete.
      state: a pytree of arrays; typed keys are allowed.
      facts: what must be equal when it is read, such as the pool's fingerprint.
      keep: how many checkpoints to keep, this one included.

    Raises:
      RunError: the disk is full; earlier checkpoints are intact.
    """
    leaves = [_to_host(leaf) for leaf in jax.tree.leaves(state)]
    temporary = folder / f"{_TEMPORARY}{number:05d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_partial(folder)
        _require_space(folder, sum(leaf.nbytes for leaf in leaves) + _SLACK)
        temporary.mkdir()
        np.savez(temporary / STATE, *leaves)
        _write_manifest(temporary, number, state, facts)
        _publish(temporary, folder / f"{_PREFIX}{number:05d}")
    except (OSError, RunError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, RunError):
            raise
        raise RunError(durable.explain(error, folder)) from error
    kept = range(number - keep + 1, number + 1)  # later ones are of an abandoned past
    for other in set(rounds(folder)) - set(kept):
        shutil.rmtree(folder / f"{_PREFIX}{other:05d}")


def rounds(folder: Path) -> list[int]:
    """Returns the rounds that have a checkpoint, damaged or not, in order."""
    if not folder.is_dir():
        return []
    found = (re.fullmatch(f"{_PREFIX}({_NUMBER})", p.name) for p in folder.iterdir())
    return sorted(int(name[1]) for name in found if name)


def load_latest(
    folder: Path,
    template: Any,
    facts: Callable[[int], Record],
    warn: Callable[[str], None],
    *,
    before: int,
) -> tuple[int, Any] | None:
    """Returns the newest undamaged checkpoint.

    Args:
      folder: where the checkpoints of a run lie.
      template: a state of the same structure; its shardings are used.
      facts: from its round to what the checkpoint must have been written with.
      warn: is told about every damaged checkpoint that is passed over, and which of
        its files is to blame.
      before: checkpoints of this round and later ones are not looked at.

    Returns:
      The round that was complete and the state after it, or None without any.

    Raises:
      RunError: an undamaged checkpoint belongs to another pool or network.
    """
    usable = [number for number in rounds(folder) if number < before]
    for number in reversed(usable):
        place = folder / f"{_PREFIX}{number:05d}"
        try:
            manifest = verify(place)
            _require_round(place, manifest, number)
            leaves = _read_state(place / STATE, manifest)
        except _DamagedError as damage:
            warn(f"Checkpoint is damaged: {damage}. Going back to the round before it.")
            continue
        _require_same(place, manifest, template, facts(number))
        return number, _from_host(leaves, template)
    return None


class _DamagedError(Exception):
    """Names the file that is not as it was written."""


def verify(place: Path) -> Record:
    """Returns the manifest of a checkpoint after comparing its state with it."""
    manifest = _read_manifest(place / MANIFEST)
    with _whole(place / STATE) as path:
        if _checksum(path) != manifest.get("state"):
            raise _DamagedError(f"{path} does not match its checksum")
    return manifest


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Says of a file that cannot be read that it is damaged, and how."""
    try:
        yield path
    except FileNotFoundError:
        raise _DamagedError(f"{path} is missing") from None
    except OSError as error:
        raise _DamagedError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _DamagedError(f"{path} is not what was written") from None


def _require_round(place: Path, manifest: Record, number: int) -> None:
    if manifest["round"] != number:
        raise _DamagedError(f"{place} was written as round {manifest['round']}")


def _read_state(path: Path, manifest: Record) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        # NumPy forgets the names of types that are not its own, as bfloat16.
        return [
            file[f"arr_{i}"].view(np.dtype(dtype))
            for i, (_, _, dtype) in enumerate(manifest["leaves"])
        ]


def _write_manifest(place: Path, number: int, state: Any, facts: Record) -> None:
    body = {
        "round": number,
        "facts": facts,
        "leaves": _leaf_table(state),
        "state": _checksum(place / STATE),
    }
    store.write_json(place / MANIFEST, {"body": body, "sha256": _digest(body)})


def _read_manifest(path: Path) -> Record:
    with _whole(path):
        manifest = json.loads(path.read_bytes())
        body, digest = manifest["body"], manifest["sha256"]
        _ = (
            body["round"],
            body["facts"].items(),
            [(n, s, t) for n, s, t in body["leaves"]],
        )
    if _digest(body) != digest:
        raise _DamagedError(f"{path} does not match its checksum")
    return body


def _digest(body: Record) -> str:
    canonical = json.dumps(json.loads(store.encode(body)), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(temporary: Path, place: Path) -> None:
    """Gives a finished checkpoint its name, after its bytes have reached the disk."""
    for path in temporary.iterdir():
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    durable.sync_folder(temporary)
    if place.exists():  # a damaged one, passed over when the run was continued
        shutil.rmtree(place)
    os.rename(temporary, place)
    durable.sync_folder(place.parent)


def _remove_partial(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def _require_space(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise OSError(
            f"a checkpoint takes about {num_bytes >> 20} MiB "
            f"and the disk has {free >> 20} MiB left"
        )


def _leaf_table(state: Any) -> list[list[Any]]:
    """Name, shape and dtype of every array, as the manifest lists them."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [[jax.tree_util.keystr(path), *_describe(leaf)] for path, leaf in leaves]


def _describe(leaf: Any) -> tuple[list[int], str]:
    data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return list(np.shape(data)), np.dtype(jnp.result_type(data)).name


def _require_same(place: Path, manifest: Record, template: Any, facts: Record) -> None:
    for name, expected in facts.items():
        found = manifest["facts"].get(name)
        if found != expected:
            raise RunError(
                f"{place} was written for another {name} ({found}, now {expected}). "
                "Use another --name, or --overwrite to start again."
            )
    pairs = itertools.zip_longest(manifest["leaves"], _leaf_table(template))
    for found, expected in pairs:
        if found != expected:
            raise RunError(
                f"{place} holds {found}, this run expects {expected}. The network or "
                "the optimizer has changed: use another --name, or --overwrite."
            )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _to_host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _from_host(leaves: list[np.ndarray], template: Any) -> Any:
    def place(value: np.ndarray, like: Any) -> Any:
        if _is_key(like):
            return jax.random.wrap_key_data(
                jnp.asarray(value), impl=jax.random.key_impl(like)
            )
        return (
            jax.device_put(value, like.sharding)
            if isinstance(like, jax.Array)
            else value
        )

    like, structure = jax.tree.flatten(template)
    return jax.tree.unflatten(structure, map(place, leaves, like))
