"""What crosses between devices, read off the compiled program."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxal.embeddings import Outer
from jaxal.pools.mesh import find_mesh
from jaxal.selection import (
    K_CENTER,
    blocked_selection,
    gumbel_top_k,
    k_center,
    k_means,
    k_means_plus_plus,
    top_k,
)
from jaxal.selection.engine.block_rules import Rule
from tests.cases_picks import mesh_of

pytestmark = pytest.mark.sharded

NUM_ROWS, NUM_DIMS, NUM_DEVICES = 16384, 16, 4
KEY = jax.eval_shape(lambda: jax.random.key(0))
COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    r"|collective-broadcast|ragged-all-to-all)(-start)?\("
)


CALLED = re.compile(
    r"(body|condition|to_apply|calls|true_computation|false_computation"
    r"|branch_computations)=(?:\{([^}]*)\}|%?([\w.\-]+))"
)


def on_mesh(*shape, dtype=jnp.float32):
    rows = NamedSharding(mesh_of(NUM_DEVICES), PartitionSpec("pool"))
    return jax.ShapeDtypeStruct((NUM_ROWS, *shape), dtype, sharding=rows)


def lower(selector, batch_size, **settings):
    mesh, mask = mesh_of(NUM_DEVICES), on_mesh(dtype=bool)
    is_ranked = selector in (top_k, gumbel_top_k)
    x = on_mesh() if is_ranked else on_mesh(NUM_DIMS)
    masks = (mask,) if is_ranked else (mask, mask)

    def select(key, x, *masks):
        return selector(key, x, *masks, batch_size=batch_size, mesh=mesh, **settings)

    return jax.jit(select).lower(KEY, x, *masks)


def shapes_of(text):
    """Returns the shapes that collectives of a compiled program return."""
    results = " ".join(match[1] for match in COLLECTIVE.finditer(text))
    dims = re.findall(r"\[([\d,]*)\]", results)
    return [tuple(map(int, filter(None, shape.split(",")))) for shape in dims]


def moved_shapes(lowered):
    return shapes_of(lowered.compile().as_text())


def collectives_by_depth(text):
    """Returns how many collectives stand in how many loops, one inside the other."""
    bodies, calls, name, entry = {}, {}, None, None
    for line in text.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line):
            name = head[2]
            entry = name if head[1] else entry
            bodies[name], calls[name] = 0, []
        elif name is not None:
            bodies[name] += bool(COLLECTIVE.search(line))
            for kind, many, one in CALLED.findall(line):
                names = re.findall(r"[\w.\-]+", many) if many else [one]
                is_loop = kind in ("body", "condition")
                calls[name] += [(other, is_loop) for other in names]
    found = {}

    def walk(name, depth):
        if bodies[name]:
            found[depth] = found.get(depth, 0) + bodies[name]
        for other, is_loop in calls[name]:
            walk(other, depth + is_loop)

    walk(entry, 0)
    return found


def outer_k_means_plus_plus(key, x, *masks, **settings):
    return k_means_plus_plus(key, Outer(x[:, :3], x), *masks, **settings)


@pytest.mark.parametrize(
    "selector", [k_center, k_means_plus_plus, outer_k_means_plus_plus]
)
def test_rows_stay_and_collectives_are_those_of_a_pass_not_of_a_pick(selector):
    few = lower(selector, 64, num_candidates=32)
    text = few.compile().as_text()
    shapes = shapes_of(text)
    assert (32, NUM_DIMS) in shapes  # the candidates do cross
    for shape in shapes:
        assert all(size < NUM_ROWS // NUM_DEVICES for size in shape), shape
        assert np.prod(shape) <= 1024 * NUM_DIMS  # a block of labelled centres
    # Loops one deep go over passes and over blocks of labelled rows; those inside
    # them, over chunks of rows, groups of centres and picks, exchange nothing.
    assert set(collectives_by_depth(text)) == {0, 1}

    many = lower(selector, 512, num_candidates=32)
    asked = [lowered.as_text().count('"stablehlo.all_') for lowered in (few, many)]
    assert 0 < asked[0] == asked[1]


def test_an_exchange_at_every_pick_would_be_seen():
    def chatty(uniform, candidates, budget):
        def told(index, values):
            return values + 0 * jax.lax.psum(values[index], "pool")

        values = jax.lax.fori_loop(0, budget, told, candidates.values)
        return K_CENTER.decide(uniform, candidates._replace(values=values), budget)

    rule = Rule(K_CENTER.propose, chatty)
    select = functools.partial(blocked_selection, rule)
    text = lower(select, 64, num_candidates=32).compile().as_text()
    # Its number in the program does not depend on K; where it stands gives it away.
    assert collectives_by_depth(text)[2] == 1


@pytest.mark.parametrize("minibatch_size", [None, 128])
def test_clustering_exchanges_sums_once_a_step(minibatch_size):
    mesh, num_clusters = mesh_of(NUM_DEVICES), 24

    def cluster(key, x, is_used):
        return k_means(
            key,
            x,
            is_used,
            num_clusters=num_clusters,
            minibatch_size=minibatch_size,
            mesh=mesh,
        )

    lowered = jax.jit(cluster).lower(KEY, on_mesh(NUM_DIMS), on_mesh(dtype=bool))
    text = lowered.compile().as_text()
    shapes = shapes_of(text)
    crossing = num_clusters if minibatch_size is None else minibatch_size
    assert (crossing, NUM_DIMS) in shapes  # sums of clusters, or the rows drawn
    for shape in shapes:
        assert all(size < NUM_ROWS // NUM_DEVICES for size in shape), shape
    assert set(collectives_by_depth(text)) == {0, 1}


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
    select = jax.jit(lambda *args: top_k(*args, batch_size=64))
    assert moved_shapes(select.lower(KEY, scores, mask)) == []
    with jax.set_mesh(mesh_of(NUM_DEVICES)):
        shapes = moved_shapes(select.lower(KEY, scores, mask))
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
