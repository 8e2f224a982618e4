"""Greedy selection from chunks: the picks of the selectors in memory, few passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxal.embeddings import Outer, gradient_embedding
from jaxal.selection import (
    K_CENTER,
    K_MEANS_PLUS_PLUS,
    blocked_selection,
    k_center,
)
from jaxal.selection.engine.by_distance import default_candidates
from jaxal.streaming import (
    Records,
    stream_k_center,
    stream_k_means_plus_plus,
    stream_reservoir,
    stream_selection,
)

N, D, C, K = 1500, 8, 3, 40
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, D)).astype(np.float32)
    features[::3] += 20  # clusters, and an origin that matters
    group = rng.random(N)
    return {
        "features": features,
        "logits": rng.normal(size=(N, C)).astype(np.float32),
        "is_available": group > 0.2,
        "is_labelled": group < 0.05,
        "weights": rng.random(N).astype(np.float32),
    }


RULES = {"k_center": K_CENTER, "k_means_plus_plus": K_MEANS_PLUS_PLUS}
# The rule, whether rows are outer products, and the options of the selector.
CASES = [
    ("k_center", False, set()),
    ("k_center", True, {"first"}),
    ("k_means_plus_plus", True, set()),
    ("k_means_plus_plus", False, {"is_labelled", "weights"}),
]


@pytest.mark.parametrize(("rule", "is_outer", "options"), CASES)
def test_picks_and_passes_are_those_of_memory(pool, rule, is_outer, options):
    rows = pool["features"]
    if is_outer:
        rows = Outer(pool["logits"], rows)
    settings = {name: pool[name] for name in options & {"is_labelled", "weights"}}
    if "first" in options:
        settings["first"] = "largest_norm"
    args = {"is_available": pool["is_available"], "batch_size": K, **settings}
    expected, passes = blocked_selection(
        RULES[rule], KEY, jax.tree.map(jnp.asarray, rows), **_on_device(args)
    )
    found = stream_selection(RULES[rule], KEY, rows, chunk_size=400, **args)
    assert found.selection.indices.tolist() == expected.indices.tolist()
    # Two clusters 57 apart: squares of 3,200 in float32, rounded in another order.
    np.testing.assert_allclose(
        found.selection.scores, expected.scores, rtol=1e-5, atol=2e-3
    )
    # A pass more for the largest norm, which is computed along with others in memory.
    assert found.passes == int(passes) + ("first" in options)
    assert found.passes < K / 2


def _on_device(args):
    is_bare = (str, int)
    return {k: v if isinstance(v, is_bare) else jnp.asarray(v) for k, v in args.items()}


class Shop:
    """A data source as tfds makes them: records by number, several at a time."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def __len__(self):
        return len(self.rows)

    def __getitems__(self, numbers):
        self.asked.append(len(numbers))
        return [{"x": self.rows[i], "name": f"row {i}"} for i in numbers]

    def __getitem__(self, number):
        raise AssertionError("records are asked for one at a time")


def uneven(rows):
    cuts = [0, 1, 400, 400, 730, len(rows)]
    return (rows[a:b] for a, b in zip(cuts, cuts[1:], strict=False))


def test_every_kind_of_source_gives_the_same_picks(pool, tmp_path):
    rows, free = pool["features"], pool["is_available"]
    np.save(tmp_path / "h.npy", rows)
    shop = Shop(rows)
    sources = {
        "memory map": np.load(tmp_path / "h.npy", mmap_mode="r"),
        "slice of one": np.load(tmp_path / "h.npy", mmap_mode="r")[:],
        "data source": Records(shop, lambda record: record["x"]),
        "factory": lambda: uneven(rows),
        "device": jnp.asarray(rows),
    }
    args = {"batch_size": K, "chunk_size": 400}
    expected = k_center(KEY, jnp.asarray(rows), jnp.asarray(free), batch_size=K)
    passes = {}
    for name, source in sources.items():
        found = stream_k_center(KEY, source, free, **args)
        assert found.selection.indices.tolist() == expected.indices.tolist(), name
        passes[name] = found.passes
    factory = passes.pop("factory")
    assert len(set(passes.values())) == 1
    # Rows by number cost a factory a pass: for the origin, the first, every block.
    assert factory > 2 * passes["device"]
    assert max(shop.asked) == 400


def test_a_record_file_is_a_source(pool, tmp_path):
    module = pytest.importorskip("array_record.python.array_record_module")
    data_source = pytest.importorskip("array_record.python.array_record_data_source")
    rows, path = pool["features"], str(tmp_path / "rows.array_record")
    writer = module.ArrayRecordWriter(path, "group_size:7")
    for row in rows:
        writer.write(row.tobytes())
    writer.close()
    records = data_source.ArrayRecordDataSource(path)
    source = Records(records, lambda record: np.frombuffer(record, np.float32))
    args = {"batch_size": K, "chunk_size": 400}
    free = pool["is_available"]
    found = stream_k_center(KEY, source, free, **args)
    expected = stream_k_center(KEY, rows, free, **args)
    assert found.selection.indices.tolist() == expected.selection.indices.tolist()
    assert found.passes == expected.passes
    draw = stream_reservoir(KEY, source, free, **args)
    np.testing.assert_array_equal(draw.rows, rows[draw.selection.indices])


