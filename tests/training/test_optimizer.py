import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from sslx.training.optimizer import decays, describe_decay, make_optimizer


@pytest.fixture
def config():
    return common.get_config().optimizer


def run(optimizer, params, gradients):
    state, course = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        course.append(params)
    return course


def test_adamw_with_a_rate_per_step_equals_torch(config):
    golden = np.load("tests/golden/adamw_a.npz", allow_pickle=False)
    rates = jnp.array([0.01, 0.02, 0.005, 0.01])
    with jax.enable_x64(True):
        # Torch's run changes the decay with every step; one step of each decay pins the rule down.
        config.weight_decay, config.decay_min_ndim = 0.04, 2
        optimizer = make_optimizer(config, lambda step: jnp.asarray(rates, jnp.float64)[step])
        params = {name: jnp.asarray(golden[f"in.param.{name}"], jnp.float64) for name in ("w", "b")}
        gradient = {name: jnp.asarray(golden[f"in.grads.{name}"][0], jnp.float64) for name in ("w", "b")}
        (after,) = run(optimizer, params, [gradient])
        for name in ("w", "b"):
            # float32 rates (as in training) limit the comparison
            np.testing.assert_allclose(after[name], golden[f"torch.f64.param.{name}"][0], rtol=1e-7)


def test_sgd_with_coupled_decay_equals_torch(config):
    golden = np.load("tests/golden/sgd_a.npz", allow_pickle=False)
    config.name, config.weight_decay, config.momentum = "sgd", 0.01, 0.9
    rates = [0.1, 0.2, 0.05]
    with jax.enable_x64(True):
        optimizer = make_optimizer(config, lambda step: jnp.asarray(rates, jnp.float64)[step])
        gradients = [{"w": jnp.asarray(g, jnp.float64)} for g in golden["in.grads"]]
        course = run(optimizer, {"w": jnp.asarray(golden["in.param"], jnp.float64)}, gradients)
        for after, expected in zip(course, golden["torch.f64.param"], strict=True):
            np.testing.assert_allclose(after["w"], expected, rtol=1e-9)


def test_decay_is_chosen_by_path_and_by_axes(config):
    params = {"encoder": {"conv": np.zeros((3, 3)), "bn": {"scale": np.zeros(3)}}, "head": np.zeros((5, 3))}
    assert all(jax.tree.leaves(decays(params, config)))
    config.decay_min_ndim, config.no_decay = 2, "^head"
    assert decays(params, config) == {"encoder": {"conv": True, "bn": {"scale": False}}, "head": False}
    text = "\n".join(describe_decay(params, config))
    assert "weight decay 0.05 on 9" in text
    assert "encoder/bn/scale, head" in text


def test_clipping_bounds_the_gradient_not_the_decay(config):
    config.name, config.momentum, config.clip_norm, config.weight_decay = "sgd", 0.0, 1.0, 0.0
    (after,) = run(make_optimizer(config, lambda _: 1.0), {"w": jnp.zeros(4)}, [{"w": jnp.full(4, 100.0)}])
    np.testing.assert_allclose(np.linalg.norm(after["w"]), 1.0, rtol=1e-6)


def test_mistakes_are_explained(config):
    config.name = "adam"
    with pytest.raises(ValueError, match="it takes adamw, sgd, lars"):
        make_optimizer(config, lambda _: 1.0)
    config.no_decay = "("
    with pytest.raises(ValueError, match="is no regular expression"):
        decays({"w": np.zeros(2)}, config)
