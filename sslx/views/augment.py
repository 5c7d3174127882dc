"""Random views of uint8 images inside `jax.jit`: every operation and every draw is per image.

The batch axis may be sharded over a mesh: draw number i belongs to image i, however many devices
share the batch.
"""

import enum
from functools import partial

import jax
import jax.numpy as jnp

from sslx.views import colour, taps
from sslx.views.colour import Planes
from sslx.views.crop import Crop
from sslx.views.geometry import (
    BOX_DRAWS,
    Interval,
    blur_rows,
    crop_boxes,
    resample,
    resize_rows,
    sample_boxes,
)

NO_BLUR = 1e-2  # pixels; the Gaussian of this sigma is the identity in float32


class Draw(enum.IntEnum):
    """The number of each operation's random stream: removing one leaves the others as they are."""

    CROP = 0
    FLIP = 1
    JITTER = 2
    GRAY = 3
    BLUR = 4
    SOLARISE = 5
    ERASE = 6


Uniforms = dict[Draw, jax.Array]


@partial(jax.jit, static_argnames="crop")
def augment(key: jax.Array, images: jax.Array, crop: Crop) -> jax.Array:
    """Draw views float32 `[B, S, S, C]` of uint8 images `[B, H, W, C]`, S = crop.size, C = 1 or 3.

    The order is torchvision's usual one: crop, flip, brightness, contrast, saturation, hue, gray,
    blur, solarise, erase, normalise. It differs in two ways, both for speed: the four colour
    operations come in this fixed order, each clipped to [0, 1], instead of a random one; and the
    blur is applied with the crop, before the colour, which differs only where colour clips. Raises
    ValueError for other images, or a mean or std that does not suit their channels.
    """
    check_images(images, crop)
    batch, height, width, _ = images.shape
    uniforms = _uniforms(key, batch, crop)
    boxes = crop_boxes(uniforms[Draw.CROP], (height, width), crop.area, crop.ratio)
    mirrored = uniforms[Draw.FLIP][:, 0] < crop.flip if crop.flip else jnp.zeros(batch, bool)
    sigma = _sigma(uniforms[Draw.BLUR], crop) if crop.blur else None
    rows, columns = (boxes.top, boxes.height), (boxes.left, boxes.width)
    planes = cut(images, rows, columns, mirrored, crop, sigma)
    planes = _colour(uniforms, planes, crop)
    if crop.solarise:
        chosen = uniforms[Draw.SOLARISE][:, 0] < crop.solarise
        planes = colour.solarise(planes, chosen, crop.solarise_threshold)
    if crop.erase:
        planes = _erase(uniforms[Draw.ERASE], planes, crop)
    return normalise(planes, crop)


def check_images(images: jax.Array, crop: Crop) -> None:
    """Raise ValueError unless images are uint8 `[B, H, W, 1 or 3]` that suit the mean and std."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != jnp.uint8:
        raise ValueError(
            f"images must be uint8 [B, H, W, C] with C = 1 or 3, got {images.dtype} "
            f"{list(images.shape)}"
        )
    for name, values in (("mean", crop.mean), ("std", crop.std)):
        if len(values) not in (1, images.shape[-1]):
            raise ValueError(
                f"{name} holds {len(values)} values, but the images have {images.shape[-1]} "
                f"channel: give one value, as --config.views.crop.{name}='(0.5,)'"
            )


def cut(
    images: jax.Array,
    rows: Interval,
    columns: Interval,
    mirrored: jax.Array,
    crop: Crop,
    sigma: jax.Array | None = None,
) -> Planes:
    """Crop, resize, mirror and blur (`sigma` `[B]`) by taps or by matrices."""
    batch, height, width, _ = images.shape
    border = 0 if sigma is None else taps.blur_border(crop.blur_kernel, crop.blur_sigma[1])
    size, kind = crop.size, crop.interpolation
    if taps.pay((height, width), size, kind, border):
        return taps.cut(images, rows, columns, size, mirrored, kind, sigma, border)
    vertical = resize_rows(rows, size, height, jnp.zeros(batch, bool), kind)
    horizontal = resize_rows(columns, size, width, mirrored, kind)
    if sigma is not None:
        blur = blur_rows(sigma, size, crop.blur_kernel)
        vertical = jnp.matmul(blur, vertical, precision=jax.lax.Precision.HIGHEST)
        horizontal = jnp.matmul(blur, horizontal, precision=jax.lax.Precision.HIGHEST)
    return resample(images, vertical, horizontal)


def normalise(planes: Planes, crop: Crop) -> jax.Array:
    """Stack planes `[B, S, S]` to `[B, S, S, C]`, minus the recipe's mean and over its std."""
    means, stds = crop.mean * len(planes), crop.std * len(planes)
    # The stack comes last: XLA on CPU recomputes the planes once per channel to transpose them.
    return jnp.stack([(plane - means[c]) / stds[c] for c, plane in enumerate(planes)], axis=-1)


