"""What must hold for any embeddings: invariances, bounds, and agreement with the definition."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics import (
    LidarState,
    SpectrumState,
    augmented_rankme,
    effective_rank,
    lidar,
    rankme,
    reference,
)

pytestmark = pytest.mark.filterwarnings("ignore:lidar")
checked = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def layouts(draw):
    """n, q, d and a generator, with n below, near and above d."""
    d = draw(st.integers(2, 24))
    n, q = draw(st.integers(2, 3 * d)), draw(st.integers(2, 6))
    return n, q, d, np.random.default_rng(draw(st.integers(0, 2**32)))


def anisotropic(n: int, q: int, d: int, rng: np.random.Generator, decay: float = 0.5) -> np.ndarray:
    k = np.arange(1, d + 1)
    signal = rng.standard_normal((n, 1, d)) * k**-decay
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (signal + 0.4 * rng.standard_normal((n, q, d)) * k**-0.25) @ mixing


def invertible(d: int, rng: np.random.Generator) -> np.ndarray:
    left, right = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2))
    return left * rng.uniform(0.5, 2, d) @ right


@checked
@given(layouts())
def test_order_of_images_and_views_does_not_matter(layout):
    n, q, d, rng = layout
    views = anisotropic(n, q, d, rng)
    order = rng.permuted(np.tile(np.arange(q), (n, 1)), axis=1)
    shuffled = np.take_along_axis(rng.permutation(views), order[:, :, None], axis=1)
    assert lidar(shuffled) == pytest.approx(lidar(views, confidence=None), rel=1e-9)
    assert augmented_rankme(shuffled) == pytest.approx(augmented_rankme(views), rel=1e-9)


@checked
@given(layouts(), st.floats(-100, 100), st.floats(0.01, 100))
def test_translation_rotation_and_scale(layout, offset, scale):
    n, q, d, rng = layout
    views = anisotropic(n, q, d, rng)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    value = lidar(views)
    assert lidar(views + offset) == pytest.approx(value, rel=1e-7)
    assert lidar(views @ rotation) == pytest.approx(value, rel=1e-9)
    assert lidar(scale * views, delta=1e-4 * scale**2) == pytest.approx(value, rel=1e-9)
    assert lidar(scale * views, ridge="relative") == pytest.approx(
        lidar(views, ridge="relative"), rel=1e-9
    )
    plain = views[:, 0]
    assert rankme(scale * plain @ rotation) == pytest.approx(rankme(plain), rel=1e-9)
    assert effective_rank(scale * plain @ rotation + offset) == pytest.approx(
        effective_rank(plain), rel=1e-6
    )


@checked
@given(layouts())
def test_without_ridge_any_invertible_map_and_either_denominator_gives_the_same(layout):
    n, q, d, rng = layout
    n = max(n, d + 1)
    views = anisotropic(n, q, d, rng)
    mapped = views @ invertible(d, rng) + rng.standard_normal(d)
    options = {"delta": 0.0, "eps": 0.0}
    assert lidar(mapped, **options) == pytest.approx(lidar(views, **options), rel=1e-8)
    assert lidar(views, unbiased=False, **options) == pytest.approx(
        lidar(views, **options), rel=1e-10
    )
    assert lidar(mapped, debias=True, **options) == pytest.approx(
        lidar(views, debias=True, **options), rel=1e-7
    )


@checked
@given(layouts(), st.sampled_from([0.0, 1e-6, 1e-4, 1.0]))
def test_bounds(layout, delta):
    n, q, d, rng = layout
    if delta == 0:
        n = max(n, d + 1)
    views = anisotropic(n, q, d, rng)
    for debias in (False, True):
        assert (
            1 - 1e-9
            <= lidar(views, delta=delta, eps=0, debias=debias)
            <= min(n - 1, d) * (1 + 1e-9)
        )
    for rank, limit in (
        (rankme(views[:, 0], eps=0), min(n, d)),
        (effective_rank(views[:, 0]), min(n - 1, d)),
    ):
        assert 1 - 1e-9 <= rank <= limit * (1 + 1e-9)


@checked
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_appended_noise_raises_rankme_and_hardly_lidar(extra, seed):
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((400, 1, 8))
    views = signal + 0.1 * rng.standard_normal((400, 10, 8))
    noisy = np.concatenate([views, rng.standard_normal((400, 10, extra))], axis=-1)
    assert abs(lidar(noisy) - lidar(views)) < 0.3 + 0.02 * extra
    assert rankme(noisy[:, 0]) - rankme(views[:, 0]) > 0.9 * extra


@checked
@given(st.integers(0, 2**32))
def test_ungrouped_views_are_detected(seed):
    rng = np.random.default_rng(seed)
    views = anisotropic(200, 6, 24, rng)
    shuffled = rng.permutation(views.reshape(-1, 24)).reshape(views.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lidar(views)
    with pytest.warns(UserWarning, match="no more alike"):
        assert lidar(shuffled) > lidar(views)


def test_noise_is_detected_among_few_rows_too():
    found = []
    for seed in range(20):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            lidar(np.random.default_rng(seed).standard_normal((8, 2, 40)))
        found.append(any("no more alike" in str(warning.message) for warning in told))
    assert sum(found) >= 18


@checked
@given(layouts(), st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 5))
def test_any_batches_and_any_merge_give_the_value_of_one_call(layout, sizes, merged):
    n, q, d, rng = layout
    views = anisotropic(n, q, d, rng)
    bounds = [0, *np.minimum(np.cumsum(sizes), n), n]
    states = [LidarState(), LidarState()]
    spectra = [SpectrumState(), SpectrumState()]
    for index, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        if end > start:
            states[index > merged].add(views[start:end])
            spectra[index > merged].add(views[start:end, 0])
    states[0].merge(states[1])
    spectra[0].merge(spectra[1])
    assert lidar(states[0]) == pytest.approx(lidar(views), rel=1e-9)
    assert rankme(spectra[0]) == pytest.approx(rankme(views[:, 0]), rel=1e-9)


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("n", [40, 150, 400])
@pytest.mark.parametrize("shape", ["geometric", "power law"])
def test_lidar_keeps_nine_digits_on_decaying_spectra_and_four_with_float32_products(
    condition, n, shape, monkeypatch
):
    rng, d = np.random.default_rng(0), 128
    k = np.arange(d)
    spectrum = (
        condition ** (-k / (d - 1))
        if shape == "geometric"
        else (k + 1) ** (-np.log(condition) / np.log(d))
    )
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0]
    isotropic = rng.standard_normal((n, 1, d)) + 0.3 * rng.standard_normal((n, 8, d))
    views = (isotropic * spectrum @ mixing).astype(np.float32)
    expected = reference.lidar(views.astype(np.float64))
    assert lidar(views) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr("metrics.arrays.shards", lambda array: [array])
    monkeypatch.setattr("metrics.arrays.has_float64", lambda array: False)
    value = lidar(jnp.asarray(views))
    assert value.settings["products"] == "float32"
    assert value == pytest.approx(expected, rel=1e-4)
