"""Imports go one way, light modules stay light, and the API is what it says it is."""

import ast
import graphlib
import os
import pathlib
import subprocess
import sys

import pytest

import jaxal
from tests import public_names

PACKAGE = pathlib.Path(jaxal.__file__).parent
# What each room may import of jaxal besides itself: arrows point one way, downwards.
BASE = {"types", "checks", "doubts", "linalg", "curvature", "modes"}
SELECTION = {"selection", "selection.engine"}
SELECTION |= {"selection.spread", "selection.cover", "selection.joint"}
METHODS = BASE | SELECTION | {"embeddings", "pools", "readings", "registry", "scores"}
ALLOWED = {
    "_importing": set(),
    "types": set(),
    "checks": {"doubts"},
    "doubts": set(),
    "modes": set(),
    "settings": {"checks"},
    "words": {"checks", "settings"},
    "linalg": set(),
    "curvature": {"linalg"},
    "statistics": set(),
    "stopping": {"expressions"},
    "comparisons": {"statistics"},
    "standings": {"comparisons", "statistics"},
    "targets": {"comparisons", "statistics"},
    "pacing": set(),
    "data": set(),
    "metrics": BASE,
    "models": BASE,
    "scores": BASE,
    "pools": BASE,
    "embeddings": BASE | {"pools"},
    "expressions": set(),
    "registry": BASE | {"expressions"},
    "readings": BASE | {"embeddings", "pools"},
    "posteriors": BASE | {"pools", "metrics", "training"},
    "training": BASE | {"pools", "metrics", "posteriors"},
    "selection.engine": BASE | {"embeddings", "pools"},
    "selection.spread": METHODS,
    "selection.cover": METHODS,
    "selection.joint": METHODS,
    "selection": BASE | {"embeddings", "pools"} | SELECTION,
    "strategies": METHODS | {"posteriors"},
    "chunks": BASE | {"pools"},
    "viewing": BASE | {"chunks", "pools", "pacing"},
    "rounds": BASE | {"metrics", "pools", "viewing"},
    "starting": BASE | {"pools", "rounds"},
    "phases": BASE | {"pools", "rounds", "starting", "viewing"},
    "loop": BASE
    | {"metrics", "pacing", "phases", "pools", "posteriors", "rounds", "starting"}
    | {"viewing"},
    "streaming": BASE | {"embeddings", "pools"} | SELECTION,
    "planning": BASE | {"registry", "viewing"} | SELECTION,
    "testing": BASE | {"expressions", "pools", "registry", "viewing"},
    "runs": BASE
    | {
        "data",
        "loop",
        "metrics",
        "pools",
        "rounds",
        "stopping",
    },  # data: its lock files
    "studies": BASE
    | {"data", "metrics", "pools", "rounds", "runs", "stopping", "viewing"},
    "report": {"checks", "comparisons", "metrics", "runs", "settings", "standings"}
    | {"statistics", "targets", "words"},
    "app": None,
    "__init__": None,
    "__main__": None,
}


def room_of(name: str) -> str:
    """The room of a module, by its dotted name below jaxal: the longest that fits."""
    parts = name.split(".")
    rooms = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
    return next(room for room in rooms if room in ALLOWED)


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def imports_of(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module.startswith("jaxal") else {node.module}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path):
    room = room_of(module_of(path))
    names = {name for name in imports_of(path) if name.startswith("jaxal.")}
    rooms = {room_of(name.removeprefix("jaxal.")) for name in names} - {room}
    if ALLOWED[room] is not None:
        assert rooms <= ALLOWED[room], f"{room} imports {rooms - ALLOWED[room]}"
    outside = {name.split(".")[0] for name in imports_of(path)}
    assert not outside & {"experiments", "benchmarks", "tests"}


def test_modules_of_the_command_line_import_each_other_one_way():
    graph = {module_of(path): set() for path in FILES}
    for path in FILES:
        for name in imports_of(path):
            below = name.removeprefix("jaxal.")
            known = [m for m in (below, below.rpartition(".")[0]) if m in graph]
            graph[module_of(path)] |= set(known[:1])
    list(graphlib.TopologicalSorter(graph).static_order())  # raises on a circle


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("flax", {"models"}),
        ("tensorflow_datasets", {"data"}),
        ("matplotlib", {"report"}),
        ("sklearn", {"data", "app", "report"}),
    ],
)
def test_heavy_libraries_have_one_home(library, rooms):
    users = {
        room_of(module_of(path))
        for path in FILES
        if library in {name.split(".")[0] for name in imports_of(path)}
    }
    assert users <= rooms


def test_importing_jaxal_loads_nothing_heavy():
    code = "import jaxal, sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"flax", "matplotlib", "optax", "orbax", "sklearn"}
    heavy |= {"tensorflow", "tensorflow_datasets"}
    assert not heavy & set(found.stdout.split())


# What pyproject.toml asks for, and what JAX brings along.
BARE = {"jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy"}


def test_jax_and_numpy_suffice_to_import_it_and_to_choose():
    code = """
import importlib.metadata, sys
for names in importlib.metadata.packages_distributions(), {"tensorflow": []}:
    for name in names:
        if name not in BARE and name != "jaxal":
            sys.modules[name] = None  # importing it raises ImportError
import jaxal, jax, jax.numpy as jnp
logits = jnp.array([[9.0, 0.0], [0.1, 0.0]])
view = jaxal.View(jnp.ones(2, bool), jnp.zeros(2, bool), logits=logits)
print(jaxal.strategy("margin").select(jax.random.key(0), view, 1).indices)
"""
    code = code.replace("BARE", repr(BARE))
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[1]"


@pytest.mark.parametrize("file", public_names.packages(), ids=str)
def test_public_names_are_those_imported(file):
    text = file.read_text()
    assert text == public_names.with_names(text), "run `python -m tests.public_names`"


def test_the_public_names_are_sorted_and_exist():
    names = [name for name in jaxal.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(jaxal, name).__doc__, f"{name} has no docstring"
