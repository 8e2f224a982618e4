"""Imports go one way, light modules stay light, and the API is what it says it is."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

import jaxal

PACKAGE = pathlib.Path(jaxal.__file__).parent
BASE = {"types", "checks", "linalg"}
MATHS = {"scores", "selection", "embeddings", "posterior", "pool"}
# What each room may import of jaxal; a room not listed may import nothing.
ALLOWED = {
    "types": set(),
    "checks": set(),
    "linalg": set(),
    "scores": BASE | {"curvature"},
    "embeddings": BASE,
    "pool": BASE,
    "mapping": BASE | {"pool"},
    "posterior": BASE,
    "cluster": BASE | {"pool"},
    "selection": BASE | {"curvature", "embeddings", "pool"},
    "streaming": BASE | {"embeddings", "selection"},
    "planning": BASE | {"selection", "strategies", "viewing"},
    "models": BASE,
    "data": set(),
    "statistics": set(),
    "stopping": set(),
    "pacing": set(),
    "augment": BASE,
    "optimizers": BASE,
    "weights": BASE,
    "metrics": BASE,
    "initial": BASE,
    "oracles": BASE | {"pool"},
    "classifiers": BASE | {"posterior"},
    "committees": BASE | {"learner", "mapping", "metrics", "posterior"},
    "curvature": set(),
    "regression": BASE | {"learner"},
    "laplace": BASE | {"curvature"},
    "strategies": BASE | MATHS | {"laplace"},
    "viewing": BASE | {"mapping", "pool", "pacing"},
    "testing": BASE | {"mapping", "pool", "viewing"},
    "learner": BASE
    | {"augment", "mapping", "metrics", "optimizers", "pool", "posterior", "weights"},
    "answers": BASE | {"pool"},
    "loop": BASE
    | {"answers", "initial", "metrics", "pacing", "pool", "posterior", "viewing"},
}
FREE = {"runs", "__init__", "__main__"}  # on top of everything


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "jaxal" else {node.module}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path):
    room = room_of(path)
    names = {name for name in imports_of(path) if name.split(".")[0] == "jaxal"}
    rooms = {name.split(".")[1] for name in names if "." in name} - {room}
    if room not in FREE:
        assert rooms <= ALLOWED[room], f"{room} imports {rooms - ALLOWED[room]}"
    outside = {name.split(".")[0] for name in imports_of(path)}
    assert not outside & {"experiments", "benchmarks", "tests"}


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("flax", {"models"}),
        ("tensorflow_datasets", {"data"}),
        ("matplotlib", {"runs"}),
        ("orbax", {"runs"}),
        ("sklearn", {"data", "runs"}),
    ],
)
def test_heavy_libraries_have_one_home(library, rooms):
    users = {
        room_of(path)
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


def test_the_public_names_are_sorted_and_exist():
    names = [name for name in jaxal.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(jaxal, name).__doc__, f"{name} has no docstring"
