"""Colour operations against the standard library's colorsys and Pillow."""

import colorsys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from sslx.views import colour

FACTORS = (0.0, 0.3, 0.8, 1.0, 1.4, 1.9)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)


def planes_of(image, batch):
    return tuple(
        jnp.asarray(np.repeat(image[None, :, :, c], batch, 0) / 255.0, jnp.float32)
        for c in range(3)
    )


def test_hue_equals_colorsys():
    rng = np.random.default_rng(1)
    corners = np.array(
        [[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)] + [[0.5] * 3, [0.2, 0.2, 0.7]]
    )
    pixels = np.concatenate([rng.random((198, 3)), corners]).astype(np.float32)[:208]
    shifts = np.linspace(-0.5, 0.5, 9, dtype=np.float32)
    planes = tuple(
        jnp.asarray(np.tile(pixels[:, c].reshape(1, 16, 13), (9, 1, 1))) for c in range(3)
    )
    turned = np.stack(colour.hue(planes, jnp.asarray(shifts)), -1).reshape(9, 208, 3)
    for shift, row in zip(shifts, turned, strict=True):
        hsv = [colorsys.rgb_to_hsv(*map(float, pixel)) for pixel in pixels]
        expected = [colorsys.hsv_to_rgb((h + float(shift)) % 1.0, s, v) for h, s, v in hsv]
        np.testing.assert_allclose(row, expected, atol=1e-6)
    assert abs(turned[0] - pixels).max() > 0.5


@pytest.mark.parametrize(
    ("operation", "enhancer"),
    [
        (colour.brightness, ImageEnhance.Brightness),
        (colour.contrast, ImageEnhance.Contrast),
        (colour.saturation, ImageEnhance.Color),
    ],
)
def test_blends_equal_pillow_within_its_rounding(operation, enhancer, image):
    ours = np.stack(operation(planes_of(image, len(FACTORS)), jnp.array(FACTORS)), -1) * 255
    for factor, view in zip(FACTORS, ours, strict=True):
        pillow = np.asarray(enhancer(Image.fromarray(image)).enhance(factor), np.float32)
        # Pillow truncates the result and rounds the gray value that it blends with.
        assert abs(view - pillow).max() <= 1.05 + 0.5 * abs(1 - factor)


def test_grayscale_equals_pillow_where_chosen(image):
    planes = planes_of(image, 2)
    views = np.stack(colour.grayscale(planes, jnp.array([True, False])), -1) * 255
    gray = np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    assert abs(views[0] - gray).max() <= 0.51
    np.testing.assert_allclose(views[1], image, atol=1e-4)


def test_solarise_equals_pillow_where_chosen(image):
    views = np.stack(colour.solarise(planes_of(image, 2), jnp.array([True, False]), 0.5), -1) * 255
    np.testing.assert_allclose(views[0], ImageOps.solarize(Image.fromarray(image), 128), atol=1e-4)
    np.testing.assert_allclose(views[1], image, atol=1e-4)


def test_one_plane_has_no_colour_but_has_contrast():
    planes = (jnp.linspace(0.2, 0.6, 32).reshape(2, 4, 4),)
    half = jnp.array([0.5, 0.5])
    assert colour.hue(planes, half) is planes
    assert colour.saturation(planes, half) is planes
    assert colour.grayscale(planes, half > 0) is planes
    mean = planes[0].mean((1, 2), keepdims=True)
    np.testing.assert_allclose(colour.contrast(planes, half)[0], (planes[0] + mean) / 2, atol=1e-6)
