"""Random views of uint8 images inside `jax.jit`: every operation and every draw is per image.

The batch axis may be sharded over a mesh: draw number i belongs to image i, however many devices
share the batch."""

import enum
from functools import partial

import jax
import jax.numpy as jnp

from sslx.views import colour, taps
from sslx.views.crop import Crop
from sslx.views.geometry import (
    BOX_DRAWS,
    blur_rows,
    crop_boxes,
    resample,
    resize_rows,
    sample_boxes,
)

NO_BLUR = 1e-2  # pixels; the Gaussian of this sigma is the identity in float32


class Draw(enum.IntEnum):
    """Number of each operation's random stream, so that one operation can be removed without moving
    the others.
    """

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
    """Random views float32 `[B, S, S, C]` of uint8 images `[B, H, W, C]`, S = crop.size, C = 1 or
    3.

    The order is torchvision's usual one: crop, flip, brightness, contrast, saturation, hue, gray,
    blur, solarise, erase, normalise. It differs in two ways, both for speed: the four colour
    operations come in this fixed order, each clipped to [0, 1], instead of a random one; and the
    blur is applied with the crop, before the colour, which differs only where colour clips. Raises
    ValueError for other images, or a mean or std that does not suit their channels."""
    check_images(images, crop)
    uniforms = _uniforms(key, len(images), crop)
    planes = _cut(uniforms, images, crop)
    planes = _colour(uniforms, planes, crop)
    if crop.solarise:
        chosen = uniforms[Draw.SOLARISE][:, 0] < crop.solarise
        planes = colour.solarise(planes, chosen, crop.solarise_threshold)
    if crop.erase:
        planes = _erase(uniforms[Draw.ERASE], planes, crop)
    return normalise(planes, crop)


def check_images(images: jax.Array, crop: Crop) -> None:
    """Raises ValueError unless images are uint8 `[B, H, W, 1 or 3]` and the recipe's mean and std
    suit them.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != jnp.uint8:
        raise ValueError(
            f"images must be uint8 [B, H, W, C] with C = 1 or 3, got {images.dtype} "
            f"{list(images.shape)}"
        )
    for name, values in (("mean", crop.mean), ("std", crop.std)):
        if len(values) not in (1, images.shape[-1]):
            raise ValueError(
                f"{name} holds {len(values)} values, but the images have {images.shape[-1]} channel"
            )


def normalise(planes: colour.Planes, crop: Crop) -> jax.Array:
    """Stacks planes `[B, S, S]` to `[B, S, S, C]`, minus the recipe's mean and over its std."""
    means, stds = crop.mean * len(planes), crop.std * len(planes)
    # XLA on CPU recomputes the planes once per channel when it has to transpose, so the stack comes
    # last.
    return jnp.stack([(plane - means[c]) / stds[c] for c, plane in enumerate(planes)], axis=-1)


def _uniforms(key: jax.Array, batch: int, crop: Crop) -> Uniforms:
    """Numbers in [0, 1), `[B, BOX_DRAWS + 1]` for each operation that the recipe uses."""
    probabilities = (1.0, crop.flip, crop.jitter, crop.gray, crop.blur, crop.solarise, crop.erase)
    used = [draw for draw, probability in zip(Draw, probabilities, strict=True) if probability]

    def stream(number: jax.Array) -> jax.Array:
        return jax.random.uniform(
            jax.random.fold_in(key, number), (batch, BOX_DRAWS + 1), jnp.float32
        )

    # One generator for all streams: XLA takes longer to compile a generator than to run it on a few
    # unused draws.
    return dict(zip(used, jax.vmap(stream)(jnp.array(used)), strict=True))


def _cut(uniforms: Uniforms, images: jax.Array, crop: Crop) -> colour.Planes:
    batch, height, width, _ = images.shape
    boxes = crop_boxes(uniforms[Draw.CROP], (height, width), crop.area, crop.ratio)
    upright = jnp.zeros(batch, bool)
    mirrored = uniforms[Draw.FLIP][:, 0] < crop.flip if crop.flip else upright
    border = taps.blur_border(crop.blur_kernel, crop.blur_sigma[1]) if crop.blur else 0
    if taps.pay((height, width), crop.size, crop.interpolation, border):
        box = (boxes.top, boxes.height), (boxes.left, boxes.width)
        sigma = _sigma(uniforms[Draw.BLUR], crop) if crop.blur else None
        return taps.cut(images, *box, crop.size, mirrored, crop.interpolation, sigma, border)
    rows = resize_rows(boxes.top, boxes.height, crop.size, height, upright, crop.interpolation)
    columns = resize_rows(boxes.left, boxes.width, crop.size, width, mirrored, crop.interpolation)
    if crop.blur:
        weights = blur_rows(_sigma(uniforms[Draw.BLUR], crop), crop.size, crop.blur_kernel)
        rows = jnp.matmul(weights, rows, precision=jax.lax.Precision.HIGHEST)
        columns = jnp.matmul(weights, columns, precision=jax.lax.Precision.HIGHEST)
    return resample(images, rows, columns)


def _sigma(draws: jax.Array, crop: Crop) -> jax.Array:
    low, high = crop.blur_sigma
    return jnp.where(draws[:, 0] < crop.blur, low + draws[:, 1] * (high - low), NO_BLUR)


def _colour(uniforms: Uniforms, planes: colour.Planes, crop: Crop) -> colour.Planes:
    if crop.jitter:
        draws = uniforms[Draw.JITTER]
        chosen = draws[:, 0] < crop.jitter
        strengths = (crop.brightness, crop.contrast, crop.saturation)
        operations = (colour.brightness, colour.contrast, colour.saturation)
        for number, (operation, strength) in enumerate(
            zip(operations, strengths, strict=True), start=1
        ):
            if strength:
                low = max(0.0, 1.0 - strength)
                factor = low + draws[:, number] * (1.0 + strength - low)
                planes = operation(planes, jnp.where(chosen, factor, 1.0))
        if crop.hue:
            planes = colour.hue(
                planes, jnp.where(chosen, (2.0 * draws[:, 4] - 1.0) * crop.hue, 0.0)
            )
    if crop.gray:
        planes = colour.grayscale(planes, uniforms[Draw.GRAY][:, 0] < crop.gray)
    return planes


def _erase(uniforms: jax.Array, planes: colour.Planes, crop: Crop) -> colour.Planes:
    size = crop.size
    # torchvision states the ratio of an erased box as height / width, and never erases a whole
    # side.
    ratio = (1.0 / crop.erase_ratio[1], 1.0 / crop.erase_ratio[0])
    boxes = sample_boxes(
        uniforms[:, 1:], (size, size), (size - 1, size - 1), crop.erase_area, ratio
    )
    chosen = (uniforms[:, 0] < crop.erase) & boxes.found

    def inside(start: jax.Array, extent: jax.Array) -> jax.Array:
        pixel = jnp.arange(size)
        return (pixel >= start[:, None]) & (pixel < (start + extent)[:, None])

    erased = (
        inside(boxes.top, boxes.height)[:, :, None] & inside(boxes.left, boxes.width)[:, None, :]
    )
    erased &= chosen[:, None, None]
    return tuple(jnp.where(erased, 0.0, plane) for plane in planes)
