"""The augmentations of the reference codes, at any output size in pixels, for `config.views`.

A method that treats its views alike has one recipe, `crop`; else there are `first` and `second`, or
`crop` (the large ones) and `local`. `changes` reach every recipe: moco(32, *CIFAR10, blur=0.0) is
the spectral method's at 32 pixels. In all of them the order of the colour operations is fixed and
the blur comes before the colour, see `augment` in sslx/views/augment.py.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

# Mean and standard deviation of red, green and blue, on the [0, 1] scale.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

RGB = tuple[float, ...]
MEAN, STD = IMAGENET


def diet(size: int, strength: int | str, **changes: Any) -> ConfigDict:
    """Return DIET's, of strength 1 (crop, flip), 2 (also colour) or 3 (also blur and erasing)."""
    if str(strength) not in ("1", "2", "3"):
        raise ValueError(
            f"The strength of DIET's augmentation is {strength!r}; it takes 1, 2 or 3."
        )
    recipe = base.crop(size)
    if int(strength) >= 2:
        recipe.update(jitter=0.3, hue=0.2, gray=0.2)
    if int(strength) >= 3:
        recipe.update(blur=0.2, blur_kernel=3, blur_sigma=(1.0, 2.0), erase=0.25)
    recipe.update(changes)
    return ConfigDict({"crop": recipe})


def simclr(size: int, strength: float = 1.0, **changes: Any) -> ConfigDict:
    """Return SimCLR's (google-research/simclr, tf2), which leaves pixels in [0, 1].

    Strength 0.5 up to 32 pixels has no blur: the reference's command for CIFAR-10. The reference
    resizes bicubically without antialias, this here with it.
    """
    blur = 0.0 if size <= 32 and strength == 0.5 else 0.5
    recipe = _strong(strength, interpolation="bicubic", blur=blur, blur_kernel=_tenth(size))
    return ConfigDict({"crop": base.crop(size, **recipe | changes)})


def moco(size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any) -> ConfigDict:
    """Return MoCo v2's (facebookresearch/moco --aug-plus), also SimSiam's.

    Without blur at 32 pixels it is spectral's.
    """
    recipe = {"area": (0.2, 1.0), "jitter": 0.8, "gray": 0.2, "blur": 0.5, "mean": mean, "std": std}
    return ConfigDict({"crop": base.crop(size, **recipe | changes)})


def vicreg(size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any) -> ConfigDict:
    """Return VICReg's (facebookresearch/vicreg), also Barlow Twins'."""
    recipe = _pale(mean, std)
    first = base.crop(size, **recipe | {"blur": 1.0} | changes)
    second = base.crop(size, **recipe | {"blur": 0.1, "solarise": 0.2} | changes)
    return ConfigDict({"first": first, "second": second})


def byol(size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any) -> ConfigDict:
    """Return BYOL's (google-deepmind/deepmind-research): VICReg's with another number of taps.

    The blur has a tenth of the size. The reference resizes bicubically without antialias, adds to
    the brightness, takes the contrast in each channel and the saturation in HSV, where this here is
    antialiased and torchvision's.
    """
    return vicreg(size, mean, std, **{"blur_kernel": _tenth(size)} | changes)


def swav(
    size: int, local_size: int, mean: RGB = MEAN, std: RGB = (0.228, *STD[1:]), **changes: Any
) -> ConfigDict:
    """Return SwAV's multi-crop (facebookresearch/swav).

    Red's 0.228 is a slip for 0.229 that the official models keep.
    """
    recipe = _strong(1.0, blur=0.5, mean=mean, std=std)
    large = base.crop(size, **recipe | {"area": (0.14, 1.0)} | changes)
    small = base.crop(local_size, **recipe | {"area": (0.05, 0.14)} | changes)
    return ConfigDict({"crop": large, "local": small})


def dino(
    size: int, local_size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any
) -> ConfigDict:
    """Return DINO's multi-crop (facebookresearch/dino).

    The colours are BYOL's, the blur 1.0, 0.1 and 0.5; the second large view is solarised.
    """
    recipe = _pale(mean, std) | {"area": (0.4, 1.0)}
    first = base.crop(size, **recipe | {"blur": 1.0} | changes)
    second = base.crop(size, **recipe | {"blur": 0.1, "solarise": 0.2} | changes)
    small = base.crop(local_size, **recipe | {"area": (0.05, 0.4), "blur": 0.5} | changes)
    return ConfigDict({"first": first, "second": second, "local": small})


def data2vec(size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any) -> ConfigDict:
    """Return data2vec's (facebookresearch/data2vec_vision): always other colours, the same hue."""
    recipe = {"interpolation": "bicubic", "jitter": 1.0, "hue": 0.0, "mean": mean, "std": std}
    return ConfigDict({"crop": base.crop(size, **recipe | changes)})


def ijepa(size: int, mean: RGB = MEAN, std: RGB = STD, **changes: Any) -> ConfigDict:
    """Return I-JEPA's (facebookresearch/ijepa): a crop and nothing else."""
    recipe = {"area": (0.3, 1.0), "flip": 0.0, "mean": mean, "std": std}
    return ConfigDict({"crop": base.crop(size, **recipe | changes)})


def solo(
    size: int, kind: str, mean: RGB = CIFAR10[0], std: RGB = CIFAR10[1], **changes: Any
) -> ConfigDict:
    """Return solo-learn's for CIFAR at 32 pixels (scripts/pretrain/cifar).

    Kinds: symmetric (SimCLR, SwAV), weak (MoCo v2+, SimSiam), asymmetric (Barlow Twins, BYOL,
    DINO), vicreg. Raises ValueError for another.
    """
    weak = {"interpolation": "bicubic", "jitter": 0.8, "gray": 0.2, "mean": mean, "std": std}
    pale = _pale(mean, std)
    match kind:
        case "symmetric":
            views = {"crop": _strong(1.0, **weak, blur=0.5)}
        case "weak":
            views = {"crop": weak | {"blur": 0.5}}
        case "vicreg":
            views = {"crop": pale | {"area": (0.2, 1.0), "solarise": 0.1}}
        case "asymmetric":
            views = {"first": pale, "second": pale | {"solarise": 0.2}}
        case _:
            raise ValueError(
                f"The kind of solo-learn's augmentation is {kind!r}; it takes symmetric, weak, "
                "asymmetric or vicreg."
            )
    return ConfigDict({name: base.crop(size, **crop | changes) for name, crop in views.items()})


def _strong(strength: float, **changes: Any) -> dict[str, Any]:
    """SimCLR's colours."""
    factor = 0.8 * strength
    colours = {"brightness": factor, "contrast": factor, "saturation": factor}
    return {"jitter": 0.8, **colours, "hue": 0.2 * strength, "gray": 0.2} | changes


def _pale(mean: RGB, std: RGB) -> dict[str, Any]:
    """BYOL's colours, also VICReg's and DINO's: less saturation than torchvision's 0.4."""
    recipe = {"interpolation": "bicubic", "jitter": 0.8, "saturation": 0.2, "gray": 0.2}
    return recipe | {"mean": mean, "std": std}


def _tenth(size: int) -> int:
    """Taps of a blur over a tenth of the size, rounded to an odd number as SimCLR and BYOL do."""
    return 2 * (size // 20) + 1
