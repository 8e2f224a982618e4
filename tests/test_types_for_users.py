"""A user's project that checks its types learns of a mistake before it runs."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from tests.test_readme import BLOCKS

HEAD = """
import jax
import jaxal.runs
import optax
from jaxal import models

pool = jaxal.make_pool(jax.numpy.ones([8, 2]))
model = models.mlp(2, hidden=(4,))
learner = jaxal.supervised(model, optax.adam(1e-3), epochs=3)
loop = jaxal.active_learner(model, learner, jaxal.strategy("margin"), batch_size=2)
key = jax.random.key(0)
"""
RIGHT = """
state = loop.init(key, pool, initial=4)
state, picks, info = loop.ask(key, state)
state = loop.tell(state, picks, [0, 1], ends_round=False)
looked = loop.phases.look(key, state, fitted=loop.phases.fit(key, state))
"""
WRONG = {  # what mypy says of it, and what pyright says
    "loop.init(key, pool, intial=4)": ('argument "intial"', '"intial"'),
    "loop.init(pool, key)": ("incompatible type", "cannot be assigned"),
    "loop.tell(loop.init(key, pool), [0], [1], end_round=False)": ('"end_round"',) * 2,
    "loop.phases.train(key)": ('"state"', '"state"'),
    "loop.asks(key, loop.init(key, pool))": ('"asks"', '"asks"'),
    "jaxal.supervised(model, epoch=3)": ('"epoch"', '"epoch"'),
    "jaxal.make_pool([[1.0]], label=[0])": ('"label"', '"label"'),
    'jaxal.active_learner(model, learner, "margin", batch=2)': ('"batch"', '"batch"'),
    "loop.init(key, pool).pools": ('"pools"', '"pools"'),
    "jaxal.entropy(logit=pool.inputs)": ('"logit"', '"logit"'),
    "jaxal.runs.run(loop, pool, None, 'folder', round=3)": ('"round"', '"round"'),
    "jaxal.laplace(model, num_sample=3)": ('"num_sample"', '"num_sample"'),
}
MYPY = [sys.executable, "-m", "mypy", "--check-untyped-defs", "--no-pretty"]
MYPY += ["--ignore-missing-imports"]
PYRIGHT = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
HAS_PYRIGHT = importlib.util.find_spec("basedpyright") is not None
CHECKERS = [
    MYPY,
    pytest.param(
        PYRIGHT,
        marks=pytest.mark.skipif(not HAS_PYRIGHT, reason="basedpyright is not there"),
    ),
]


@pytest.fixture(scope="module", params=CHECKERS, ids=["mypy", "pyright"])
def checker(request):
    return request.param


@pytest.fixture(scope="module")
def complaints(checker, tmp_path_factory):
    """What is said of every program, by name of its file."""
    folder = tmp_path_factory.mktemp("project")
    programs = {f"readme_{i}.py": block for i, block in enumerate(BLOCKS)}
    programs["right.py"] = HEAD + RIGHT
    for number, line in enumerate(WRONG):
        programs[f"wrong_{number}.py"] = HEAD + line + "\n"
    for name, text in programs.items():
        (folder / name).write_text(text)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    command = [*checker, *programs]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = {name: "" for name in programs}
    for line in said.stdout.splitlines():
        name, _, rest = line.partition(":")
        if " error:" in line:
            found[pathlib.Path(name.strip()).name] += rest + "\n"
    assert said.returncode == 1, said.stdout + said.stderr
    return found


def test_what_is_right_passes(complaints):
    for name, said in complaints.items():
        if not name.startswith("wrong"):
            assert not said, (name, said)


@pytest.mark.parametrize("number", range(len(WRONG)), ids=WRONG)
def test_a_mistake_is_found(checker, complaints, number):
    expected = list(WRONG.values())[number][checker is PYRIGHT]
    assert expected in complaints[f"wrong_{number}.py"]
