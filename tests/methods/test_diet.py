import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.methods.diet import diet_loss, loss_floor


@pytest.mark.parametrize(
    ("num_images", "floor"),
    [(50_000, 9.156), (75_750, 9.488), (100_000, 9.711), (126_689, 9.900), (1_281_167, 11.751), (256, 4.920)],
)
def test_the_floor_is_the_entropy_of_the_smoothed_target(num_images, floor):
    assert loss_floor(num_images, 0.8) == pytest.approx(floor, abs=6e-4)


def test_the_floor_is_reached_at_the_optimal_gap_and_nowhere_lower():
    count, smoothing = 256, 0.8
    gap = math.log((0.2 + 0.8 / count) / (0.8 / count))
    assert gap == pytest.approx(4.17, abs=5e-3)
    index = jnp.arange(count)
    for scale, above in ((1.0, 0.0), (0.9, 1e-4), (1.1, 1e-4)):
        loss = float(diet_loss(jnp.eye(count) * gap * scale, jnp.eye(count), index, label_smoothing=smoothing))
        assert loss >= loss_floor(count, smoothing) + above - 1e-5
        if scale == 1.0:
            assert loss == pytest.approx(loss_floor(count, smoothing), abs=1e-5)
    assert loss_floor(count, 0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
def test_value_and_gradient_equal_the_definition_in_float64(smoothing):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        features, head = (jnp.asarray(generator.normal(size=shape)) for shape in ((6, 5), (11, 5)))
        index = jnp.array([3, 0, 10, 3, 7, 1])
        value, (by_features, by_head) = jax.value_and_grad(diet_loss, (0, 1))(
            features, head, index, label_smoothing=smoothing
        )
        probability = np.exp(features @ head.T)
        probability /= probability.sum(1, keepdims=True)
        target = np.full((6, 11), smoothing / 11)
        target[np.arange(6), index] += 1 - smoothing
        assert float(value) == pytest.approx(-(target * np.log(probability)).sum(1).mean(), rel=1e-12)
        np.testing.assert_allclose(by_features, (probability - target) @ head / 6, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(by_head, (probability - target).T @ features / 6, rtol=1e-10, atol=1e-14)


def test_the_loss_starts_at_the_logarithm_of_the_number_of_images():
    features = jnp.zeros((4, 8))
    assert float(diet_loss(features, jnp.ones((1000, 8)), jnp.arange(4), label_smoothing=0.8)) == pytest.approx(
        math.log(1000)
    )
