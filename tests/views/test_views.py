"""Views for training and metrics, the plain view, and the errors of a recipe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sslx.views.augment import augment
from sslx.views.views import (
    Crop,
    Views,
    metric_view,
    multi_crop,
    one_view,
    plain_view,
    training_views,
    two_views,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(1)
LARGE, SMALL = Crop(16), Crop(8, area=(0.05, 0.4))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 20, 16, 3), dtype=np.uint8)


def test_training_views_follow_the_recipes_and_differ(images):
    first, second, third = training_views(KEY, images, Views((LARGE, LARGE, SMALL)))
    assert first.shape == second.shape == (6, 16, 16, 3)
    assert third.shape == (6, 8, 8, 3)
    assert abs(np.asarray(first) - np.asarray(second)).mean((1, 2, 3)).min() > 0.02
    again = training_views(KEY, images, Views((LARGE, LARGE)))
    np.testing.assert_array_equal(again[1], second)


def test_training_views_run_inside_jit_with_a_static_description(images):
    views = Views((LARGE, SMALL))
    jitted = jax.jit(training_views, static_argnames="views")(KEY, images, views)
    for inside, outside in zip(jitted, training_views(KEY, images, views), strict=True):
        np.testing.assert_allclose(inside, outside, atol=1e-5)


def test_metric_views_take_turns_and_come_back_alike(images):
    views = Views((LARGE, SMALL))
    drawn = [np.asarray(metric_view(KEY, images, views, j)[0]) for j in range(4)]
    assert [view.shape[1] for view in drawn] == [16, 8, 16, 8]
    assert abs(drawn[0] - drawn[2]).mean() > 0.02
    assert abs(drawn[1] - drawn[3]).mean() > 0.02
    np.testing.assert_array_equal(metric_view(KEY, images, views, 3)[0], drawn[3])
    np.testing.assert_array_equal(augment(jax.random.fold_in(KEY, 2), images, LARGE), drawn[2])
    with pytest.raises(ValueError, match="j counts views from 0, got -1"):
        metric_view(KEY, images, views, -1)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(20, 16, 16), (33, 50, 16), (12, 40, 24), (30, 30, 10)]
)
def test_plain_view_is_short_side_then_centre(height, width, size, interpolation):
    small = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    short = min(height, width)
    resized = image.resize(
        (size * width // short, size * height // short), Image.Resampling[interpolation.upper()]
    )
    top, left = round((resized.height - size) / 2), round((resized.width - size) / 2)
    expected = np.asarray(resized, np.float32)[top : top + size, left : left + size]
    crop = Crop(size, mean=(0.5,), std=(0.25,), interpolation=interpolation)
    view = np.asarray(plain_view(np.asarray(image)[None], crop))[0]
    difference = abs((view * 0.25 + 0.5) * 255 - expected)
    # Pillow rounds to bytes and clips after each axis, which counts more where weights are
    # negative.
    assert difference.max() <= (1.01 if interpolation == "bilinear" else 2.01)
    assert difference.mean() < 0.4


def test_plain_view_changes_nothing_at_equal_size():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    crop = Crop(8, jitter=1.0, gray=1.0, blur=1.0, solarise=1.0, erase=1.0)
    np.testing.assert_allclose(plain_view(images, crop), images / 255, atol=1e-6)


def test_plain_view_checks_its_images():
    with pytest.raises(ValueError, match="images must be uint8"):
        plain_view(jnp.zeros((2, 8, 8, 3)), LARGE)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"size": 0}, "size is 0; it must be a whole number of at least 1 pixel"),
        ({"size": 32.0}, "size is 32.0; it must be a whole number of at least 1 pixel"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'; it must be bilinear or bicubic"),
        ({"flip": 1.5}, "flip is 1.5; it must be between 0 and 1"),
        ({"gray": float("nan")}, "gray is nan; it must be between 0 and 1"),
        ({"jitter": None}, "jitter is None; it must be between 0 and 1"),
        ({"brightness": -0.1}, "brightness is -0.1; it must be at least 0"),
        ({"hue": 0.6}, "hue is 0.6; it must be between 0 and 0.5"),
        (
            {"area": (0.5, 1.2)},
            r"area is \(0.5, 1.2\); it must be \(low, high\) with 0 < low <= high <= 1\.",
        ),
        (
            {"ratio": (2.0, 1.0)},
            r"ratio is \(2.0, 1.0\); it must be \(low, high\) with 0 < low <= high\.",
        ),
        ({"blur_sigma": 2.0}, r"blur_sigma is 2.0; it must be \(low, high\)"),
        ({"ratio": ("1", "2")}, r"ratio is \('1', '2'\); it must be \(low, high\)"),
        ({"blur_kernel": 4}, "blur_kernel is 4; it must be an odd number of taps, or 0"),
        (
            {"blur_kernel": 23},
            "blur_kernel is 23, which reaches 11 pixels .* of size 8; it must be at most 15",
        ),
        ({"erase_area": (0.0, 0.3)}, r"erase_area is \(0.0, 0.3\); it must be"),
        (
            {"mean": (0.1, 0.2)},
            r"mean is \(0.1, 0.2\); it must be a tuple of 1 number or 3, one per channel",
        ),
        ({"std": (0.0,)}, r"std is \(0.0,\); it must be above 0"),
    ],
)
def test_a_wrong_recipe_says_what_is_allowed(fields, text):
    with pytest.raises(ValueError, match=text):
        Crop(**{"size": 8} | fields)


def test_recipes_are_hashable_even_from_lists():
    crop = Crop(8, area=[0.2, 1], mean=[0, 0, 0])
    assert crop == Crop(8, area=(0.2, 1.0), mean=(0.0, 0.0, 0.0))
    assert len({Views([crop]), Views((crop,))}) == 1


def test_views_need_crops():
    with pytest.raises(ValueError, match="crops is empty: a method needs at least one view"):
        Views(())
    with pytest.raises(ValueError, match="crops must be a tuple of Crop, got"):
        Views((32,))


def test_names_of_the_recipes_say_which_views_a_method_takes():
    small = Crop(6)
    assert one_view({"crop": LARGE}) == Views((LARGE,))
    assert two_views({"crop": LARGE}) == Views((LARGE, LARGE))
    assert two_views({"second": SMALL, "first": LARGE}) == Views((LARGE, SMALL))
    assert multi_crop({"crop": LARGE}, 0) == Views((LARGE, LARGE))
    assert multi_crop({"local": small, "crop": LARGE}, 2) == Views((LARGE, LARGE, small, small))
    assert multi_crop({"first": LARGE, "second": SMALL, "local": small}, 1) == Views(
        (LARGE, SMALL, small)
    )


@pytest.mark.parametrize(
    ("choose", "given", "message"),
    [
        (one_view, {}, "config.views has nothing, but this method takes 'crop'"),
        (one_view, {"first": LARGE}, "config.views has 'first', but this method takes 'crop'"),
        (
            two_views,
            {"first": LARGE},
            "has 'first', but this method takes 'crop', or 'first' and 'second'",
        ),
        (two_views, {"crop": LARGE, "local": SMALL}, "has 'crop', 'local', but this method takes"),
        (
            lambda crops: multi_crop(crops, 2),
            {"crop": LARGE},
            "takes 'local', and 'crop' or 'first' and 'second'",
        ),
    ],
)
def test_missing_views_are_named(choose, given, message):
    with pytest.raises(ValueError, match=message):
        choose(given)