def _uniforms(key: jax.Array, batch: int, crop: Crop) -> Uniforms:
    """Numbers in [0, 1), `[B, BOX_DRAWS + 1]` for each operation that the recipe uses."""
    probabilities = (1.0, crop.flip, crop.jitter, crop.gray, crop.blur, crop.solarise, crop.erase)
    used = [draw for draw, probability in zip(Draw, probabilities, strict=True) if probability]

    def stream(number: jax.Array) -> jax.Array:
        key_of_stream = jax.random.fold_in(key, number)
        return jax.random.uniform(key_of_stream, (batch, BOX_DRAWS + 1), jnp.float32)

    # One generator for all: compiling a generator takes longer than running it on unused draws.
    return dict(zip(used, jax.vmap(stream)(jnp.array(used)), strict=True))


def _sigma(draws: jax.Array, crop: Crop) -> jax.Array:
    low, high = crop.blur_sigma
    return jnp.where(draws[:, 0] < crop.blur, low + draws[:, 1] * (high - low), NO_BLUR)


def _colour(uniforms: Uniforms, planes: Planes, crop: Crop) -> Planes:
    if crop.jitter:
        draws = uniforms[Draw.JITTER]
        chosen = draws[:, 0] < crop.jitter
        blends = (
            (colour.brightness, crop.brightness, draws[:, 1]),
            (colour.contrast, crop.contrast, draws[:, 2]),
            (colour.saturation, crop.saturation, draws[:, 3]),
        )
        for operation, strength, draw in blends:
            if strength:
                low = max(0.0, 1.0 - strength)
                factor = low + draw * (1.0 + strength - low)
                planes = operation(planes, jnp.where(chosen, factor, 1.0))
        if crop.hue:
            shift = (2.0 * draws[:, 4] - 1.0) * crop.hue
            planes = colour.hue(planes, jnp.where(chosen, shift, 0.0))
    if crop.gray:
        planes = colour.grayscale(planes, uniforms[Draw.GRAY][:, 0] < crop.gray)
    return planes


def _erase(draws: jax.Array, planes: Planes, crop: Crop) -> Planes:
    size = crop.size
    # torchvision states the ratio of an erased box as height / width, and erases no whole side.
    ratio = (1.0 / crop.erase_ratio[1], 1.0 / crop.erase_ratio[0])
    largest = (size - 1, size - 1)
    boxes = sample_boxes(draws[:, 1:], (size, size), largest, crop.erase_area, ratio)
    chosen = (draws[:, 0] < crop.erase) & boxes.found

    def inside(start: jax.Array, extent: jax.Array) -> jax.Array:
        pixel = jnp.arange(size)
        return (pixel >= start[:, None]) & (pixel < (start + extent)[:, None])

    rows, columns = inside(boxes.top, boxes.height), inside(boxes.left, boxes.width)
    erased = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
    return tuple(jnp.where(erased, 0.0, plane) for plane in planes)
