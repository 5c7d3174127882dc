"""DINO against the official code's numbers: loss, center, head, temperature; what a step keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from sslx.experiment import load_method
from sslx.method import Batch
from sslx.methods.dino import dino_loss, prototype_scores, update_center
from sslx.models import heads
from sslx.training.schedules import epoch_linspace
from tests.methods.golden import PRECISIONS, assert_close, load
from tests.methods.harness import advance, quick_compilation, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")

CASES = {"a": (4, 3, (0.04, 0.07, 3, 6), (0, 1, 2)), "b": (2, 4, (0.04, 0.04, 0, 4), (0, 0, 1))}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_three_losses_with_their_centers_equal_the_official_codes(case, precision):
    crops, batch, (start, end, epochs, total), epoch_of_step = CASES[case]
    golden, rtol = load(f"dino_{case}"), PRECISIONS[precision]
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        temperature = epoch_linspace(start, end, epochs, steps_per_epoch=5)
        got = [temperature(5 * epoch + 4) for epoch in range(total)]
        assert_close(got, golden["dino.teacher_temp_schedule"], rtol)
        center = jnp.zeros(golden["in.student"].shape[-1], dtype)

        def loss(student, teacher, center, epoch):
            temperatures = {
                "student_temperature": 0.1,
                "teacher_temperature": temperature(5 * epoch),
            }
            return dino_loss(student, teacher, center, **temperatures)

        gradients = []
        for step, epoch in enumerate(epoch_of_step):
            student = jnp.asarray(golden["in.student"][step], dtype).reshape(crops, batch, -1)
            teacher = jnp.asarray(golden["in.teacher"][step], dtype).reshape(2, batch, -1)
            value, gradient = jax.jit(jax.value_and_grad(loss))(student, teacher, center, epoch)
            assert value.dtype == dtype
            assert_close(value, golden[f"dino.{precision}.loss"][step], rtol)
            gradients.append(gradient.reshape(crops * batch, -1))
            center = update_center(center, teacher, 0.9)
            assert_close(center, golden[f"dino.{precision}.center"][step], rtol)
        if precision == "f64":
            assert_close(gradients[0], golden["dino.f64.grad.student"][0], rtol)
            assert_close(gradients[2], golden["dino.f64.grad.student"][1], rtol)


def test_the_head_equals_the_official_codes_with_all_its_gradients():
    golden = load("dino_head_a")
    mlp = heads.mlp((8, 8, 5), norm=False, bias=True, activation="gelu", init="normal_0.02")
    names = {0: "linear1", 2: "linear2", 4: "linear3"}
    with jax.enable_x64(True):

        def given(name):
            return jnp.asarray(golden[f"in.param.{name}"], jnp.float64)

        layers = {
            ours: {"kernel": given(f"mlp.{theirs}.weight").T, "bias": given(f"mlp.{theirs}.bias")}
            for theirs, ours in names.items()
        }
        last = {
            "direction": given("last_layer.weight_v").T,
            "scale": given("last_layer.weight_g").T,
        }
        x, cotangent = (
            jnp.asarray(golden[f"in.{name}"], jnp.float64) for name in ("x", "cotangent")
        )

        def scores(layers, last, x):
            return prototype_scores(mlp.apply(layers, {}, x, train=True)[0], last)

        assert_close(scores(layers, last, x), golden["dino.f64.out"], 1e-9)
        gradients = jax.jit(
            jax.grad(lambda *given: jnp.sum(scores(*given) * cotangent), (0, 1, 2))
        )(layers, last, x)
        assert_close(gradients[2], golden["dino.f64.grad.x"], 1e-9)
        for theirs, ours in names.items():
            assert_close(
                gradients[0][ours]["kernel"].T,
                golden[f"dino.f64.grad.param.mlp.{theirs}.weight"],
                1e-9,
            )
            assert_close(
                gradients[0][ours]["bias"], golden[f"dino.f64.grad.param.mlp.{theirs}.bias"], 1e-9
            )
        assert_close(
            gradients[1]["direction"].T, golden["dino.f64.grad.param.last_layer.weight_v"], 1e-9
        )
        assert_close(
            gradients[1]["scale"].T, golden["dino.f64.grad.param.last_layer.weight_g"], 1e-9
        )


def test_equal_scores_have_the_loss_of_chance_and_teachers_get_no_gradient():
    temperatures = {"student_temperature": 0.1, "teacher_temperature": 0.04}
    equal = dino_loss(jnp.ones((3, 4, 16)), jnp.ones((2, 4, 16)), jnp.zeros(16), **temperatures)
    np.testing.assert_allclose(equal, np.log(16), rtol=1e-5)
    rng = np.random.default_rng(0)
    student, teacher, center = (
        rng.standard_normal(shape, np.float32) for shape in ((3, 4, 16), (2, 4, 16), 16)
    )
    gradients = jax.grad(lambda t, c: dino_loss(student, t, c, **temperatures), (0, 1))(
        teacher, center
    )
    assert not any(np.any(gradient) for gradient in gradients)


def test_mistakes_are_one_clear_line():
    scores = jnp.zeros((2, 4, 16))
    with pytest.raises(ValueError, match=r"teacher_temperature is 0.*above 0"):
        dino_loss(scores, scores, scores[0, 0], student_temperature=0.1, teacher_temperature=0.0)
    with pytest.raises(ValueError, match="two crops or more"):
        dino_loss(
            scores[:1], scores, scores[0, 0], student_temperature=0.1, teacher_temperature=0.04
        )
    config = recipe("dino")
    config.method.pool, config.model = "class4", base.get_config().model
    with pytest.raises(ValueError, match="pool is 'class4', which is for vision transformers"):
        load_method(config, 100)
    config = recipe("dino")
    config.method.features_of = "both"
    with pytest.raises(ValueError, match="features_of is 'both'; it takes teacher, student"):
        set_up(config, 1)


def test_a_step_moves_teacher_and_center_and_waits_with_the_last_layer():
    run = set_up(recipe("dino"), 2)  # as compiled for the harness
    start = jax.device_get(run.state)
    jax.tree.map(np.testing.assert_array_equal, start.params, start.extra["teacher"]["params"])
    state, _ = advance(run, run.state, 3)  # an epoch, for which the last layer is frozen
    np.testing.assert_array_equal(
        state.params["last"]["direction"], start.params["last"]["direction"]
    )
    before = jax.device_get(state.extra)
    assert np.any(before["center"])
    state, _ = advance(run, state, 1)
    assert not np.array_equal(state.params["last"]["direction"], start.params["last"]["direction"])
    momentum = 1 - (1 - run.method.momentum) * (np.cos(np.pi * 3 / 30) + 1) / 2
    expected = jax.tree.map(
        lambda t, s: momentum * t + (1 - momentum) * np.asarray(s),
        before["teacher"]["params"],
        state.params,
    )
    after = state.extra["teacher"]["params"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), after, expected
    )
    assert not np.array_equal(state.extra["center"], before["center"])


def test_the_loss_reads_the_center_before_this_batch_has_moved_it():
    run = set_up(recipe("dino"), 2)  # as compiled for the harness
    rng = np.random.default_rng(0)
    views = tuple(
        rng.random((16, crop.size, crop.size, 1), np.float32) for crop in run.method.views.crops
    )
    found = {}
    for momentum in (0.9, 0.0):
        method = dataclasses.replace(run.method, center_momentum=momentum)
        with quick_compilation():
            given = (
                run.state.params,
                run.state.extra,
                Batch(views, np.arange(16)),
                jax.random.key(0),
                0,
            )
            loss, (extra, _) = jax.jit(method.loss)(*given)
        found[momentum] = float(loss), np.asarray(extra["center"])
    assert found[0.9][0] == pytest.approx(found[0.0][0], rel=1e-5)
    np.testing.assert_allclose(found[0.9][1], 0.1 * found[0.0][1], rtol=1e-4, atol=1e-7)
