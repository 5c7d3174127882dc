"""Weights and boxes against Pillow, jax.image and NumPy written the direct way."""

import math
import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sslx.views.geometry import (
    BOX_DRAWS,
    blur_rows,
    crop_boxes,
    resample,
    resize_rows,
    sample_boxes,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")
HEIGHT, WIDTH, SIZE = 40, 30, 16
BOXES = np.array(
    [
        [0, 0, 40, 30],
        [3, 5, 10, 12],
        [30, 20, 10, 10],
        [7, 1, 30, 29],
        [0, 29, 1, 1],
        [12, 4, 16, 16],
    ]
)


@pytest.fixture(scope="module")
def image():
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


@partial(jax.jit, static_argnums=1)
def planes(image, interpolation):
    top, left, height, width = jnp.asarray(BOXES.T, jnp.float32)
    upright = jnp.zeros(len(BOXES), bool)
    rows = resize_rows((top, height), SIZE, HEIGHT, upright, interpolation)
    columns = resize_rows((left, width), SIZE, WIDTH, upright, interpolation)
    return resample(jnp.repeat(image[None], len(BOXES), 0), rows, columns)


def cut(image, interpolation="bilinear"):
    return np.stack(planes(image, interpolation), -1)


@pytest.fixture(scope="module")
def views(image):
    return cut(image)


def test_crops_equal_pillow(image, views):
    for (top, left, height, width), view in zip(BOXES, views, strict=True):
        box = (left, top, left + width, top + height)
        pillow = np.asarray(
            Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        )
        difference = abs(view * 255 - pillow)
        assert difference.max() <= 1.01
        assert difference.mean() < 0.4


def test_bicubic_crops_equal_pillow(image):
    """In both of Pillow's modes: exact numbers, and bytes, which it rounds and clips after each of
    the two axes.
    """
    for (top, left, height, width), view in zip(BOXES, cut(image, "bicubic"), strict=True):
        how = {
            "size": (SIZE, SIZE),
            "resample": Image.Resampling.BICUBIC,
            "box": (left, top, left + width, top + height),
        }
        channels = [
            Image.fromarray(image[..., c].astype(np.float32)).resize(**how) for c in range(3)
        ]
        exact = np.stack([np.asarray(channel) for channel in channels], -1)
        np.testing.assert_allclose(view * 255, np.clip(exact, 0, 255), atol=1e-3)
        difference = abs(view * 255 - np.asarray(Image.fromarray(image).resize(**how)))
        assert difference.max() <= 2.01
        assert difference.mean() < 0.5


@pytest.mark.parametrize("size", [5, 64])
def test_bicubic_overshoots_are_clipped(size):
    image = np.where(np.arange(20) < 10, 0, 255).astype(np.uint8)[None, :, None].repeat(20, 0)
    start, extent, upright = jnp.zeros(1), jnp.full(1, 20.0), jnp.zeros(1, bool)

    @jax.jit
    def resized(images):
        rows = resize_rows((start, extent), size, 20, upright, "bicubic")
        return resample(images, rows, rows)[0][0]

    view = np.asarray(resized(image[None]))
    exact = np.asarray(
        Image.fromarray(image[..., 0].astype(np.float32)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
    )
    assert exact.min() < -1
    assert exact.max() > 256
    np.testing.assert_allclose(view, np.clip(exact / 255, 0, 1), atol=1e-5)


def test_crops_equal_scale_and_translate(image, views):
    @jax.jit
    def reference(pixels, scale, shift):
        shape = (SIZE, SIZE, 3)
        return jax.image.scale_and_translate(pixels, shape, (0, 1), scale, shift, "linear")

    for (top, left, height, width), view in zip(BOXES, views, strict=True):
        scale = jnp.array([SIZE / height, SIZE / width])
        shift = -scale * jnp.array([top, left])
        pixels = jnp.asarray(image, jnp.float32) / 255
        expected = reference(pixels, scale, shift)
        np.testing.assert_allclose(view, expected, atol=1e-5)


def test_mirrored_rows_are_the_rows_backwards():
    start, extent = jnp.array([2.0, 2.0]), jnp.array([11.0, 11.0])
    rows = resize_rows((start, extent), 8, 20, jnp.array([False, True]))
    np.testing.assert_allclose(rows[1], rows[0, ::-1], atol=1e-5)
    assert abs(rows[1] - rows[0]).max() > 0.5


@pytest.mark.parametrize("kernel", [0, 3, 7])
def test_blur_equals_a_direct_gaussian(kernel):
    sigmas = np.array([0.3, 0.8, 1.5])
    signal = np.random.default_rng(0).random(16)
    weights = np.asarray(blur_rows(jnp.asarray(sigmas, jnp.float32), 16, kernel))
    for sigma, matrix in zip(sigmas, weights, strict=True):
        reach = kernel // 2 if kernel else 12
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        expected = np.convolve(
            np.pad(signal, reach, mode="reflect"), taps / taps.sum(), mode="valid"
        )
        np.testing.assert_allclose(matrix @ signal, expected, atol=1e-6)


def test_a_tiny_sigma_is_the_identity():
    np.testing.assert_array_equal(blur_rows(jnp.array([0.01]), 9, 0)[0], np.eye(9))


def torchvision_crop(rng, height, width, area, ratio):
    """RandomResizedCrop.get_params as its documentation describes it, one image at a time."""
    for _ in range(10):
        pixels = height * width * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


def largest_gap(a, b):
    """Kolmogorov-Smirnov distance of two samples of integers."""
    values = np.union1d(a, b)
    gaps = np.searchsorted(np.sort(a), values, "right") / len(a) - np.searchsorted(
        np.sort(b), values, "right"
    ) / len(b)
    return abs(gaps).max()


@pytest.mark.parametrize(
    ("shape", "area", "ratio"),
    [
        ((32, 32), (0.08, 1.0), (3 / 4, 4 / 3)),
        ((24, 48), (0.3, 0.9), (3 / 4, 4 / 3)),
        ((40, 20), (0.5, 0.6), (0.6, 1.8)),
    ],
)
def test_crop_boxes_are_distributed_as_torchvision_s(shape, area, ratio):
    count = 20_000
    uniforms = jax.random.uniform(jax.random.key(3), (count, BOX_DRAWS))
    boxes = jax.jit(lambda uniforms: crop_boxes(uniforms, shape, area, ratio))(uniforms)
    ours = np.stack(boxes[:4]).astype(int)
    rng = random.Random(3)
    theirs = np.array([torchvision_crop(rng, *shape, area, ratio) for _ in range(count)]).T
    top, left, height, width = ours
    assert ours.min() >= 0
    assert (top + height).max() <= shape[0]
    assert (left + width).max() <= shape[1]
    for mine, reference in zip(ours, theirs, strict=True):
        assert largest_gap(mine, reference) < 0.02  # 0.1 % level
    assert largest_gap(height * width, theirs[2] * theirs[3]) < 0.02


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 100), (0, 43, 10, 13)), ((100, 9), (44, 0, 12, 9)), ((20, 22), (0, 0, 20, 22))],
)
def test_a_crop_that_never_fits_becomes_the_central_one(shape, expected):
    # At the smallest uniforms every attempt asks for the ratio 3/4 and the whole area: too high or
    # too wide.
    uniforms = jnp.zeros((2, BOX_DRAWS))
    boxes = crop_boxes(uniforms, shape, (1.0, 1.0), (3 / 4, 4 / 3))
    np.testing.assert_array_equal(np.stack(boxes[:4])[:, 0], expected)


def test_the_first_attempt_that_fits_counts():
    uniforms = np.zeros((1, BOX_DRAWS), np.float32)
    uniforms[0, :4] = 0.99, 0.99, 0.125, 0.0  # areas; at the ratio 1/4 the first two are too high
    boxes = sample_boxes(jnp.asarray(uniforms), (20, 20), (20, 20), (0.04, 1.0), (0.25, 4.0))
    assert (float(boxes.height[0]), float(boxes.width[0])) == (
        16.0,
        4.0,
    )  # 64 pixels, a fraction of 0.16
    assert bool(boxes.found[0])


def test_positions_stay_inside_at_the_largest_uniform():
    uniforms = jnp.full((1, BOX_DRAWS), np.nextafter(np.float32(1), np.float32(0)))
    boxes = sample_boxes(uniforms, (33, 33), (33, 33), (0.001, 0.001), (1.0, 1.0))
    assert (float(boxes.top[0]), float(boxes.left[0])) == (32.0, 32.0)
