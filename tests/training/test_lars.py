import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from sslx.training.optim import make_optimizer
from sslx.training.schedules import Durations

DURATIONS = Durations("3 steps", steps_per_epoch=1, batch_size=1)
RATES = {"lars_a": [3.0, 1.5, 0.5], "lars_b": [2.0, 2.0, 2.0]}
DECAY = {"lars_a": 0.01, "lars_b": 0.0}
# How each reference is written in a config. Plain LARC of lightly leaves alone what has a decay of
# 0: in lars_b, all.
IMPLEMENTATIONS = {
    "vicreg": {"name": "lars", "decay_min_ndim": 2},
    "simclr": {"name": "lars_simclr", "decay_min_ndim": 2},
    "solo": {"name": "larc", "decay_min_ndim": 2},
    "solo_clip": {"name": "larc", "decay_min_ndim": 2, "trust": 0.02, "trust_clip": True},
    "lightly": {"name": "larc", "decay_min_ndim": 2},
    "apex_larc": {"name": "larc", "decay_min_ndim": 0},
}


def course(case, dtype, **fields):
    """The parameters after each step, as arrays [steps, ...] by name."""
    golden = np.load(f"tests/golden/{case}.npz", allow_pickle=False)
    config = base.get_config().optimizer
    config.update({"weight_decay": DECAY[case]} | fields)
    rates = jnp.asarray(RATES[case], dtype)
    optimizer = make_optimizer(config, DURATIONS, rate=lambda step: rates[step])
    names = [
        name.removeprefix("in.param.") for name in golden.files if name.startswith("in.param.")
    ]
    params = {name: jnp.asarray(golden[f"in.param.{name}"], dtype) for name in names}
    state, update, steps = optimizer.init(params), jax.jit(optimizer.update), []
    for step in range(3):
        gradient = {name: jnp.asarray(golden[f"in.grads.{name}"][step], dtype) for name in names}
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        steps.append(params)
    return golden, {name: np.stack([step[name] for step in steps]) for name in names}


@pytest.mark.parametrize("case", RATES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_each_form_equals_its_reference(case, implementation):
    fields = IMPLEMENTATIONS[implementation]
    if (implementation, case) == ("lightly", "lars_b"):
        fields = fields | {"no_decay": "."}
    with jax.enable_x64(True):
        golden, steps = course(case, jnp.float64, **fields)
        assert len(steps) == 5
        for name, values in steps.items():
            np.testing.assert_allclose(
                values, golden[f"{implementation}.f64.param.{name}"], rtol=1e-9, atol=1e-13
            )


@pytest.mark.parametrize("case", RATES)
def test_vicregs_form_equals_its_float32_run(case):
    golden, steps = course(case, jnp.float32, name="lars", decay_min_ndim=2)
    for name, values in steps.items():
        np.testing.assert_allclose(
            values[-1], golden[f"vicreg.f32.param.{name}"], rtol=1e-5, atol=1e-7
        )


def test_a_rate_of_zero_moves_nothing_also_where_the_ratio_is_divided_by_it():
    config = base.get_config().optimizer
    config.update(name="larc", trust_clip=True)
    params = {"w": jnp.ones((2, 2))}
    optimizer = make_optimizer(config, DURATIONS, rate=lambda step: 0.0 * step)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_array_equal(updates["w"], 0)


@pytest.mark.parametrize("name", ["lars", "lars_simclr", "larc"])
def test_the_decay_follows_its_schedule(name):
    """One step with a decay equals the first with it constant; where it changes, the second step
    differs.
    """
    config = base.get_config().optimizer
    config.update(name=name, trust=1.0)
    params, gradient = {"w": jnp.full((2, 2), 3.0)}, {"w": jnp.arange(4.0).reshape(2, 2)}

    def two_steps(decay):
        optimizer, now, values = (
            make_optimizer(config, DURATIONS, rate=lambda _: 0.1, decay=decay),
            params,
            [],
        )
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradient, state, now)
            now = optax.apply_updates(now, updates)
            values.append(np.asarray(now["w"]))
        return values

    constant, changing = two_steps(0.1), two_steps(lambda step: 0.1 + 0.4 * step)
    np.testing.assert_allclose(changing[0], constant[0], rtol=1e-6)
    assert np.abs(changing[1] - constant[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "left"), [("larc", 3.0), ("lars", 3.0 - 0.1 * 3.0), ("lars_simclr", 3.0 - 0.1 * 3.0)]
)
def test_a_gradient_of_zero_decays_except_with_larc(name, left):
    """Where the decay is in the ratio it is all there is, and gets the length of the parameter."""
    config = base.get_config().optimizer
    config.update(name=name, trust=1.0, weight_decay=0.5)
    params = {"w": jnp.full((2, 2), 3.0)}
    optimizer = make_optimizer(config, DURATIONS, rate=lambda _: 0.1)
    updates, _ = optimizer.update({"w": jnp.zeros((2, 2))}, optimizer.init(params), params)
    np.testing.assert_allclose(params["w"] + updates["w"], left, rtol=1e-6)
