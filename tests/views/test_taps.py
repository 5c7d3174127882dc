"""The form of few taps against the form of matrices and Pillow, and the choice between the two."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from configs import augmentations
from sslx.views import taps
from sslx.views.augment import augment
from sslx.views.crop import Crop
from sslx.views.views import plain_view

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(5)
NO_COLOUR = {
    "jitter": 0.0,
    "gray": 0.0,
    "solarise": 0.0,
    "erase": 0.0,
    "mean": (0.0,),
    "std": (1.0,),
}


@pytest.fixture
def both(monkeypatch):
    """Runs a function in the form of matrices, then in that of taps, compiled anew for each."""

    def run(function, *arguments):
        outputs = []
        for few in (False, True):
            monkeypatch.setattr(taps, "pay", lambda *_, few=few: few)
            outputs.append(np.asarray(jax.jit(lambda *a: function(*a))(*arguments)))
        return outputs

    return run


def random_images(batch, height, width, channels=3):
    return np.random.default_rng(0).integers(
        0, 256, (batch, height, width, channels), dtype=np.uint8
    )


def view(crop):
    return lambda images: augment.__wrapped__(KEY, images, crop)


RECIPES = {
    "byol": (augmentations.byol(40), "first"),  # bicubic, always blurred, by 5 taps
    "moco": (augmentations.moco(24), "crop"),  # bilinear, as many taps as sigma needs
    "swav": (
        augmentations.swav(24, 16),
        "local",
    ),  # small boxes, and a border nearly as wide as the view
    "ijepa": (augmentations.ijepa(24), "crop"),  # neither flip nor blur
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_same_views_in_both_forms(both, name):
    recipes, part = RECIPES[name]
    crop = replace(Crop(**recipes[part].to_dict()), **NO_COLOUR)
    matrices, few = both(view(crop), random_images(12, 45, 30))
    np.testing.assert_allclose(few, matrices, atol=1e-5)
    assert few.std() > 0.05


def test_gray_images_that_are_enlarged_are_the_same_in_both_forms(both):
    crop = Crop(33, interpolation="bicubic", flip=1.0, blur=1.0, blur_kernel=9)
    matrices, few = both(view(crop), random_images(8, 17, 25, channels=1))
    np.testing.assert_allclose(few, matrices, atol=1e-5)


def test_plain_views_are_the_same_in_both_forms(both):
    crop = Crop(20, interpolation="bicubic", mean=(0.5, 0.4, 0.3))
    matrices, few = both(
        lambda images: plain_view.__wrapped__(images, crop), random_images(3, 35, 90)
    )
    np.testing.assert_allclose(few, matrices, atol=1e-5)


BOXES = np.array(
    [[0, 0, 240, 200], [3, 5, 100, 120], [239, 10, 1, 30], [17, 1, 60, 199], [30, 199, 80, 1]]
)


def smooth_image():
    """Of 240 x 200 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((200, 240), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [96, 224])
def test_crops_equal_pillow(size):
    image = smooth_image()
    top, left, height, width = jnp.asarray(BOXES.T, jnp.float32)
    images, upright = jnp.repeat(image[None], len(BOXES), 0), jnp.zeros(len(BOXES), bool)
    cut = jax.jit(taps.cut, static_argnums=(3, 5))
    for name, kind in (
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
    ):
        views = 255 * np.stack(cut(images, (top, height), (left, width), size, upright, name), -1)
        for (y, x, h, w), ours in zip(BOXES, views, strict=True):
            how = {"size": (size, size), "resample": kind, "box": (x, y, x + w, y + h)}
            # Pillow's floats are the exact numbers; its bytes are rounded after each of the two
            # axes.
            channels = [
                Image.fromarray(image[..., c].astype(np.float32)).resize(**how) for c in range(3)
            ]
            exact = np.stack([np.asarray(channel) for channel in channels], -1)
            np.testing.assert_allclose(ours, np.clip(exact, 0, 255), atol=5e-3)
            assert abs(ours - np.asarray(Image.fromarray(image).resize(**how))).mean() < 0.4


def test_devices_that_share_a_batch_cut_the_same_views_without_talking():
    images, starts, mirrored = random_images(8, 32, 32), jnp.arange(8.0), jnp.arange(8) % 2 == 0
    rows = NamedSharding(Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data"))

    def cut(images, starts, mirrored):
        box = starts, starts + 10.0
        return taps.cut(images, box, box, 24, mirrored, "bilinear", 0.3 + starts / 5, 8)

    program = jax.jit(cut).lower(*jax.device_put((images, starts, mirrored), rows)).compile()
    assert not any(
        word in program.as_text() for word in ("all-gather", "all-reduce", "all-to-all", "permute")
    )
    shared = program(*jax.device_put((images, starts, mirrored), rows))
    for plane, alone in zip(shared, jax.jit(cut)(images, starts, mirrored), strict=True):
        assert plane.sharding.is_equivalent_to(rows, plane.ndim)
        np.testing.assert_allclose(plane, alone, atol=1e-5)


def test_views_are_float32_in_a_program_of_float64(monkeypatch):
    monkeypatch.setattr(taps, "pay", lambda *_: True)
    with jax.enable_x64(True):
        assert (
            jax.eval_shape(view(Crop(24, blur=0.5)), random_images(2, 32, 32)).dtype == jnp.float32
        )


def test_the_choice_follows_the_shapes(monkeypatch):
    assert not taps.pay((32, 32), 32, "bilinear")
    assert taps.pay((96, 96), 96, "bilinear")
    assert not taps.pay((96, 96), 96, "bilinear", border=10)
    assert taps.pay((64, 128), 112, "bicubic", border=10)
    assert taps.pay((256, 256), 224, "bicubic", border=11)
    assert not taps.pay((256, 256), 224, "bicubic", border=16)  # 33 taps
    assert not taps.pay((256, 256), 10, "bicubic")  # 104 taps
    assert not taps.pay(
        (256, 256), 16, "bilinear", border=16
    )  # a border that would need two mirrors
    assert not taps.pay((256, 3), 128, "bicubic")  # 4 taps of 3 pixels
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not taps.pay((256, 256), 224, "bicubic", border=11)


@pytest.mark.parametrize(("side", "calls"), [(32, 0), (128, 2)])
def test_both_views_ask_for_the_choice(monkeypatch, side, calls):
    sizes = []
    real = taps.cut
    monkeypatch.setattr(taps, "cut", lambda *a: sizes.append(a[3]) or real(*a))
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.uint8)
    for made in (
        view(Crop(side, blur=0.5)),
        lambda images: plain_view.__wrapped__(images, Crop(side)),
    ):
        assert jax.eval_shape(made, images).shape == (2, side, side, 3)
    assert sizes == [side] * calls
