"""Heads: shapes, biases, norms and initial values; the assertion for a leaf without a rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from sslx.models import initialise
from sslx.models.heads import mlp
from sslx.models.network import from_linen


def names(tree) -> dict[str, set[str]]:
    return {layer: set(leaves) for layer, leaves in tree.items()}


HEADS = {
    "simclr": (
        mlp((64, 16), last_norm=True, init="normal_0.01"),
        {"linear1": {"kernel"}, "bn1": {"scale", "bias"}, "linear2": {"kernel"}, "bn2": {"scale"}},
        {"bn1", "bn2"},
    ),
    "vicreg": (
        mlp((64, 16), bias=True, last_bias=False),
        {"linear1": {"kernel", "bias"}, "bn1": {"scale", "bias"}, "linear2": {"kernel"}},
        {"bn1"},
    ),
    "moco": (
        mlp((64, 16), norm=False, bias=True),
        {"linear1": {"kernel", "bias"}, "linear2": {"kernel", "bias"}},
        set(),
    ),
    "norm without affine": (
        mlp((16,), last_norm=True, last_norm_scale=False),
        {"linear1": {"kernel"}},
        {"bn1"},
    ),
}


@pytest.mark.parametrize("head", HEADS)
def test_layers(head):
    network, layers, norms = HEADS[head]
    params, stats = network.init(jax.random.key(0), (1, 32))
    assert names(params) == layers
    assert set(stats) == norms
    x = np.random.default_rng(0).standard_normal((8, 32), np.float32)
    y, new = jax.jit(lambda x: network.apply(params, stats, x, train=True))(x)
    assert y.shape == (8, network.width) == (8, 16)
    assert jax.tree.structure(new) == jax.tree.structure(stats)


def test_a_head_is_the_plain_formula():
    network = mlp((64, 16), norm=False, bias=True)
    params, stats = network.init(jax.random.key(0), (1, 32))
    x = np.random.default_rng(0).standard_normal((8, 32), np.float32)
    hidden = np.maximum(x @ params["linear1"]["kernel"] + params["linear1"]["bias"], 0)
    want = hidden @ params["linear2"]["kernel"] + params["linear2"]["bias"]
    np.testing.assert_allclose(
        network.apply(params, stats, x, train=False)[0], want, rtol=1e-4, atol=1e-5
    )


def test_the_last_norm_leaves_zero_mean_and_no_relu():
    network = HEADS["simclr"][0]
    params, stats = network.init(jax.random.key(0), (1, 32))
    x = np.random.default_rng(0).standard_normal((256, 32), np.float32)
    y, _ = jax.jit(lambda x: network.apply(params, stats, x, train=True))(x)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0), 1, atol=0.05)


def test_torch_init_is_uniform_in_fan_in_for_kernel_and_bias():
    params, _ = mlp((2000, 50), bias=True).init(jax.random.key(0), (1, 400))
    for layer, fan_in in ((params["linear1"], 400), (params["linear2"], 2000)):
        bound = np.float32(1 / np.sqrt(fan_in))
        assert 0.99 * bound < layer["kernel"].max() <= bound
        assert -bound <= layer["kernel"].min() < -0.99 * bound
        assert layer["kernel"].std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert 0.8 * bound < abs(layer["bias"]).max() <= bound


def test_normal_init_has_its_std_and_no_bias():
    params, _ = mlp((500, 50), bias=True, init="normal_0.01").init(jax.random.key(0), (1, 400))
    assert params["linear1"]["kernel"].std() == pytest.approx(0.01, rel=0.02)
    assert abs(params["linear1"]["kernel"]).max() > 0.04  # not truncated
    assert np.all(params["linear1"]["bias"] == 0)


@pytest.mark.parametrize("init", ["kaiming", "normal", "normal_small", ""])
def test_an_unknown_init_is_named_with_the_allowed_ones(init):
    with pytest.raises(ValueError, match=f"init is '{init}'; it takes 'torch'.*'normal_0.01'"):
        mlp((8,), init=init)


@pytest.mark.parametrize("widths", [(), (8, 0)])
def test_widths_must_be_positive(widths):
    with pytest.raises(ValueError, match="positive output width"):
        mlp(widths)


def test_a_leaf_without_a_rule_is_named():
    class Odd(nn.Module):
        @nn.compact
        def __call__(self, x, train, groups=1):
            return x + self.param("surprise", nn.initializers.zeros, (3,), jnp.float32)

    with pytest.raises(AssertionError, match=r"'surprise' of shape \(3,\)"):
        from_linen(Odd(), initialise.norm_rules("bn"), 3).init(jax.random.key(0), (1, 3))