def test_chunks_may_be_embedded_on_the_way(pool):
    logits, features = pool["logits"], pool["features"]
    expected, _ = blocked_selection(
        K_MEANS_PLUS_PLUS,
        KEY,
        gradient_embedding(logits, features),
        jnp.asarray(pool["is_available"]),
        batch_size=K,
    )
    shapes = []

    def badge(chunk):  # called once for each shape, because it is traced
        shapes.append(chunk["logits"].shape[0])
        return gradient_embedding(chunk["logits"], chunk["h"])

    source = {"logits": logits, "h": features}
    args = {"batch_size": K, "embed": badge, "chunk_size": 400}
    found = stream_k_means_plus_plus(KEY, source, pool["is_available"], **args)
    assert found.selection.indices.tolist() == expected.indices.tolist()
    # A chunk (the last one is padded), a sample for the origin, the first row, a block.
    assert set(shapes) == {400, 127, 1, default_candidates(K)}
    count = len(shapes)
    stream_k_means_plus_plus(jax.random.key(8), source, **args)
    assert len(shapes) == count


def test_the_next_round_compiles_nothing(pool):
    traced = []

    def embed(chunk):
        traced.append(chunk.shape)
        return chunk * 1.0

    for num_labelled in (20, 60):
        is_labelled = np.arange(N) < num_labelled
        args = {"batch_size": K, "embed": embed, "chunk_size": 400}
        stream_k_center(KEY, pool["features"], ~is_labelled, is_labelled, **args)
        if num_labelled == 20:
            first = len(traced)
    assert first > 0 and len(traced) == first


def test_every_pass_reports_its_progress(pool):
    reported = []
    found = stream_k_center(
        KEY,
        pool["features"],
        batch_size=K,
        chunk_size=400,
        progress=lambda *told: reported.append(told),
    )
    assert found.passes > 1
    assert sorted({index for index, _, _ in reported}) == list(range(found.passes))
    for index in range(found.passes):
        steps = [told[1:] for told in reported if told[0] == index]
        assert steps == [(0, N), (400, N), (800, N), (1200, N), (N, N)]


def test_a_dry_pool_and_a_pool_of_duplicates(pool):
    few, args = np.arange(N) < 2, {"batch_size": 4, "chunk_size": 400}
    found = stream_k_center(KEY, pool["features"], few, **args)
    assert sorted(found.selection.indices.tolist()) == [0, 1, N, N]
    assert found.selection.is_valid.tolist() == [True, True, False, False]
    nobody = stream_k_center(KEY, pool["features"], few & False, **args)
    assert nobody.selection.indices.tolist() == 4 * [N] and nobody.passes == 0
    same = np.ones((N, D), np.float32)
    for select in (stream_k_center, stream_k_means_plus_plus):
        picks = select(KEY, same, np.arange(N) < 4, **args).selection
        assert sorted(picks.indices.tolist()) == list(range(4))
        assert picks.is_valid.all()
        assert picks.scores[1:].tolist() == [0, 0, 0]


def test_rows_that_are_no_numbers_are_counted(pool):
    rows = pool["features"].copy()
    rows[[3, 700, 1499]] = np.nan
    available = np.ones(N, bool)
    with pytest.raises(ValueError, match=f"3 of {N} rows hold NaN"):
        stream_k_center(KEY, rows, available, batch_size=2, chunk_size=400)
    available[[3, 700, 1499]] = False
    picks = stream_k_center(KEY, rows, available, batch_size=9, chunk_size=400)
    assert available[picks.selection.indices].all()


def test_what_cannot_be_read_again_is_refused_with_the_cure(pool):
    rows = pool["features"]
    with pytest.raises(TypeError, match="returns a fresh generator"):
        stream_k_center(KEY, uneven(rows), batch_size=2)
    once = uneven(rows)
    with pytest.raises(ValueError, match="same iterator a second time"):
        stream_k_center(KEY, lambda: once, batch_size=2)

    parts = [[rows], [rows], [rows], []]

    def exhausted():
        return iter(parts.pop(0) if len(parts) > 1 else [])

    with pytest.raises(ValueError, match="no rows on pass .* exhausted"):
        stream_k_center(KEY, exhausted, batch_size=20, chunk_size=400)
    shrinking = [rows[: N - i] for i in range(5)]
    with pytest.raises(ValueError, match=r"gave 149\d rows on pass .*, expected 1500"):
        stream_k_center(
            KEY, lambda: iter([shrinking.pop(0)]), batch_size=20, chunk_size=400
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch_size": N + 1}, ValueError, "batch_size"),
        ({"is_available": np.ones(N - 1, bool)}, ValueError, "is_available"),
        ({"is_labelled": np.ones(N)}, TypeError, "is_labelled"),
        ({"weights": np.ones(3, np.float32)}, ValueError, "weights"),
        ({"first": "best"}, ValueError, "first"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"source": np.ones([N, 2], int)}, TypeError, "floating"),
        ({"source": 3.0}, TypeError, "memory map"),
        ({"source": np.ones([0, 2])}, ValueError, "no rows"),
        ({"source": Outer(np.ones([4, 1]), np.ones([5, 1]))}, ValueError, "[4, 5]"),
    ],
)
def test_bad_input_is_refused(pool, change, error, message):
    args = {"source": pool["features"], "batch_size": 2, **change}
    with pytest.raises(error, match=message.replace("[", r"\[")):
        stream_k_center(KEY, **args)
