"""Streaming, merging and sharding give the value of one call; errors leave a state as it was."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics import LidarState, SpectrumState, effective_rank, lidar, nesum, rankme
from metrics.arrays import shards
from metrics.scatter import Scatter, scratch

RTOL = 1e-12


def views(n: int, q: int = 5, d: int = 24) -> np.ndarray:
    rng, k = np.random.default_rng(0), np.arange(1, d + 1)
    signal = rng.standard_normal((n, 1, d)) * k**-0.5 + 3
    return (signal + 0.3 * rng.standard_normal((n, q, d)) * k**-0.25).astype(np.float32)


def streamed(kind: type, parts: list[np.ndarray], **options: bool):
    state = kind(**options)
    for part in parts:
        state.add(part)
    return state


@pytest.mark.filterwarnings("ignore:lidar")
@pytest.mark.parametrize("n", [3, 10, 200])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_give_the_value_of_one_call(n, batch):
    rows = views(n)
    parts = [rows[start : start + batch] for start in range(0, n, batch)]
    state = streamed(LidarState, parts)
    assert lidar(state) == pytest.approx(lidar(rows), rel=RTOL)
    assert lidar(state, delta=1e-2, debias=True) == pytest.approx(
        lidar(rows, delta=1e-2, debias=True), rel=RTOL
    )
    assert lidar(state) == pytest.approx(lidar(rows), rel=RTOL), "a value must not change the state"
    assert (state.n, state.q, state.d) == rows.shape


@pytest.mark.parametrize("n", [3, 10, 200])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_spectra_of_batches_are_those_of_one_call(n, batch):
    rows = views(n)[:, 0]
    state = streamed(SpectrumState, [rows[start : start + batch] for start in range(0, n, batch)])
    exact = np.linalg.svd(rows.astype(float), compute_uv=False)
    np.testing.assert_allclose(state.singular_values, exact, rtol=1e-9)
    centred = np.linalg.svd((rows - rows.mean(axis=0, dtype=float)), compute_uv=False)[
        : min(n - 1, 24)
    ]
    np.testing.assert_allclose(state.eigenvalues, centred**2 / (n - 1), rtol=1e-9)
    for metric in (rankme, effective_rank, nesum):
        assert metric(state) == pytest.approx(metric(rows), rel=RTOL)


def test_a_value_between_batches_does_not_disturb_the_rest():
    rows = views(100)
    state, spectra = LidarState(), SpectrumState()
    for part in np.split(rows, 5):
        state.add(part)
        spectra.add(part[:, 0])
        lidar(state, delta=1e-3) if state.n > 24 else None
        assert rankme(spectra) == pytest.approx(rankme(rows[: spectra.n, 0]), rel=RTOL)
    assert lidar(state) == pytest.approx(lidar(rows), rel=RTOL)


@pytest.mark.filterwarnings("ignore:lidar")
@pytest.mark.parametrize("cuts", [(4, 8), (4, 150), (150, 154), (100, 200), (0, 200)])
def test_merged_states_are_the_whole(cuts):
    rows = views(200)
    total, spectrum = LidarState(), SpectrumState()
    for start, end in zip((0, *cuts), (*cuts, 200), strict=True):
        part, single = LidarState(), SpectrumState()
        if end > start:
            part.add(rows[start:end])
            single.add(rows[start:end, 0])
        total.merge(part)
        spectrum.merge(single)
    assert total.n == spectrum.n == 200
    assert lidar(total) == pytest.approx(lidar(rows), rel=RTOL)
    assert rankme(spectrum) == pytest.approx(rankme(rows[:, 0]), rel=RTOL)


@pytest.mark.filterwarnings("ignore:lidar")
@pytest.mark.parametrize("cut", [5, 195])
def test_merging_leaves_the_other_state_alone(cut):
    rows = views(200)
    left, right = streamed(LidarState, [rows[:cut]]), streamed(LidarState, [rows[cut:]])
    before = lidar(right)
    left.merge(right)
    left.add(rows)
    assert lidar(right) == pytest.approx(before, rel=RTOL)


def sharded(array: np.ndarray, devices: int, axis: int = 0) -> jax.Array:
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
    spec = jax.sharding.PartitionSpec(*[None] * axis, "data")
    return jax.device_put(array, jax.NamedSharding(mesh, spec))


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("axis", [0, 2])
def test_sharded_embeddings_give_the_value_of_one_device(devices, axis):
    rows = views(160)
    assert lidar(sharded(rows, devices, axis)) == pytest.approx(lidar(rows), rel=RTOL)
    single = np.ascontiguousarray(rows[:, 0])
    assert rankme(sharded(single, devices, axis // 2)) == pytest.approx(rankme(single), rel=RTOL)


def test_shards_are_parts_in_order_and_replicas_count_once():
    array = np.arange(48.0, dtype=np.float32).reshape(16, 3)
    parts = shards(sharded(array, 8))
    assert [part.shape for part in parts] == [(2, 3)] * 8
    np.testing.assert_array_equal(np.concatenate(parts), array)
    mesh = jax.make_mesh((2, 4), ("data", "copy"))
    halves = jax.device_put(array, jax.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    np.testing.assert_array_equal(np.concatenate(shards(halves)), array)
    assert len(shards(halves)) == 2
    assert lidar(jnp.asarray(views(100))) == pytest.approx(lidar(views(100)), rel=RTOL)


def test_accelerator_products_are_the_same(monkeypatch):
    """With arrays left on their device, as on a GPU, XLA multiplies instead of BLAS."""
    rows = views(200)
    expected = lidar(rows), rankme(rows[:, 0])
    monkeypatch.setattr("metrics.arrays.shards", lambda array: [array])
    assert lidar(jnp.asarray(rows)) == pytest.approx(expected[0], rel=RTOL)
    assert rankme(jnp.asarray(rows[:, 0])) == pytest.approx(expected[1], rel=RTOL)
    monkeypatch.setattr("metrics.arrays.has_float64", lambda array: False)
    value = lidar(jnp.asarray(rows))
    assert value.settings["products"] == "float32"
    assert value == pytest.approx(expected[0], rel=1e-5)
    assert value != expected[0]


WORKER = """
import sys, jax, numpy as np
jax.config.update("jax_platforms", "cpu")
index, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=index)
sys.path[:0] = ["tests/metrics", "."]
from test_states import views
from metrics import LidarState, SpectrumState, lidar, rankme
rows = views(200)
own = rows[:150] if index == 0 else rows[150:]
state, spectrum = LidarState(), SpectrumState()
state.add(own); spectrum.add(own[:, 0])
state.sum_over_processes(); spectrum.sum_over_processes()
late = LidarState()
if index: late.add(rows)
late.sum_over_processes()
assert abs(lidar(late) - lidar(rows)) < 1e-9
wrong = SpectrumState()
wrong.add(rows[:, 0, : 12 + index])
try:
    wrong.sum_over_processes()
