"""The reference codes' augmentations, with the numbers that their code or documentation states."""

import dataclasses

import pytest

from configs import augmentations
from sslx.views.crop import Crop

FUNCTIONS = {
    "simclr": lambda: augmentations.simclr(224),
    "simclr at 32": lambda: augmentations.simclr(32, 0.5),
    "moco": lambda: augmentations.moco(224),
    "spectral at 32": lambda: augmentations.moco(32, *augmentations.CIFAR10, blur=0.0),
    "vicreg": lambda: augmentations.vicreg(224),
    "byol": lambda: augmentations.byol(224),
    "swav": lambda: augmentations.swav(224, 96),
    "solo symmetric": lambda: augmentations.solo(32, "symmetric"),
    "solo weak": lambda: augmentations.solo(32, "weak", *augmentations.CIFAR100),
    "solo asymmetric": lambda: augmentations.solo(32, "asymmetric"),
    "solo vicreg": lambda: augmentations.solo(32, "vicreg"),
}
ASYMMETRIC = {
    "vicreg": {"blur": (1.0, 0.1), "solarise": (0.0, 0.2)},
    "byol": {"blur": (1.0, 0.1), "solarise": (0.0, 0.2)},
    "solo asymmetric": {"solarise": (0.0, 0.2)},
    "swav": {"size": (224, 96), "area": ((0.14, 1.0), (0.05, 0.14))},
}


def recipes(views):
    return {name: Crop(**recipe) for name, recipe in views.items()}


def jitter(crop):
    return crop.jitter, crop.brightness, crop.contrast, crop.saturation, crop.hue


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_recipe_is_one_of_the_code_and_common_to_all_is_torchvision_s_crop(name):
    for crop in recipes(FUNCTIONS[name]()).values():
        assert (crop.flip, crop.ratio, crop.gray, crop.jitter, crop.erase) == (
            0.5,
            (3 / 4, 4 / 3),
            0.2,
            0.8,
            0.0,
        )
        assert crop.blur_sigma == (0.1, 2.0)
        assert crop.interpolation == (
            "bilinear" if name in ("moco", "spectral at 32", "swav") else "bicubic"
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_views_are_named_and_differ_only_as_stated(name):
    made = recipes(FUNCTIONS[name]())
    if name not in ASYMMETRIC:
        assert list(made) == ["crop"]
        return
    assert list(made) == (["crop", "local"] if name == "swav" else ["first", "second"])
    one, two = (dataclasses.asdict(crop) for crop in made.values())
    assert {
        field: (one[field], two[field]) for field in one if one[field] != two[field]
    } == ASYMMETRIC[name]


def test_simclr_scales_its_colours_and_leaves_pixels_as_they_are():
    crop = recipes(augmentations.simclr(224))["crop"]
    assert jitter(crop) == (0.8, 0.8, 0.8, 0.8, 0.2)
    assert (crop.area, crop.blur, crop.blur_kernel, crop.mean, crop.std) == (
        (0.08, 1.0),
        0.5,
        23,
        (0.0,),
        (1.0,),
    )
    cifar = recipes(augmentations.simclr(32, 0.5))["crop"]
    assert (jitter(cifar), cifar.blur) == ((0.8, 0.4, 0.4, 0.4, 0.1), 0.0)
    assert (
        recipes(augmentations.simclr(32))["crop"].blur
        == recipes(augmentations.simclr(96, 0.5))["crop"].blur
        == 0.5
    )


def test_the_blur_of_simclr_and_byol_has_an_odd_tenth_of_the_size():
    for size, taps in {8: 1, 32: 3, 40: 5, 64: 7, 96: 9, 224: 23}.items():
        assert recipes(augmentations.simclr(size))["crop"].blur_kernel == taps
        assert recipes(augmentations.byol(size))["second"].blur_kernel == taps


def test_the_official_numbers_of_the_others():
    moco = recipes(augmentations.moco(224))["crop"]
    assert (moco.area, jitter(moco), moco.blur) == ((0.2, 1.0), (0.8, 0.4, 0.4, 0.4, 0.1), 0.5)
    assert (moco.mean, moco.std) == augmentations.IMAGENET
    vicreg = recipes(augmentations.vicreg(224))["first"]
    assert (vicreg.area, jitter(vicreg), vicreg.blur_kernel) == (
        (0.08, 1.0),
        (0.8, 0.4, 0.4, 0.2, 0.1),
        0,
    )
    swav = recipes(augmentations.swav(224, 96))["local"]
    assert (jitter(swav), swav.blur, swav.std) == (
        (0.8, 0.8, 0.8, 0.8, 0.2),
        0.5,
        (0.228, 0.224, 0.225),
    )


def test_solo_learns_numbers():
    strong = recipes(augmentations.solo(32, "symmetric"))["crop"]
    assert (strong.area, jitter(strong), strong.blur) == (
        (0.08, 1.0),
        (0.8, 0.8, 0.8, 0.8, 0.2),
        0.5,
    )
    weak = recipes(augmentations.solo(32, "weak", *augmentations.CIFAR100))["crop"]
    assert (weak.area, jitter(weak), weak.blur) == ((0.08, 1.0), (0.8, 0.4, 0.4, 0.4, 0.1), 0.5)
    assert (weak.mean, weak.std) == augmentations.CIFAR100
    first = recipes(augmentations.solo(32, "asymmetric"))["first"]
    assert (first.area, jitter(first), first.blur) == ((0.08, 1.0), (0.8, 0.4, 0.4, 0.2, 0.1), 0.0)
    vicreg = recipes(augmentations.solo(32, "vicreg"))["crop"]
    assert (vicreg.area, jitter(vicreg), vicreg.blur) == ((0.2, 1.0), jitter(first), 0.0)
    assert vicreg.solarise == 0.1
    with pytest.raises(
        ValueError, match="'strong'; it takes symmetric, weak, asymmetric or vicreg"
    ):
        augmentations.solo(32, "strong")


def test_changes_reach_every_view():
    views = augmentations.byol(32, *augmentations.CIFAR10, area=(0.3, 1.0), blur=0.0)
    assert {(crop.area, crop.blur, crop.mean) for crop in recipes(views).values()} == {
        ((0.3, 1.0), 0.0, augmentations.CIFAR10[0])
    }
