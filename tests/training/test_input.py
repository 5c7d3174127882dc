"""Batches are the same however they are made: on the device, from a mapped file, decoded by threads
or processes.
"""

import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import base
from sslx.data.load import load
from sslx.data.order import order
from sslx.training import parallel
from sslx.training.input import Input

BATCH = 12
WAYS = {
    "resident": (1.0, 1.0, 0),
    "mapped": (0.0, 1.0, 0),
    "threads": (0.0, 0.0, 0),
    "processes": (0.0, 0.0, 2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """50 JPEGs of different sizes in two classes, one of them unreadable."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(51):
        path = root / "train" / ("a" if number % 3 else "b") / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(20, 40, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    path.write_bytes(b"")
    return root


def data_config(folder, decoded_gib: float):
    config = base.get_config().data
    config.update(
        name=f"folder:{folder}", dir=str(folder / "data"), image_size=16, on_corrupt="skip"
    )
    config.decoded_gib = decoded_gib
    return config


def open_input(folder, way: str, seed: int = 5) -> Input:
    resident, decoded, workers = WAYS[way]
    train = load(data_config(folder, decoded)).train
    mesh = parallel.start(1)
    return Input(train.images, seed, BATCH, mesh, resident_bytes=resident * 2**30, workers=workers)


def images_of(batch) -> tuple[np.ndarray, np.ndarray]:
    images, index, waited = batch
    assert waited >= 0
    return (images if len(images) == BATCH else images[index]), np.asarray(index)


@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_gives_the_images_of_the_order_from_any_step(folder, way, capfd):
    expected = load(data_config(folder, 1.0)).train
    batches = open_input(folder, way)
    assert batches.resident == (way == "resident")
    for start in (
        (6,) if way == "processes" else (6, 1)
    ):  # in the middle of the second epoch, and back
        for step in range(start, start + 5):
            images, index = images_of(batches.batch(step))
            np.testing.assert_array_equal(index, order(5, step, num_images=50, batch_size=BATCH))
            np.testing.assert_array_equal(images, expected.images[index])
    batches.close()
    assert "Traceback" not in capfd.readouterr().err


def test_decoding_as_needed_has_the_facts_labels_and_indexing_of_the_kept_array(folder):
    kept, streamed = (load(data_config(folder, gib)).train for gib in (1.0, 0.0))
    assert kept.facts == streamed.facts
    np.testing.assert_array_equal(kept.labels, streamed.labels)
    assert kept.images.shape == streamed.images.shape == (50, 16, 16, 3)
    assert kept.images.nbytes == streamed.images.nbytes
    for rows in (7, -1, slice(3, 30, 4), np.array([9, 2, 2]), np.arange(50) % 7 == 0, slice(0, 0)):
        np.testing.assert_array_equal(streamed.images[rows], kept.images[rows])
    with pytest.raises(IndexError):
        streamed.images[50]


def test_a_file_that_changed_under_a_run_stops_it_with_its_name(folder, tmp_path):
    for number in range(4):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"{number}.png")
    config = data_config(folder, 0.0)
    config.name = f"folder:{tmp_path}"
    images = load(config).train.images
    (tmp_path / "2.png").write_bytes(b"other")
    assert (images[:2][:, 0, 0, 0] == [0, 1]).all()
    with pytest.raises(
        ValueError, match=r"2\.png could be read when the data was checked, and now it cannot"
    ):
        images[:]


PROCESS = """
import sys, jax, numpy as np
jax.config.update("jax_platforms", "cpu")
index, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=index)
from pathlib import Path
from sslx.data.load import load
from sslx.training import parallel
from sslx.training.input import Input
from tests.training.test_input import BATCH, data_config
mesh = parallel.start(0, BATCH)
assert mesh.size == 2
for name, decoded in (("mapped", 1.0), ("threads", 0.0)):
    train = load(data_config(Path(folder), decoded)).train
    read = []
    class Watched:
        shape, nbytes = train.images.shape, train.images.nbytes
        def __len__(self): return len(train.images)
        def __getitem__(self, rows):
            read.append(np.asarray(rows))
            return train.images[rows]
    batches = Input(Watched(), 5, BATCH, mesh, resident_bytes=0)
    for step in range(2, 5):
        images, rows, _ = batches.batch(step)
        assert images.shape == (BATCH, 16, 16, 3) and rows.shape == (BATCH,)
        (own,), (own_rows,) = images.addressable_shards, rows.addressable_shards
        np.savez(f"{folder}/{name}-{step}-{index}.npz", images=own.data, rows=own_rows.data)
    batches.close()
    assert all(len(rows) == BATCH // 2 for rows in read), "a process reads only its own images"
"""


def test_two_processes_read_disjoint_halves_of_the_one_process_batch(folder):
    load(data_config(folder, 1.0))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", PROCESS]
    both = [subprocess.Popen([*command, str(index), port, str(folder)]) for index in range(2)]
    try:
        assert [process.wait(timeout=120) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    alone = open_input(folder, "mapped")
    for step in range(2, 5):
        images, rows = images_of(alone.batch(step))
        for name in ("mapped", "threads"):
            halves = [
                np.load(folder / f"{name}-{step}-{index}.npz", allow_pickle=False)
                for index in range(2)
            ]
            assert not set(halves[0]["rows"]) & set(halves[1]["rows"])
            np.testing.assert_array_equal(np.concatenate([half["rows"] for half in halves]), rows)
            np.testing.assert_array_equal(
                np.concatenate([half["images"] for half in halves]), images
            )
    alone.close()
