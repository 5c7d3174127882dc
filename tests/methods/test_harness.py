"""Every file in sslx/methods/ through init, learning, features, resume and several devices."""

import jax
import numpy as np
import pytest

from sslx.training.checkpoint import Checkpoints
from sslx.views.views import plain_view
from tests.methods.harness import (
    IMAGES,
    METHODS,
    VARIANTS,
    advance,
    quick_compilation,
    recipe,
    set_up,
)


@pytest.fixture(params=[*METHODS, *VARIANTS])
def config(request):
    return recipe(request.param)


THREE_MESHES = (
    "barlow_twins",
    "data2vec",
    "diet",
    "dino",
    "ijepa",
    "moco",
    "simclr",
    "swav",
    "vicreg",
)


def assert_equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def test_the_methods_are_found():
    assert {"diet", "simclr"} <= set(METHODS)


def test_thirty_steps_lower_the_loss_and_move_every_parameter(config):
    run = set_up(config, 1)
    before = jax.device_get(run.state.params)
    state, losses = advance(run, run.state, 30)
    # A queue makes the task harder as it fills, and so does a center that takes away what all
    # scores have in common.
    early = 5 if config.method.get("queue") or config.method.get("center_momentum") else 0
    assert np.mean(losses[-5:]) < np.mean(losses[early : early + 5])
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(state.params), strict=True
    ):
        assert not np.array_equal(old, new), f"{jax.tree_util.keystr(path)} did not move"
    assert int(state.step) == 30


def test_features_are_finite_deterministic_and_of_eval_mode(config):
    run = set_up(config, 1)
    images = plain_view(IMAGES[:8], run.method.views.crops[0])
    features = run.method.features(run.state.params, run.state.extra, images)
    alone = run.method.features(run.state.params, run.state.extra, images[:1])
    for layer, single in zip(features, alone, strict=True):
        if layer is not None:
            assert layer.shape[0] == 8
            assert np.isfinite(layer).all()
            # In eval mode an image's features do not depend on the batch around it.
            np.testing.assert_allclose(layer[:1], single, rtol=1e-4, atol=1e-5)
            assert np.std(np.asarray(layer), axis=0).max() > 0


def test_a_run_cut_in_two_equals_the_whole_bitwise(config, tmp_path):
    run = set_up(config, 4)
    whole, losses = advance(run, run.state, 6)
    again = set_up(config, 4)
    half, first = advance(again, again.state, 3)
    checkpoints = Checkpoints(tmp_path / "c", store=again.store)
    checkpoints.save(3, half, {})
    checkpoints.wait()
    fresh = set_up(config, 4)
    if fresh.store:
        fresh.store.folder = again.store.folder
    checkpoints = Checkpoints(tmp_path / "c", store=fresh.store)
    restored = checkpoints.restore_latest(fresh.state)
    finished, second = advance(fresh, restored, 3)
    assert_equal(finished, whole)
    assert first + second == losses
    if run.store:
        assert_equal(fresh.store.arrays(), run.store.arrays())


@pytest.mark.parametrize("name", ["diet", "sdiet/file"])
def test_streaming_from_the_host_equals_device_memory_bitwise(name):
    config = recipe(name)
    resident, streamed = set_up(config, 2), set_up(config, 2, resident=False)
    assert_equal(advance(resident, resident.state, 4), advance(streamed, streamed.state, 4))
    streamed.batches.close()


def test_one_two_and_four_devices_give_the_same_losses(config):
    courses, firsts = [], []
    for devices in (1, 2, 4) if config.method.name in THREE_MESHES else (1, 4):
        run = set_up(config, devices)
        state, first = advance(run, run.state, 1)
        firsts.append(jax.device_get(state.optimizer))
        courses.append(first + advance(run, state, 19)[1])
    # A teacher's temperature of 0.04 and batch norm of features that hardly differ enlarge
    # rounding.
    enlarged = 10 if config.method.name == "dino" else 1
    # After one step the optimizer's moments are the gradient, up to a factor.
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(firsts[0]) if leaf.ndim)
    for several in firsts[1:]:
        for x, y in zip(jax.tree.leaves(several), jax.tree.leaves(firsts[0]), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=enlarged * 1e-6 * largest)
    # Rounding differs with the order of sums, and a ReLU at zero can turn either way: hence not
    # 1e-6.
    for several in courses[1:]:
        np.testing.assert_allclose(several, courses[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(several[:2], courses[0][:2], rtol=1e-5, atol=1e-6)


def test_no_collective_stands_inside_a_branch_or_loop(config):
    """XLA orders collectives within one computation only: beside another's, two CPU devices can
    wait for each other.
    """
    run = set_up(config, 2 if config.method.name in THREE_MESHES else 4)  # as compiled above
    state = run.state
    with jax.set_mesh(run.mesh), quick_compilation(run.flat):
        images, index, _ = run.batches.batch(0)
        if run.store:
            head = state.extra["head"] | run.store._fetch()[1]
            state = state._replace(extra=state.extra | {"head": head})
        program = run.inner.lower(state, images, index).compile().as_text()
    inner, outer = program.split("\nENTRY ")
    collectives = (
        "all-gather(",
        "all-reduce(",
        "reduce-scatter(",
        "collective-permute(",
        "all-to-all(",
    )
    assert any(name in outer for name in collectives)
    assert not any(name in inner for name in collectives)
