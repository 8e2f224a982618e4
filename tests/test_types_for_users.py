"""A user's project that checks its types learns of a mistake before it runs."""

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
WRONG = {
    "loop.init(key, pool, intial=4)": 'argument "intial"',
    "loop.init(pool, key)": "incompatible type",
    "loop.tell(loop.init(key, pool), [0], [1], end_round=False)": '"end_round"',
    "loop.phases.train(key)": '"state"',
    "loop.asks(key, loop.init(key, pool))": '"asks"',
    "jaxal.supervised(model, epoch=3)": '"epoch"',
    "jaxal.make_pool([[1.0]], label=[0])": '"label"',
    'jaxal.active_learner(model, learner, "margin", batch=2)': '"batch"',
    "loop.init(key, pool).pools": '"pools"',
    "jaxal.entropy(logit=pool.inputs)": '"logit"',
    "jaxal.runs.run(loop, pool, None, 'folder', round=3)": '"round"',
    "jaxal.laplace(model, num_sample=3)": '"num_sample"',
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    """What mypy says of every program, by name of its file."""
    folder = tmp_path_factory.mktemp("project")
    programs = {f"readme_{i}.py": block for i, block in enumerate(BLOCKS)}
    programs["right.py"] = HEAD + RIGHT
    for number, line in enumerate(WRONG):
        programs[f"wrong_{number}.py"] = HEAD + line + "\n"
    for name, text in programs.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--check-untyped-defs", "--no-pretty"]
    command += ["--ignore-missing-imports", *programs]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    found = {name: "" for name in programs}
    for line in said.stdout.splitlines():
        name, _, rest = line.partition(":")
        if ": error:" in line:
            found[name] += rest + "\n"
    assert said.returncode == 1, said.stdout + said.stderr
    return found


def test_what_is_right_passes(complaints):
    for name, said in complaints.items():
        if not name.startswith("wrong"):
            assert not said, (name, said)


@pytest.mark.parametrize("number", range(len(WRONG)), ids=WRONG)
def test_a_mistake_is_found(complaints, number):
    expected = list(WRONG.values())[number]
    assert expected in complaints[f"wrong_{number}.py"]
