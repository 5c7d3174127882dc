"""What a method needs per image, and the two ways to make it: a training batch, or the q views of a
metric.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sslx.views import taps
from sslx.views.augment import augment, check_images, normalise
from sslx.views.crop import Crop
from sslx.views.geometry import resample, resize_rows
from sslx.views.masks import BlockWise, MultiBlock, draw_masks

__all__ = [
    "Crop",
    "Masks",
    "Views",
    "metric_view",
    "multi_crop",
    "one_view",
    "plain_view",
    "training_masks",
    "training_views",
    "two_views",
]

MaskRecipe = MultiBlock | BlockWise
Masks = Any  # MultiBlockMasks of I-JEPA, or a bool [B, N] of data2vec: True where a patch is hidden


@dataclass(frozen=True)
class Views:
    """The crops that a method takes of every image, and the masks; the metrics take theirs from the
    same recipes.

    Raises ValueError where there is no crop, or something else than a Crop.
    """

    crops: tuple[Crop, ...]
    masks: MaskRecipe | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.crops, (tuple, list)) or not all(
            isinstance(crop, Crop) for crop in self.crops
        ):
            raise ValueError(f"crops must be a tuple of Crop, got {self.crops!r}")
        if not self.crops:
            raise ValueError(
                "crops is empty: a method needs at least one view, for example Views((Crop(32),))"
            )
        object.__setattr__(self, "crops", tuple(self.crops))


def one_view(crops: dict[str, Crop], masks: MaskRecipe | None = None) -> Views:
    """The view of a method that takes one of each image: the recipe `crop`.

    Raises ValueError for other names.
    """
    return Views(_views(crops, "'crop'", [("crop",)]).crops, masks)


def two_views(crops: dict[str, Crop]) -> Views:
    """Two views of each image: the recipe `crop` for both, or `first` and `second`; ValueError for
    other names.
    """
    return _views(crops, "'crop', or 'first' and 'second'", [("crop", "crop"), ("first", "second")])


def multi_crop(crops: dict[str, Crop], local: int) -> Views:
    """Two views as `two_views`, then `local` smaller ones of the recipe `local`.

    Raises ValueError for other names.
    """
    small = ("local",) * local
    if not local:
        return two_views(crops)
    return _views(
        crops,
        "'local', and 'crop' or 'first' and 'second'",
        [("crop", "crop") + small, ("first", "second") + small],
    )


def _views(crops: dict[str, Crop], wanted: str, choices: list[tuple[str, ...]]) -> Views:
    for names in choices:
        if set(crops) == set(names):
            return Views(tuple(crops[name] for name in names))
    raise ValueError(
        f"config.views has {', '.join(map(repr, crops)) or 'nothing'}, but this method takes "
        f"{wanted}. Write them into "
        'the recipe, for example: config.views = ConfigDict({"crop": common.crop(32)})'
    )


def training_views(key: jax.Array, images: jax.Array, views: Views) -> tuple[jax.Array, ...]:
    """One float32 `[B, S, S, C]` per crop of uint8 images `[B, H, W, C]`, each crop with its own
    randomness.

    Raises ValueError for images that `augment` does not take.
    """
    return tuple(
        augment(jax.random.fold_in(key, number), images, crop)
        for number, crop in enumerate(views.crops)
    )


def training_masks(key: jax.Array, batch: int, views: Views) -> Masks | None:
    """The masks of a batch of so many images, with their own randomness, if the method takes any."""
    return (
        None
        if views.masks is None
        else draw_masks(jax.random.fold_in(key, len(views.crops)), batch, views.masks)
    )


def metric_view(
    key: jax.Array, images: jax.Array, views: Views, j: int
) -> tuple[jax.Array, Masks | None]:
    """The j-th view `[B, S, S, C]` of images `[B, H, W, C]` for a metric; the crops take turns over
    j = 0, 1, ...

    Of a masking method it is the image as it is, with the j-th masks. A view depends on the key and
    on j alone, so that a metric can stream over q views and stop anywhere. Raises ValueError for a
    negative j."""
    if j < 0:
        raise ValueError(f"j counts views from 0, got {j}")
    key = jax.random.fold_in(key, j)
    if views.masks is not None:
        return plain_view(images, views.crops[0]), draw_masks(key, len(images), views.masks)
    return augment(key, images, views.crops[j % len(views.crops)]), None


@partial(jax.jit, static_argnames="crop")
def plain_view(images: jax.Array, crop: Crop) -> jax.Array:
    """Images `[B, H, W, C]` without augmentation: short side to S = crop.size, central S x S,
    normalised.

    The resize is antialiased, with the recipe's interpolation; long side and centre are rounded as
    by torchvision's Resize and CenterCrop.
    Raises ValueError for images that `augment` does not take.
    """
    check_images(images, crop)
    batch, *sides, _ = images.shape
    upright = jnp.zeros(batch, bool)
    rows, columns = (_middle(side, min(sides), crop.size, batch) for side in sides)
    if taps.pay(sides, crop.size, crop.interpolation):
        return normalise(
            taps.cut(images, rows, columns, crop.size, upright, crop.interpolation), crop
        )
    weights = (
        resize_rows(*interval, crop.size, side, upright, crop.interpolation)
        for interval, side in zip((rows, columns), sides, strict=True)
    )
    return normalise(resample(images, *weights), crop)


def _middle(side: int, shortest: int, size: int, batch: int) -> taps.Interval:
    """The part of one axis that the plain view shows: start and extent in pixels, each `[B]`."""
    resized = size * side // shortest
    start, extent = round((resized - size) / 2) * side / resized, size * side / resized
    return jnp.full(batch, start, jnp.float32), jnp.full(batch, extent, jnp.float32)
