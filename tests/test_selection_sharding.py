"""What crosses between devices, read off the compiled program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxal.selection import gumbel_top_k, k_center, k_means_plus_plus, top_k
from jaxal.selection.sharding import find_mesh
from tests.cases_picks import mesh_of

NUM_ROWS, NUM_DIMS, NUM_DEVICES = 16384, 16, 4
COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    r"|collective-broadcast|ragged-all-to-all)(-start)?\("
)


def lower(selector, batch_size, **settings):
    mesh = mesh_of(NUM_DEVICES)
    rows = NamedSharding(mesh, PartitionSpec("pool"))
    is_ranked = selector in (top_k, gumbel_top_k)
    shape = (NUM_ROWS,) if is_ranked else (NUM_ROWS, NUM_DIMS)
    x = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=rows)
    mask = jax.ShapeDtypeStruct((NUM_ROWS,), bool, sharding=rows)
    masks = (mask,) if is_ranked else (mask, mask)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def select(key, x, *masks):
        return selector(key, x, *masks, batch_size=batch_size, mesh=mesh, **settings)

    return jax.jit(select).lower(key, x, *masks)


def moved_shapes(lowered):
    """Returns the shapes that collectives of the compiled program return."""
    text = lowered.compile().as_text()
    results = " ".join(match[1] for match in COLLECTIVE.finditer(text))
    dims = re.findall(r"\[([\d,]*)\]", results)
    return [tuple(map(int, filter(None, shape.split(",")))) for shape in dims]


@pytest.mark.parametrize("selector", [k_center, k_means_plus_plus])
def test_no_collective_moves_rows_and_their_number_does_not_grow(selector):
    few = lower(selector, 64, num_candidates=32)
    shapes = moved_shapes(few)
    assert (32, NUM_DIMS) in shapes  # the candidates do cross
    for shape in shapes:
        assert all(size < NUM_ROWS // NUM_DEVICES for size in shape), shape
        assert np.prod(shape) <= 1024 * NUM_DIMS  # a block of labelled centres

    many = lower(selector, 512, num_candidates=32)
    asked = [text.as_text().count('"stablehlo.all_') for text in (few, many)]
    assert 0 < asked[0] == asked[1]


@pytest.mark.parametrize("selector", [top_k, gumbel_top_k])
def test_ranked_selection_moves_candidates_only(selector):
    shapes = moved_shapes(lower(selector, 64))
    assert shapes
    assert all(np.prod(shape) <= NUM_DEVICES * 64 for shape in shapes)


def test_the_mesh_of_sharded_rows_is_found():
    mesh = mesh_of(2)
    scores = np.random.default_rng(0).normal(size=300).astype(np.float32)
    free = np.arange(300) < 290
    spread = jax.device_put((scores, free), NamedSharding(mesh, PartitionSpec("pool")))
    assert find_mesh(None, spread) == mesh
    assert find_mesh(None, (jnp.asarray(scores), jnp.asarray(free))) is None
    assert find_mesh(mesh_of(1), scores) is None
    found = top_k(jax.random.key(0), *spread, batch_size=20)
    assert len(found.indices.sharding.device_set) == 2
    assert found.indices.tolist() == np.argsort(-scores[:290])[:20].tolist()


def test_a_mesh_without_the_axis_is_refused():
    mesh = jax.make_mesh((2,), ("data",))
    with pytest.raises(ValueError, match="pool_mesh"):
        top_k(
            jax.random.key(0), jnp.ones(4), jnp.ones(4, bool), batch_size=1, mesh=mesh
        )


def test_a_traced_selector_learns_the_mesh_from_its_context():
    scores = jax.ShapeDtypeStruct((NUM_ROWS,), jnp.float32)
    mask = jax.ShapeDtypeStruct((NUM_ROWS,), bool)
    key = jax.eval_shape(lambda: jax.random.key(0))
    select = jax.jit(lambda *args: top_k(*args, batch_size=64))
    assert moved_shapes(select.lower(key, scores, mask)) == []
    with jax.set_mesh(mesh_of(NUM_DEVICES)):
        shapes = moved_shapes(select.lower(key, scores, mask))
    assert shapes
    assert all(np.prod(shape) <= NUM_DEVICES * 64 for shape in shapes)


def test_inside_shard_map_rows_are_those_of_one_device():
    mesh, rows = mesh_of(2), PartitionSpec("pool")
    scores = jnp.asarray([1.0, 9.0, 5.0, 3.0, 8.0, 2.0])

    def best(scores):
        free = jnp.ones(3, bool)
        return top_k(jax.random.key(0), scores, free, batch_size=1).indices

    each = jax.shard_map(best, mesh=mesh, in_specs=rows, out_specs=rows)
    assert each(scores).tolist() == [1, 1]
