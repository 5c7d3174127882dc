import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.state import State


def mesh_of(count: int) -> Mesh:
    return Mesh(np.asarray(jax.devices()[:count]), ("data",), axis_types=(AxisType.Auto,))


def state_of(step: int, devices: int = 2) -> State:
    generator = np.random.default_rng(step)
    params = {
        "w": generator.normal(size=(300, 7)).astype(np.float32),
        "half": jnp.ones(5, jnp.bfloat16) * step,
    }
    optimizer = (
        {"count": np.int32(step).reshape(())},
        {"m": generator.normal(size=100).astype(np.float32)},
    )
    state = State(
        np.asarray(step, np.int32), params, {"stats": {}, "queue": np.arange(step)}, optimizer
    )
    return parallel.replicate(jax.tree.map(jnp.asarray, state), mesh_of(devices))


def assert_same(a: State, b: State) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    for step in (5, 10, 15):
        checkpoints.save(step, state_of(step)._replace(extra=state_of(3).extra), {})
    checkpoints.close()
    return tmp_path / "c"


def like(devices: int = 2) -> State:
    return state_of(3, devices)


def abstract(devices: int):
    state = like()
    return parallel.replicated_like(
        {"params": state.params, "extra": state.extra}, mesh_of(devices)
    )


def expected(step: int) -> State:
    return state_of(step)._replace(extra=state_of(3).extra)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_the_newest_is_restored_bitwise_on_any_number_of_devices(saved, devices):
    checkpoints = Checkpoints(saved)
    state = checkpoints.restore_latest(like(devices))
    checkpoints.close()
    assert_same(state, expected(15))
    assert all(len(leaf.sharding.device_set) == devices for leaf in jax.tree.leaves(state))


def data_files(folder):
    return sorted(
        (path for path in folder.rglob("*") if path.is_file() and "/d/" in str(path)),
        key=lambda p: p.stat().st_size,
    )


def flip(path):
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 2, len(content) // 2 + 4):
        content[position] ^= 0x10
    path.write_bytes(bytes(content))


DAMAGE = {
    "flipped bytes": lambda step: flip(data_files(step)[-1]),
    "truncated file": lambda step: data_files(step)[-1].write_bytes(b""),
    "lost item": lambda step: shutil.rmtree(step / "training"),
    "lost metadata": lambda step: (step / "_CHECKPOINT_METADATA").unlink(),
    "empty folder": lambda step: (shutil.rmtree(step), step.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(saved, damage, capsys):
    DAMAGE[damage](saved / "15")
    checkpoints = Checkpoints(saved)
    state = checkpoints.restore_latest(like())
    assert_same(state, expected(10))
    assert "checkpoint 15 is damaged" in capsys.readouterr().out
    assert checkpoints.steps() == [5, 10]
    checkpoints.save(15, expected(15), {})
    checkpoints.close()
    assert (saved / "damaged-15").exists()
    again = Checkpoints(saved)
    assert_same(again.restore_latest(like()), expected(15))
    again.close()


def test_when_no_checkpoint_can_be_read_nothing_is_set_aside_and_nothing_overwritten(saved):
    """As after a change of the code: the run must not start afresh over a good one."""
    checkpoints = Checkpoints(saved)
    changed = like()._replace(optimizer={"another": jnp.zeros(3)})
    with pytest.raises(
        ValueError, match=r"None of the 3 checkpoints .* can be read; of step 15.*--run"
    ):
        checkpoints.restore_latest(changed)
    assert checkpoints.steps() == [5, 10, 15]
    assert_same(checkpoints.restore_latest(like()), expected(15))
    checkpoints.close()


def test_a_best_that_is_not_monitored_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep="latest+best", best="lidr")
    with pytest.raises(
        ValueError, match=r"config\.checkpoint\.best is 'lidr'; monitored are: lidar, knn"
    ):
        checkpoints.save(1, like(), {"lidar": 1.0, "knn": 0.5})
    checkpoints.close()


def test_evaluation_refuses_a_damaged_model(saved):
    flip(data_files(saved / "10" / "model")[-1])
    checkpoints = Checkpoints(saved)
    with pytest.raises(ValueError, match="checkpoint 10 in .* is damaged"):
        checkpoints.restore_model(10, abstract(2))
    model = checkpoints.restore_model(5, abstract(4))
    np.testing.assert_array_equal(model["params"]["w"], state_of(5).params["w"])
    checkpoints.close()


def test_latest_and_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep="latest+best", best="lidar")
    for step, value in ((1, 3.0), (2, 9.0), (3, 4.0), (4, float("nan"))):
        checkpoints.save(step, like(), {"lidar": value})
    checkpoints.save(5, like(), {})
    checkpoints.close()
    assert Checkpoints(tmp_path / "c").steps() == [2, 5]


def test_the_saved_state_is_the_one_given_although_its_buffers_are_reused(tmp_path):
    """The training step donates the state as soon as `save` returns."""
    advance = jax.jit(
        lambda state: jax.tree.map(lambda leaf: leaf + jnp.ones((), leaf.dtype), state),
        donate_argnums=0,
    )
    checkpoints, state = Checkpoints(tmp_path / "c"), like()
    wanted = {}
    for step in range(6):
        wanted[step] = jax.tree.map(lambda leaf: np.array(leaf), state)
        checkpoints.save(step, state, {})
        for _ in range(3):
            state = advance(state)
    checkpoints.close()
    again = Checkpoints(tmp_path / "c")
    for step, model in wanted.items():
        restored = again.restore_model(step, abstract(2))
        np.testing.assert_array_equal(restored["params"]["w"], model.params["w"])
    again.close()


def test_checksums_are_stored_with_the_checkpoint(saved):
    metadata = json.loads((saved / "10" / "_CHECKPOINT_METADATA").read_text())
    assert "params/w" in json.dumps(metadata)
