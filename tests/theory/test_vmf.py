"""The simulated world: von Mises-Fisher draws and an injective generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax import random

from configs.theory import vmf
from theory.vmf import draw, generate, make_world, sample_vmf

pytestmark = pytest.mark.usefixtures("quick_compilation")


def sample(d: int, kappa: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draws [n, d] around one direction [d]."""
    direction = np.random.default_rng(d).standard_normal(d)
    direction /= np.linalg.norm(direction)
    directions = jnp.tile(jnp.asarray(direction, jnp.float32), (n, 1))
    return np.asarray(sample_vmf(random.key(0), directions, kappa), np.float64), direction


@pytest.mark.parametrize(("d", "kappa"), [(2, 1.0), (5, 10.0), (5, 1e-3), (5, 500.0), (20, 50.0)])
def test_the_mean_and_the_spread_are_those_of_the_distribution(d, kappa):
    draws, direction = sample(d, kappa)
    cosines = draws @ direction
    length = scipy.special.ive(d / 2, kappa) / scipy.special.ive(d / 2 - 1, kappa)
    variance = 1 - length**2 - (d - 1) * length / kappa
    assert np.abs(np.linalg.norm(draws, axis=1) - 1).max() < 1e-5
    assert cosines.mean() == pytest.approx(length, abs=4 * np.sqrt(variance / len(draws)))
    assert cosines.var() == pytest.approx(variance, rel=0.08)
    # Around the direction all tangents are alike: no mean, and a round covariance.
    tangents = draws - np.outer(cosines, direction)
    assert np.linalg.norm(tangents.mean(axis=0)) < 5 / np.sqrt(len(draws))
    spread = np.linalg.eigvalsh(tangents.T @ tangents / len(draws))[
        1:
    ]  # without the direction itself
    assert spread == pytest.approx(np.full(d - 1, (1 - np.mean(cosines**2)) / (d - 1)), rel=0.12)


def test_the_cosine_follows_its_law_in_three_dimensions():
    draws, direction = sample(3, 4.0)
    law = scipy.stats.ks_1samp(
        draws @ direction, lambda w: (np.exp(4 * w) - np.exp(-4)) / (np.exp(4) - np.exp(-4))
    )
    assert law.pvalue > 0.01


@pytest.fixture(scope="module")
def world():
    return make_world(vmf())


def test_the_generator_is_injective_and_nearly_orthogonal_in_each_layer(world):
    assert world.classes.shape == (100, 5)
    assert world.layers.shape == (4, 5, 5)
    np.testing.assert_allclose(np.linalg.norm(world.layers, axis=1), 1, rtol=1e-6)
    assert np.linalg.cond(world.layers).max() < 1.7
    assert len({float(layer[0, 0]) for layer in world.layers}) == 4
    latents = random.normal(random.key(0), (10, 5))
    undone = np.asarray(generate(world.layers, latents), np.float64)
    for number, layer in enumerate(np.asarray(world.layers, np.float64)[::-1]):
        undone = np.where(undone < 0, undone / 0.2, undone) if number else undone
        undone = np.linalg.solve(layer, undone.T).T
    np.testing.assert_allclose(undone, latents, atol=1e-5)


@pytest.mark.parametrize(
    ("conditional", "cosine"), [("vmf", 0.78), ("laplace", 0.33), ("normal", 0.44)]
)
def test_a_latent_lies_near_the_class_of_its_instance(conditional, cosine, world):
    config = vmf()
    config.conditional, config.instances = conditional, 120
    index, latents = jax.jit(lambda key: draw(key, config, world, 20_000))(random.key(0))
    assert set(np.unique(index)) == set(range(120))
    assert float(jnp.linalg.norm(latents, axis=1).max()) == pytest.approx(1, abs=1e-5)
    cosines = np.asarray(jnp.sum(latents * world.classes[index % 100], axis=1))
    assert cosines.mean() == pytest.approx(cosine, abs=0.05)
    assert min(cosines[index % 100 == c].mean() for c in range(100)) > cosine - 0.2
