"""The augmentations of the reference codes, at any output size in pixels, as `config.views` takes
them.

A method that treats its views alike has one recipe, `crop`; else there are `first` and `second`, or
`crop` (the large ones) and `local`. `changes` reach every recipe: moco(32, *CIFAR10, blur=0.0) is
the spectral method's at 32 pixels. In all of them the order of the colour operations is fixed and
the blur comes before the colour, see `augment`."""

from ml_collections import ConfigDict

from configs import base

# Mean and standard deviation of red, green and blue, on the [0, 1] scale.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))

RGB = tuple[float, ...]


def diet(size: int, strength: int, **changes: object) -> ConfigDict:
    """DIET's augmentation of strength 1 (crop, flip), 2 (also colour) or 3 (also blur and erasing)."""
    if strength not in (1, 2, 3):
        raise ValueError(
            f"The strength of DIET's augmentation is {strength!r}; it takes 1, 2 or 3."
        )
    recipe = base.crop(size)
    if strength >= 2:
        recipe.update(jitter=0.3, hue=0.2, gray=0.2)
    if strength >= 3:
        recipe.update(blur=0.2, blur_kernel=3, blur_sigma=(1.0, 2.0), erase=0.25)
    recipe.update(changes)
    return _views(crop=recipe)


def simclr(size: int, strength: float = 1.0, **changes: object) -> ConfigDict:
    """SimCLR's (google-research/simclr, tf2): pixels stay in [0, 1]; strength 0.5 up to 32 pixels
    has no blur.

    The reference resizes bicubically without antialias, this here with it.
    """
    # Without blur is the reference's command for CIFAR-10.
    blur = 0.0 if size <= 32 and strength == 0.5 else 0.5
    recipe = {"interpolation": "bicubic", "blur": blur, "blur_kernel": _tenth(size)} | _strong(
        strength
    )
    return _views(crop=base.crop(size, **recipe | changes))


def moco(
    size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """MoCo v2's (facebookresearch/moco --aug-plus), also SimSiam's and, without blur at 32 pixels,
    spectral's.
    """
    recipe = {"area": (0.2, 1.0), "jitter": 0.8, "gray": 0.2, "blur": 0.5, "mean": mean, "std": std}
    return _views(crop=base.crop(size, **recipe | changes))


def vicreg(
    size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """VICReg's (facebookresearch/vicreg), also Barlow Twins'."""
    recipe = {
        "interpolation": "bicubic",
        "jitter": 0.8,
        "saturation": 0.2,
        "gray": 0.2,
        "mean": mean,
        "std": std,
    }
    first, second = {"blur": 1.0, "solarise": 0.0}, {"blur": 0.1, "solarise": 0.2}
    return _views(
        first=base.crop(size, **recipe | first | changes),
        second=base.crop(size, **recipe | second | changes),
    )


def byol(
    size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """BYOL's (google-deepmind/deepmind-research): VICReg's, but a tenth of the size as the blur's
    number of taps.

    The reference resizes bicubically without antialias, adds to the brightness, takes the contrast
    in each channel and the saturation in HSV, where this here is antialiased and torchvision's."""
    return vicreg(size, mean, std, **{"blur_kernel": _tenth(size)} | changes)


def swav(
    size: int,
    local_size: int,
    mean: RGB = IMAGENET[0],
    std: RGB = (0.228, 0.224, 0.225),
    **changes: object,
) -> ConfigDict:
    """SwAV's multi-crop (facebookresearch/swav); red's 0.228 is a slip for 0.229 that the official
    models keep.
    """
    recipe = {"blur": 0.5, "mean": mean, "std": std} | _strong(1.0)
    return _views(
        crop=base.crop(size, **recipe | {"area": (0.14, 1.0)} | changes),
        local=base.crop(local_size, **recipe | {"area": (0.05, 0.14)} | changes),
    )


def dino(
    size: int, local_size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """DINO's multi-crop (facebookresearch/dino): the colours of BYOL, blur 1.0, 0.1 and 0.5,
    solarise on the second.
    """
    recipe = {
        "interpolation": "bicubic",
        "jitter": 0.8,
        "saturation": 0.2,
        "gray": 0.2,
        "mean": mean,
        "std": std,
    }
    large, small = {"area": (0.4, 1.0)}, {"area": (0.05, 0.4), "blur": 0.5}
    return _views(
        first=base.crop(size, **recipe | large | {"blur": 1.0} | changes),
        second=base.crop(size, **recipe | large | {"blur": 0.1, "solarise": 0.2} | changes),
        local=base.crop(local_size, **recipe | small | changes),
    )


def data2vec(
    size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """data2vec's (facebookresearch/data2vec_vision): a crop, always other colours but no other hue."""
    recipe = {"interpolation": "bicubic", "jitter": 1.0, "hue": 0.0, "mean": mean, "std": std}
    return _views(crop=base.crop(size, **recipe | changes))


def ijepa(
    size: int, mean: RGB = IMAGENET[0], std: RGB = IMAGENET[1], **changes: object
) -> ConfigDict:
    """I-JEPA's (facebookresearch/ijepa): a crop and nothing else."""
    return _views(
        crop=base.crop(
            size, **{"area": (0.3, 1.0), "flip": 0.0, "mean": mean, "std": std} | changes
        )
    )


def solo(
    size: int, kind: str, mean: RGB = CIFAR10[0], std: RGB = CIFAR10[1], **changes: object
) -> ConfigDict:
    """solo-learn's for CIFAR at 32 pixels (scripts/pretrain/cifar).

    Kinds: symmetric (SimCLR, SwAV), weak (MoCo v2+, SimSiam), asymmetric (Barlow Twins, BYOL,
    DINO), vicreg. Raises ValueError for another.
    """
    recipe = {"interpolation": "bicubic", "jitter": 0.8, "gray": 0.2, "mean": mean, "std": std}
    if kind == "symmetric":
        return _views(crop=base.crop(size, **recipe | _strong(1.0) | {"blur": 0.5} | changes))
    if kind == "weak":
        return _views(crop=base.crop(size, **recipe | {"blur": 0.5} | changes))
    recipe["saturation"] = 0.2
    if kind == "vicreg":
        return _views(
            crop=base.crop(size, **recipe | {"area": (0.2, 1.0), "solarise": 0.1} | changes)
        )
    if kind == "asymmetric":
        second = base.crop(size, **recipe | {"solarise": 0.2} | changes)
        return _views(first=base.crop(size, **recipe | changes), second=second)
    raise ValueError(
        f"The kind of solo-learn's augmentation is {kind!r}; it takes symmetric, weak, asymmetric "
        "or vicreg."
    )


def _views(**recipes: ConfigDict) -> ConfigDict:
    return ConfigDict(recipes)


def _strong(strength: float) -> dict[str, float]:
    jitter = 0.8 * strength
    return {
        "jitter": 0.8,
        "brightness": jitter,
        "contrast": jitter,
        "saturation": jitter,
        "hue": 0.2 * strength,
        "gray": 0.2,
    }


def _tenth(size: int) -> int:
    """Taps of a blur over a tenth of the size, rounded to an odd number as SimCLR and BYOL do."""
    return 2 * (size // 20) + 1
