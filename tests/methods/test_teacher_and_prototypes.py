"""What BYOL and SwAV keep beside their parameters."""

import jax
import numpy as np
import pytest

from tests.methods.harness import advance, recipe, set_up


def test_byols_teacher_follows_each_step_by_the_scheduled_share():
    run = set_up(recipe("byol"), 2)  # as compiled for the harness
    teacher, stats = (
        jax.device_get(run.state.extra["teacher"][name]) for name in ("params", "stats")
    )
    assert not np.allclose(
        teacher["encoder"]["linear1"]["kernel"], run.state.params["encoder"]["linear1"]["kernel"]
    )
    state, _ = advance(run, run.state, 3)
    before = jax.device_get(state.extra["teacher"]["params"])
    state, _ = advance(run, state, 1)
    base = run.method.momentum
    momentum = 1 - (1 - base) * (np.cos(np.pi * 3 / 30) + 1) / 2
    student = {name: state.params[name] for name in ("encoder", "projector")}
    expected = jax.tree.map(
        lambda t, s: momentum * t + (1 - momentum) * np.asarray(s), before, student
    )
    after = state.extra["teacher"]["params"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after, expected
    )
    # Its batch statistics are its own forwards', not the student's.
    mean = state.extra["teacher"]["stats"]["encoder"]["bn1"]["mean"]
    assert not np.allclose(mean, stats["encoder"]["bn1"]["mean"])
    assert not np.allclose(mean, state.extra["stats"]["encoder"]["bn1"]["mean"])


def test_swavs_queue_begins_late_and_holds_the_newest_first():
    run = set_up(recipe("swav"), 2)
    state, _ = advance(run, run.state, 2)
    assert not np.any(state.extra["queue"])
    state, _ = advance(run, state, 1)
    first = np.array(state.extra["queue"])
    np.testing.assert_allclose(np.linalg.norm(first[:, :32], axis=-1), 1.0, rtol=1e-5)
    assert not np.any(first[:, 32:])
    state, _ = advance(run, state, 1)
    np.testing.assert_array_equal(state.extra["queue"][:, 32:], first[:, :32])
    assert not np.allclose(state.extra["queue"][:, :32], first[:, :32])


def test_swavs_prototypes_keep_unit_length_and_freeze_on_request():
    config = recipe("swav")
    with config.unlocked():
        config.optimizer.groups.prototypes = {"paths": "^prototypes$", "frozen": "2 steps"}
    run = set_up(config, 1)
    start = np.array(run.state.params["prototypes"])
    state, _ = advance(run, run.state, 2)
    np.testing.assert_allclose(state.params["prototypes"], start, atol=1e-6)
    state, _ = advance(run, state, 2)
    moved = np.array(state.params["prototypes"])
    assert np.abs(moved - start).max() > 1e-4
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"), [({"queue": 50}, "queue is 50; it must be 0 or a multiple of the batch")]
)
def test_mistakes_are_one_clear_line(fields, message):
    config = recipe("swav")
    config.method.update(fields)
    with pytest.raises(ValueError, match=message):
        set_up(config, 1)
