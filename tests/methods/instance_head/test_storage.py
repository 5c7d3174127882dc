"""The store of rows: what is read and written when, snapshots, damage, and disks that are too
small.
"""

import shutil
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.data.order import order, others
from sslx.method import open_store
from sslx.methods.instance_head import storage as store_module
from sslx.methods.instance_head.storage import Store, StoreSpec

ROWS, WIDTH, BATCH = 40, 3, 8
State = namedtuple("State", ["extra"])
MESH = Mesh(np.asarray(jax.devices()[:1]), ("data",), axis_types=(AxisType.Auto,))


def make(folder, place="file", negatives=0, num_rows=ROWS) -> Store:
    return Store(StoreSpec(place, num_rows, WIDTH, negatives), folder, 0, BATCH, MESH)


@jax.jit
def count_up(state, images, indices):
    """A step that adds 1 to each row it gets, and marks it as done."""
    head = dict(state.extra["head"])
    head["rows"], head["done"] = head["rows"] + 1.0, head["done"] * 0 + images
    return State({"head": head}), {}


def advance(store: Store, first: int, last: int) -> None:
    step = store.around(count_up)
    for number in range(first, last):
        state, _ = step(State({"head": {}}), jnp.int32(number + 1), None)
        assert state.extra == {"head": {}}


def touched(first: int, last: int, negatives: int) -> np.ndarray:
    """How often each row is read in these steps."""
    counts = np.zeros(ROWS)
    for step in range(first, last):
        batch = order(0, step, num_images=ROWS, batch_size=BATCH)
        counts[
            np.concatenate([batch, others(0, step, batch, num_images=ROWS, count=negatives)])
        ] += 1
    return counts


@pytest.mark.parametrize("place", ["host", "file"])
@pytest.mark.parametrize("negatives", [0, 20])  # with 20, every step shares rows with the last
def test_every_step_sees_what_all_steps_before_it_wrote(tmp_path, place, negatives):
    store = make(tmp_path, place, negatives)
    advance(store, 0, 25)
    arrays = store.arrays()
    np.testing.assert_array_equal(arrays["rows"][:, 0, 0], touched(0, 25, negatives))
    assert arrays["done"].max() == 25
    store.close()


def test_a_run_goes_on_from_any_snapshot_that_is_kept(tmp_path):
    store = make(tmp_path, negatives=20)
    assert store.save(0, None) == {}
    sums = {}
    for first, last in ((0, 5), (5, 9), (9, 14)):
        advance(store, first, last)
        sums[last] = store.save(last, max(sums, default=None))
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["14", "9", "working"]
    again = make(tmp_path, negatives=20)  # as after a kill: nobody closed the first
    again.load(9, sums[9])
    advance(again, 9, 14)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, store.arrays()[name])
    again.load(9, sums[9])  # back, and past where it was: nothing of the steps before must stay
    advance(again, 9, 16)
    advance(store, 14, 16)
    np.testing.assert_array_equal(again.arrays()["rows"], store.arrays()["rows"])
    again.load(0, {})
    assert not again.arrays()["rows"].any()
    assert (again.arrays()["done"] == -1).all()
    again.close()
    assert not (tmp_path / "rows" / "working").exists()


def test_a_snapshot_can_be_read_with_numpy(tmp_path):
    store = make(tmp_path, "host")
    advance(store, 0, 3)
    store.save(3, None)
    rows = np.load(tmp_path / "rows" / "3" / "rows.npy", allow_pickle=False)
    np.testing.assert_array_equal(rows, store.arrays()["rows"])


def test_a_snapshot_interrupted_while_it_is_written_costs_nothing(tmp_path, monkeypatch):
    store = make(tmp_path)
    advance(store, 0, 3)
    sums = store.save(3, None)
    advance(store, 3, 6)

    def fails(path, array):
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_write_array", fails)
        with pytest.raises(OSError, match="No space left"):
            store.save(6, 3)
    again = make(tmp_path)
    again.load(3, sums)
    assert again.arrays()["rows"][:, 0, 0].sum() == 3 * BATCH
    advance(again, 3, 6)
    again.save(6, 3)  # the half-written one is not in the way
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["3", "6", "working"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", r"rows/3/rows\.npy is missing or truncated"),
        ("remove", r"rows/3/rows\.npy is missing or truncated"),
        ("flip", r"rows/3/rows\.npy is damaged or of another run: its checksum"),
        ("other run", r"rows/3/rows\.npy is damaged or of another run: its checksum"),
        (
            "other size",
            r"rows\.npy is of another run: it holds float32\(41, 3, 3\), not float32\(40, 3, 3\)",
        ),
    ],
)
def test_a_snapshot_that_is_not_the_one_saved_is_named(tmp_path, damage, message):
    store = make(tmp_path)
    advance(store, 0, 3)
    sums = store.save(3, None)
    path = tmp_path / "rows" / "3" / "rows.npy"
    data = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(data[:-10])
    elif damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "remove":
        shutil.rmtree(path.parent)
    else:
        stranger = make(tmp_path / "b", num_rows=ROWS + (damage == "other size"))
        advance(stranger, 0, 4)
        stranger.save(3, None)
        shutil.copytree(tmp_path / "b" / "rows" / "3", path.parent, dirs_exist_ok=True)
    with pytest.raises(ValueError, match=message):
        store.load(3, sums)


@pytest.mark.parametrize(
    ("place", "copies"), [("host", "2 snapshots"), ("file", "2 snapshots and the working copy")]
)
def test_too_little_disk_is_said_before_the_first_step(tmp_path, place, copies):
    with pytest.raises(
        ValueError,
        match=rf"1,000,000,000,000 rows of 3 features need .* GiB of disk.*{copies}.*free",
    ):
        make(tmp_path, place, num_rows=10**12)


def test_a_row_that_the_head_does_not_have_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "order", lambda *_, **__: np.array([1, 40, 2]))
    store = make(tmp_path, "host")
    with pytest.raises(ValueError, match=r"Step 0 needs row 40; the head has the rows 0 to 39"):
        advance(store, 0, 1)


def test_what_goes_wrong_while_writing_ends_the_run(tmp_path, monkeypatch):
    store = make(tmp_path, "host")

    def fails(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(store, "_write", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        advance(store, 0, 100)


def test_a_method_without_rows_elsewhere_has_no_store(tmp_path):
    assert open_store(object(), tmp_path, 0, BATCH, MESH) is None
    assert not list(tmp_path.iterdir())
