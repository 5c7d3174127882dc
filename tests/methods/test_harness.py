"""Every file in sslx/methods/ through init, learning, features, resume and several devices."""

import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.experiment import import_method
from sslx.method import Batch
from sslx.training.checkpoint import Checkpoints
from sslx.training.state import State
from sslx.views.views import plain_view, training_masks
from tests.methods.harness import (
    IMAGES,
    METHODS,
    VARIANTS,
    Run,
    advance,
    conditions,
    quick_compilation,
    recipe,
    set_up,
)

# Public loss functions that are not called `<...>_loss`.
OTHER_LOSSES = ("info_nce", "nt_xent")
COLLECTIVES = (
    "all-gather(",
    "all-reduce(",
    "reduce-scatter(",
    "collective-permute(",
    "all-to-all(",
)


@pytest.fixture(params=[*METHODS, *VARIANTS])
def name(request):
    return request.param


class Course(NamedTuple):
    """Thirty steps on two devices, which several tests look at."""

    run: Run
    program: str  # the compiled step
    losses: list[float]
    before: Any  # parameters
    sixth: State  # after six steps
    stored: dict[str, np.ndarray]  # what the store had then
    after: State


@functools.cache
def course(name: str) -> Course:
    run = set_up(recipe(name), 2)
    before = jax.device_get(run.state.params)
    program = compiled_step(run)
    sixth, losses = advance(run, run.state, 6)
    kept = jax.device_get(sixth)
    arrays = run.store.arrays() if run.store else {}
    stored = {key: array.copy() for key, array in arrays.items()}
    after, rest = advance(run, sixth, 24)
    return Course(run, program, losses + rest, before, kept, stored, after)


def compiled_step(run: Run) -> str:
    state = run.state
    with conditions(run):
        images, index, _ = run.batches.batch(0)
        if run.store:
            head = state.extra["head"] | run.store._fetch()[1]
            state = state._replace(extra=state.extra | {"head": head})
        program = run.inner.lower(state, images, index).compile().as_text()
    if run.store:
        run.store.load(0, {})  # as if nothing had been fetched
    return program


def assert_equal(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def test_the_methods_are_found():
    assert {"diet", "simclr"} <= set(METHODS)


def test_thirty_steps_lower_the_loss_and_move_every_parameter(name):
    run, _, losses, before, _, _, after = course(name)
    # A queue makes the task harder as it fills, and so does a center that takes away what all
    # scores have in common.
    fields = recipe(name).method
    early = 5 if fields.get("queue") or fields.get("center_momentum") else 0
    assert np.mean(losses[-5:]) < np.mean(losses[early : early + 5])
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after.params), strict=True
    ):
        assert not np.array_equal(old, new), f"{jax.tree_util.keystr(path)} did not move"
    assert int(after.step) == 30


def test_features_are_finite_and_of_eval_mode(name):
    run, *_, after = course(name)
    images = plain_view(IMAGES[:9], run.method.views.crops[0])
    with conditions(run):
        extract = jax.jit(run.method.features)
        features = extract(after.params, after.extra, images[:8])
        # In eval mode an image's features do not depend on the batch around it.
        others = extract(after.params, after.extra, images[1:])
    for layer, shifted in zip(features, others, strict=True):
        if layer is not None:
            assert layer.shape[0] == 8
            assert np.isfinite(layer).all()
            largest = np.abs(layer).max()
            np.testing.assert_allclose(layer[1:], shifted[:-1], rtol=1e-4, atol=1e-4 * largest)
            assert np.std(np.asarray(layer), axis=0).max() > 0


def test_a_run_cut_in_two_equals_the_whole_bitwise(name, tmp_path):
    whole = course(name)
    again = set_up(recipe(name), 2)
    half, first = advance(again, again.state, 3)
    checkpoints = Checkpoints(tmp_path / "c", store=again.store)
    checkpoints.save(3, half, {})
    checkpoints.wait()
    fresh = set_up(recipe(name), 2)
    if fresh.store:
        fresh.store.folder = again.store.folder
    checkpoints = Checkpoints(tmp_path / "c", store=fresh.store)
    restored = checkpoints.restore_latest(fresh.state)
    finished, second = advance(fresh, restored, 3)
    assert_equal(finished, whole.sixth)
    assert first + second == whole.losses[:6]
    if fresh.store:
        assert_equal(fresh.store.arrays(), whole.stored)


@pytest.mark.parametrize("name", ["diet", "sdiet/file"])
def test_streaming_from_the_host_equals_device_memory_bitwise(name):
    whole, streamed = course(name), set_up(recipe(name), 2, resident=False)
    state, losses = advance(streamed, streamed.state, 6)
    assert_equal(state, whole.sixth)
    assert losses == whole.losses[:6]
    streamed.batches.close()


def test_no_collective_stands_inside_a_branch_or_loop(name):
    """XLA orders collectives within one computation only: beside another's, two CPU devices can
    wait for each other.
    """
    inner, outer = course(name).program.split("\nENTRY ")
    assert any(collective in outer for collective in COLLECTIVES)
    assert not any(collective in inner for collective in COLLECTIVES)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_that_trains_is_the_public_function_that_golden_numbers_test(name, monkeypatch):
    """`Method.loss` returns what the module's loss function returns, without factor or addition."""
    module = import_method(name)
    functions = inspect.getmembers(module, inspect.isfunction)
    (loss,) = (
        (key, function)
        for key, function in functions
        if function.__module__ == module.__name__ and (key.endswith("_loss") or key in OTHER_LOSSES)
    )
    config = recipe(name)
    config.flat = True
    calls = []

    def marked(*arguments, **settings):
        value = loss[1](*arguments, **settings)
        calls.append(value.shape)
        return jnp.full_like(value, 1234.5)

    monkeypatch.setattr(module, loss[0], marked)
    run = set_up(config, 1)
    method = run.method
    views = tuple(jnp.ones((8, crop.size, crop.size, 1)) for crop in method.views.crops)
    batch = Batch(views, jnp.arange(8), training_masks(jax.random.key(0), 8, method.views))

    def value(params):
        return method.loss(params, run.state.extra, batch, jax.random.key(1), jnp.int32(0))[0]

    with quick_compilation():
        assert float(jax.jit(value)(run.state.params)) == 1234.5
    assert calls
    assert set(calls) == {()}