except ValueError as error:
    assert "different or no sizes: [(12,), (13,)]" in str(error), error
else:
    raise AssertionError("processes of different width must not be summed")
mesh = jax.make_mesh((2,), ("data",))
split = jax.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
half = rows[100 * index : 100 * index + 100]
whole = jax.make_array_from_process_local_data(split, half, rows.shape)
print(repr(float(lidar(state))), repr(float(rankme(spectrum))), repr(float(lidar(whole))), state.n)
"""


@pytest.mark.slow
def test_processes_join_their_states_and_split_arrays(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([sys.executable, program, str(i), port], **pipes) for i in range(2)]
    results = [worker.communicate(timeout=240) for worker in workers]
    rows = views(200)
    for (out, errors), worker in zip(results, workers, strict=True):
        assert worker.returncode == 0, errors
        one, two, three, count = out.splitlines()[-1].split()
        assert float(one) == pytest.approx(lidar(rows), rel=RTOL)
        assert float(two) == pytest.approx(rankme(rows[:, 0]), rel=RTOL)
        assert float(three) == pytest.approx(lidar(rows), rel=RTOL)
        assert int(count) == 200


def test_wrong_batches_are_refused_and_change_nothing():
    state = streamed(LidarState, [views(60)])
    before = lidar(state)
    spoilt = views(10)
    spoilt[3, 2, 5] = np.nan
    for batch, message in [
        (spoilt, r"1 of 1200 numbers in 1 rows.*\[3, 2, 5\]"),
        (views(10, q=4), "q=4, d=24 after batches with q=5, d=24"),
        (views(10, d=12), "q=5, d=12 after"),
        (views(10)[:, :1], "at least 2 views"),
    ]:
        with pytest.raises(ValueError, match=message):
            state.add(batch)
    fresh = LidarState()
    with pytest.raises(ValueError, match="1 of 1200"):
        fresh.add(spoilt)
    fresh.add(views(60, q=4))  # the layout of a refused batch does not bind
    with pytest.raises(ValueError, match="q=5, d=24 and q=4, d=24"):
        state.merge(streamed(LidarState, [views(10, q=4)]))
    assert lidar(state) == before


def test_wrong_rows_are_refused_and_change_nothing():
    state = streamed(SpectrumState, [views(60)[:, 0]])
    before = rankme(state)
    spoilt = views(10)[:, 0]
    spoilt[3, 5] = np.inf
    for rows, message in [
        (spoilt, r"1 of 240 numbers in 1 rows.*\[3, 5\]"),
        (views(10, d=12)[:, 0], "width 12 after embeddings of width 24"),
        (views(10), r"axes \[n, d\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            state.add(rows)
    with pytest.raises(ValueError, match="24 and 12"):
        state.merge(streamed(SpectrumState, [views(10, d=12)[:, 0]]))
    assert rankme(state) == before


def test_empty_states_say_so():
    with pytest.raises(ValueError, match="at least 2 images.*n=0"):
        lidar(LidarState())
    with pytest.raises(ValueError, match="SpectrumState is empty"):
        rankme(SpectrumState())


def test_scratch_restores_the_lower_triangle_after_an_error_too():
    rng = np.random.default_rng(0)
    matrix = np.asfortranarray(rng.standard_normal((600, 600)))
    before = np.tril(matrix)

    def use() -> None:
        with scratch(matrix) as lent:
            lent[np.tril_indices(600)] = 7
            raise RuntimeError

    with pytest.raises(RuntimeError):
        use()
    np.testing.assert_array_equal(np.tril(matrix), before)


def test_rows_are_kept_while_they_are_few():
    scatter = Scatter(10, centred=True)
    scatter.add(np.ones((5, 10)))
    assert scatter.rows() is not None
    scatter.add(np.zeros((1, 10)))
    assert scatter.rows() is None
