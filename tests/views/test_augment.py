"""Whole views: probabilities, strengths, independence, sharding, and what a recipe leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from sslx.views.augment import augment
from sslx.views.crop import Crop

pytestmark = pytest.mark.usefixtures("quick_compilation")
# Nothing but the resize, here to the same size.
WHOLE = {"area": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}
FULL = Crop(
    16,
    jitter=0.8,
    gray=0.2,
    blur=0.5,
    solarise=0.2,
    erase=0.25,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)
KEY = jax.random.key(7)


def random_images(batch, height=16, width=16, channels=3):
    return np.random.default_rng(0).integers(
        0, 256, (batch, height, width, channels), dtype=np.uint8
    )


def test_nothing_chosen_gives_the_image_back_normalised():
    images = random_images(4)
    crop = Crop(16, **WHOLE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))
    expected = (images / 255 - np.array(crop.mean)) / np.array(crop.std)
    view = augment(KEY, images, crop)
    assert view.dtype == jnp.float32
    np.testing.assert_allclose(view, expected, atol=1e-5)


def test_a_bicubic_view_is_pillows():
    images = random_images(3, 20, 20, 1)
    view = augment(KEY, images, Crop(12, **WHOLE, interpolation="bicubic"))
    floats = [Image.fromarray(image[..., 0].astype(np.float32)) for image in images]
    pillow = np.stack([image.resize((12, 12), Image.Resampling.BICUBIC) for image in floats])
    np.testing.assert_allclose(view[..., 0] * 255, np.clip(pillow, 0, 255), atol=1e-3)


def test_a_certain_flip_mirrors_left_and_right():
    images = random_images(3, channels=1)
    view = augment(KEY, images, Crop(16, **WHOLE | {"flip": 1.0}))
    np.testing.assert_allclose(view, images[:, :, ::-1] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "probability"),
    [
        ("flip", 0.5),
        ("jitter", 0.3),
        ("gray", 0.2),
        ("blur", 0.4),
        ("solarise", 0.15),
        ("erase", 0.25),
    ],
)
def test_an_operation_happens_with_its_probability(name, probability):
    count = 4000
    images = np.repeat(random_images(1, 12, 12), count, 0)
    view = augment(KEY, images, Crop(12, **WHOLE | {name: probability}, blur_sigma=(0.5, 2.0)))
    changed = abs(np.asarray(view) - images / 255).max((1, 2, 3)) > 1e-3
    assert (
        abs(changed.mean() - probability) < 4.5 * (probability * (1 - probability) / count) ** 0.5
    )


def test_strength_is_the_half_width_of_a_uniform_factor():
    images = np.full((4000, 2, 2, 3), 51, np.uint8)
    only = {"contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    for strength, low, high, error in ((0.6, 0.4, 1.6, 0.035), (1.4, 0.0, 2.4, 0.07)):
        crop = Crop(2, **WHOLE, jitter=1.0, brightness=strength, **only)
        factors = np.asarray(augment(KEY, images, crop))[:, 0, 0, 0] / 0.2
        assert abs(np.sort(factors) - np.linspace(low, high, 4000)).max() < error


def test_hue_turns_at_most_by_its_strength_and_both_ways():
    images = np.zeros((2000, 2, 2, 3), np.uint8)
    images[..., 0] = 255
    crop = Crop(2, **WHOLE, jitter=1.0, brightness=0, contrast=0, saturation=0, hue=0.1)
    red, green, blue = np.asarray(augment(KEY, images, crop))[:, 0, 0].T
    np.testing.assert_allclose(red, 1.0, atol=1e-6)
    shifts = (green - blue) / 6
    assert abs(np.sort(shifts) - np.linspace(-0.1, 0.1, 2000)).max() < 0.01


def test_erased_boxes_are_black_and_distributed_as_torchvision_s():
    count, size = 6000, 24
    images = np.full((count, size, size, 3), 255, np.uint8)
    crop = Crop(size, **WHOLE, erase=1.0, mean=(0.5,), std=(0.25,))
    view = np.asarray(augment(KEY, images, crop))
    assert set(np.unique(view)) == {-2.0, 2.0}
    erased = view[..., 0] == -2.0
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    np.testing.assert_array_equal(erased.sum((1, 2)), heights * widths)  # one full rectangle each
    expected = torchvision_erasing(
        np.random.default_rng(0), count, size, crop.erase_area, crop.erase_ratio
    )
    for ours, theirs in zip((heights, widths), expected.T, strict=True):
        np.testing.assert_allclose(
            np.quantile(ours, (0.1, 0.5, 0.9)), np.quantile(theirs, (0.1, 0.5, 0.9)), atol=1
        )
        np.testing.assert_allclose(ours.mean(), theirs.mean(), rtol=0.03)
    np.testing.assert_allclose((heights * widths).mean(), expected.prod(1).mean(), rtol=0.03)
    np.testing.assert_allclose(
        np.log(heights / widths).std(), np.log(expected[:, 0] / expected[:, 1]).std(), rtol=0.04
    )


def torchvision_erasing(rng, count, size, area, ratio):
    """Heights and widths that RandomErasing.get_params draws, as its documentation describes it."""
    boxes = []
    while len(boxes) < count:
        pixels, aspect = size * size * rng.uniform(*area), np.exp(rng.uniform(*np.log(ratio)))
        height, width = round(np.sqrt(pixels * aspect)), round(np.sqrt(pixels / aspect))
        if height < size and width < size:
            boxes.append((height, width))
    return np.array(boxes)


def test_the_same_image_twice_gives_two_views_and_neighbours_do_not_matter():
    images = np.repeat(random_images(1), 16, 0)
    views = np.asarray(augment(KEY, images, FULL))
    gaps = abs(views[:, None] - views[None]).mean((2, 3, 4))
    assert gaps[~np.eye(16, dtype=bool)].min() > 0.05
    images[0] = 255 - images[0]
    np.testing.assert_array_equal(np.asarray(augment(KEY, images, FULL))[1:], views[1:])


def test_the_key_decides():
    images = random_images(16)
    first = np.asarray(augment(KEY, images, FULL))
    np.testing.assert_array_equal(augment(KEY, images, FULL), first)
    assert abs(np.asarray(augment(jax.random.key(8), images, FULL)) - first).mean() > 0.1


def test_values_stay_in_the_unit_interval_on_images_that_are_not_square():
    images = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (64, 20, 30, 3))
    crop = Crop(
        16,
        jitter=1.0,
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.5,
        blur=0.5,
        solarise=0.5,
    )
    view = np.asarray(augment(KEY, images, crop))
    assert view.shape == (64, 16, 16, 3)
    assert 0.0 <= view.min() < 0.01
    assert 0.99 < view.max() <= 1.0


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_any_number_of_devices_gives_the_same_views(devices):
    images = random_images(16)
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    views = augment(KEY, jax.device_put(images, rows), FULL)
    assert views.sharding.is_equivalent_to(rows, views.ndim)
    np.testing.assert_allclose(views, augment(KEY, images, FULL), atol=1e-5)


def test_removing_an_operation_leaves_the_draws_of_the_others():
    # Already gray, so that saturation changes nothing.
    images = np.repeat(random_images(32, channels=1), 3, -1)
    common = {"size": 16, "blur": 0.5, "solarise": 0.5}
    more = {"jitter": 0.7, "brightness": 0, "contrast": 0, "hue": 0, "erase": 0.5}
    kept = np.asarray(augment(KEY, images, Crop(**common)))
    added = np.asarray(augment(KEY, images, Crop(**common, **more)))
    same = abs(kept - added) < 1e-5
    assert 0.75 < same.mean() < 0.99
    assert np.all(added[~same] == 0.0)


def image_operations(crop, channels):
    """Number of traced operations that make an array of the size of the view."""
    program = jax.make_jaxpr(lambda images: augment(KEY, images, crop))(
        random_images(2, channels=channels)
    )
    return str(program).count("f32[2,16,16] =")


def test_operations_of_probability_or_strength_zero_leave_the_program():
    counts = [
        image_operations(crop, 3)
        for crop in (Crop(16), Crop(16, jitter=0.5, hue=0.0), Crop(16, jitter=0.5))
    ]
    assert 0 < counts[0] < counts[1] < counts[2]
    assert image_operations(Crop(16, jitter=0.0, hue=0.5, blur_kernel=9), 3) == counts[0]


def test_one_channel_pays_for_no_colour():
    full = Crop(16, jitter=0.5, gray=0.5, blur=0.5, solarise=0.5, erase=0.5)
    without = Crop(16, jitter=0.5, hue=0.0, saturation=0.0, blur=0.5, solarise=0.5, erase=0.5)
    assert image_operations(full, 1) == image_operations(without, 1)
    view = np.asarray(augment(KEY, random_images(16, channels=1), full))
    assert view.shape == (16, 16, 16, 1)
    assert 0.0 <= view.min() < view.max() <= 1.0


def test_views_are_float32_in_a_program_of_float64():
    with jax.enable_x64(True):
        assert (
            jax.eval_shape(lambda images: augment(KEY, images, FULL), random_images(2)).dtype
            == jnp.float32
        )


def test_images_and_statistics_that_do_not_fit_are_named():
    with pytest.raises(
        ValueError, match=r"images must be uint8 \[B, H, W, C\].*got float32 \[2, 4, 4, 3\]"
    ):
        augment(KEY, jnp.zeros((2, 4, 4, 3)), Crop(4))
    with pytest.raises(ValueError, match=r"C = 1 or 3, got uint8 \[2, 4, 4, 2\]"):
        augment(KEY, jnp.zeros((2, 4, 4, 2), jnp.uint8), Crop(4))
    with pytest.raises(ValueError, match="mean holds 3 values, but the images have 1 channel"):
        augment(KEY, jnp.zeros((2, 4, 4, 1), jnp.uint8), FULL)
