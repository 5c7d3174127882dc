"""What a method needs per image, and how to make it: a training batch, or q views of a metric."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sslx.views.augment import augment, check_images, cut, normalise
from sslx.views.crop import Crop
from sslx.views.geometry import Interval
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
    """The crops and masks that a method takes of every image; metrics use the same recipes.

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
    """Return one view of each image, the recipe `crop`; ValueError for other names."""
    return Views(_in_order(crops, "'crop'", ("crop",)), masks)


def two_views(crops: dict[str, Crop]) -> Views:
    """Return two views, the recipe `crop` twice, or `first` and `second`; ValueError for others."""
    return multi_crop(crops, 0)


def multi_crop(crops: dict[str, Crop], local: int) -> Views:
    """Return `two_views`, then `local` views of the recipe `local`; ValueError for other names."""
    small = ("local",) * local
    allowed = "'crop', or 'first' and 'second'"
    if local:
        allowed = "'local', and 'crop' or 'first' and 'second'"
    return Views(_in_order(crops, allowed, ("crop", "crop", *small), ("first", "second", *small)))


def _in_order(crops: dict[str, Crop], allowed: str, *choices: tuple[str, ...]) -> tuple[Crop, ...]:
    """The crops in the order of the first choice that has just their names."""
    for names in choices:
        if set(crops) == set(names):
            return tuple(crops[name] for name in names)
    raise ValueError(
        f"config.views has {', '.join(map(repr, crops)) or 'nothing'}, but this method takes "
        f"{allowed}. Write them into the recipe, for example: "
        'config.views = ConfigDict({"crop": base.crop(32)})'
    )


def training_views(key: jax.Array, images: jax.Array, views: Views) -> tuple[jax.Array, ...]:
    """Draw one float32 `[B, S, S, C]` per crop of uint8 images `[B, H, W, C]`, each independently.

    Raises ValueError for images that `augment` does not take.
    """
    return tuple(
        augment(jax.random.fold_in(key, number), images, crop)
        for number, crop in enumerate(views.crops)
    )


def training_masks(key: jax.Array, batch: int, views: Views) -> Masks | None:
    """Draw the masks of `batch` images, independently of the crops; None if there is no recipe."""
    if views.masks is None:
        return None
    return draw_masks(jax.random.fold_in(key, len(views.crops)), batch, views.masks)


def metric_view(
    key: jax.Array, images: jax.Array, views: Views, j: int
) -> tuple[jax.Array, Masks | None]:
    """Draw the j-th view `[B, S, S, C]` of images `[B, H, W, C]` for a metric, and its masks.

    The crops take turns over j = 0, 1, ...; of a masking method it is the image as it is, with the
    j-th masks. A view depends on the key and on j alone, so that a metric can stream over q views
    and stop anywhere. Raises ValueError for a negative j.
    """
    if j < 0:
        raise ValueError(f"j counts views from 0, got {j}")
    key = jax.random.fold_in(key, j)
    if views.masks is not None:
        return plain_view(images, views.crops[0]), draw_masks(key, len(images), views.masks)
    return augment(key, images, views.crops[j % len(views.crops)]), None


@partial(jax.jit, static_argnames="crop")
def plain_view(images: jax.Array, crop: Crop) -> jax.Array:
    """Resize the short side of images `[B, H, W, C]` to S = crop.size, cut the centre, normalise.

    Antialiased, with the recipe's interpolation; the long side and the centre are rounded as by
    torchvision's Resize and CenterCrop. Raises ValueError for images that `augment` does not take.
    """
    check_images(images, crop)
    batch, height, width, _ = images.shape
    rows, columns = (
        _middle(side, min(height, width), crop.size, batch) for side in (height, width)
    )
    return normalise(cut(images, rows, columns, jnp.zeros(batch, bool), crop), crop)


def _middle(side: int, shortest: int, size: int, batch: int) -> Interval:
    """The part of one axis that the plain view shows."""
    resized = size * side // shortest
    start, extent = round((resized - size) / 2) * side / resized, size * side / resized
    return jnp.full(batch, start, jnp.float32), jnp.full(batch, extent, jnp.float32)
