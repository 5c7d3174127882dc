import jax
import numpy as np
import pytest

from sslx.training import parallel


def test_the_mesh_has_the_devices_asked_for():
    assert parallel.start(4, 32).size == 4
    assert parallel.start(1, 7).size == 1


def test_without_a_number_the_batch_divides_over_the_cpu_cores(monkeypatch):
    monkeypatch.setattr("sslx.training.parallel.CORES", 6)
    assert parallel.start(0, 128).size == 4  # 6 and 5 do not divide 128
    assert parallel.start(0, 96).size == 6
    assert parallel.start(0, 40).size == 2  # at least 16 images for a device
    assert parallel.start(0, 3).size == 1
    assert parallel.start().size == 6


@pytest.mark.parametrize(
    ("devices", "batch_size", "message"),
    [
        (
            3,
            128,
            r"128 cannot be split evenly over 3 devices\. Use --config\.batch_size=126 or 129",
        ),
        (9, 90, r"config\.devices is 9, but JAX has 8"),
        (-1, 8, r"config\.devices is -1"),
    ],
)
def test_what_cannot_be_split_is_explained(devices, batch_size, message):
    with pytest.raises(ValueError, match=message):
        parallel.start(devices, batch_size)


def test_a_split_batch_asks_for_each_part_once():
    mesh, rows = parallel.start(4, 8), np.arange(24).reshape(8, 3)
    asked = []

    def part(index: slice) -> np.ndarray:
        asked.append((index.start, index.stop))
        return rows[index]

    array = parallel.split_batch(rows.shape, part, mesh)
    assert sorted(asked) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    np.testing.assert_array_equal(array, rows)
    assert len(jax.device_put(parallel.replicate(rows, mesh)).sharding.device_set) == 4


def test_a_gpu_that_jax_does_not_see_stops_the_run(monkeypatch):
    monkeypatch.setattr(
        "sslx.training.parallel.Path.exists", lambda path: str(path) == "/dev/nvidia0"
    )
    parallel.start(1, 8)  # the tests ask for the CPU, as a user does with JAX_PLATFORMS=cpu
    monkeypatch.setattr("sslx.training.parallel._cpu_is_wanted", lambda: False)
    with pytest.raises(ValueError, match=r'pip install "jax\[cuda13\]".*JAX_PLATFORMS=cpu'):
        parallel.start(1, 8)
