"""Crop, resize, flip and blur as two matrices per image, and the sampler of random boxes.

Each of these operations is linear and separable, so that a view is `Wy @ image @ Wx^T` with one
row of weights per output pixel. The cost is O(size^2 * side) per axis and channel, all of it in
matrix products.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.views.colour import Planes

ATTEMPTS = 10  # torchvision's number of tries for a box that fits
BOX_DRAWS = 2 * ATTEMPTS + 2

Interval = tuple[jax.Array, jax.Array]  # start and extent on an axis in pixels, each `[B]`


class Boxes(NamedTuple):
    """Integer boxes in pixels, each `[B]`; `found` is False where no attempt fitted."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array
    found: jax.Array


def sample_boxes(
    uniforms: jax.Array,
    shape: tuple[int, int],
    largest: tuple[int, int],
    area: Sequence[float],
    ratio: Sequence[float],
) -> Boxes:
    """Draw boxes as torchvision: the first of ten attempts that fits, of at least one pixel.

    `uniforms` are `[B, >= BOX_DRAWS]`; `shape` is the image's height and width, `largest` that of
    the largest box; `area` a fraction of the image's, `ratio` width / height, log-uniform.
    """
    pixels = shape[0] * shape[1] * (area[0] + uniforms[:, :ATTEMPTS] * (area[1] - area[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    ratios = jnp.exp(low + uniforms[:, ATTEMPTS : 2 * ATTEMPTS] * (high - low))
    heights, widths = jnp.round(jnp.sqrt(pixels / ratios)), jnp.round(jnp.sqrt(pixels * ratios))
    fits = (heights >= 1) & (widths >= 1) & (heights <= largest[0]) & (widths <= largest[1])
    attempt = jnp.where(fits, jnp.arange(ATTEMPTS), ATTEMPTS)
    first = fits & (attempt == attempt.min(axis=1, keepdims=True))
    height = jnp.where(first, heights, 0.0).sum(axis=1)
    width = jnp.where(first, widths, 0.0).sum(axis=1)

    def place(draw: jax.Array, choices: jax.Array) -> jax.Array:
        # The product of a float32 below 1 and a whole number can round up to that number.
        return jnp.minimum(jnp.floor(draw * (choices + 1)), choices)

    top = place(uniforms[:, 2 * ATTEMPTS], shape[0] - height)
    left = place(uniforms[:, 2 * ATTEMPTS + 1], shape[1] - width)
    return Boxes(top, left, height, width, fits.any(axis=1))


def crop_boxes(
    uniforms: jax.Array, shape: tuple[int, int], area: Sequence[float], ratio: Sequence[float]
) -> Boxes:
    """Draw the boxes of RandomResizedCrop: `sample_boxes`, or the central crop of nearest ratio."""
    boxes = sample_boxes(uniforms, shape, shape, area, ratio)
    height, width = shape
    if width / height < ratio[0]:
        height = min(height, round(width / ratio[0]))
    elif width / height > ratio[1]:
        width = min(width, round(height * ratio[1]))
    central = ((shape[0] - height) // 2, (shape[1] - width) // 2, height, width)
    found = boxes.found
    top, left, tall, wide = (
        jnp.where(found, drawn, c) for drawn, c in zip(boxes[:4], central, strict=True)
    )
    return Boxes(top, left, tall, wide, jnp.ones_like(found))


def _triangle(distance: jax.Array) -> jax.Array:
    return jnp.maximum(1.0 - distance, 0.0)


def _keys(distance: jax.Array) -> jax.Array:
    """Keys' cubic convolution with a = -0.5."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((2.5 - 0.5 * distance) * distance - 4.0) * distance + 2.0
    return jnp.where(distance < 1.0, near, jnp.where(distance < 2.0, far, 0.0))


KERNELS = {"bilinear": _triangle, "bicubic": _keys}


def centres(
    interval: Interval, output: jax.Array, size: int, mirrored: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return where output pixels `[N]` lie in the image `[B, N]`, and their reach `[B, 1]`."""
    start, extent = interval
    output = jnp.where(mirrored[:, None], size - output, output)
    centre = start[:, None] + output * (extent / size)[:, None] - 0.5
    return centre, jnp.maximum(extent / size, 1.0)[:, None]


def resize_rows(
    interval: Interval, size: int, side: int, mirrored: jax.Array, interpolation: str = "bilinear"
) -> jax.Array:
    """Return weights `[B, size, side]` that resize the interval of an axis to `size` pixels.

    Antialiased, as `jax.image.scale_and_translate` and Pillow's `resize(box=...)`: pixels just
    outside the interval take part, where torchvision cuts first. `mirrored` is `[B]`.
    """
    output = jnp.arange(size, dtype=jnp.float32) + 0.5
    centre, reach = centres(interval, output, size, mirrored)
    distance = jnp.abs(centre[:, :, None] - jnp.arange(side, dtype=jnp.float32)) / reach[:, None]
    weights = KERNELS[interpolation](distance)
    return weights / weights.sum(-1, keepdims=True)


def blur_rows(sigma: jax.Array, size: int, kernel: int) -> jax.Array:
    """Return weights `[B, size, size]` of a Gaussian of `sigma` `[B]` pixels with mirrored borders.

    `kernel` is the number of taps as in torchvision's GaussianBlur, or 0 for all that fit.
    """
    here, there = np.arange(size)[:, None], np.arange(size)[None, :]
    reach = kernel // 2 if kernel else 2 * size
    precision = (0.5 / jnp.square(sigma))[:, None, None]

    def taps(distance: np.ndarray, exists: np.ndarray) -> jax.Array:
        squared = np.where(exists & (distance <= reach), np.square(distance), np.inf)
        return jnp.exp(-precision * squared.astype(np.float32))

    weights = taps(abs(here - there), there >= 0)
    weights += taps(here + there, there > 0)
    weights += taps(2 * (size - 1) - here - there, there < size - 1)
    return weights / weights.sum(-1, keepdims=True)


def resample(images: jax.Array, rows: jax.Array, columns: jax.Array) -> Planes:
    """Apply weights `[B, S, H]` and `[B, S, W]` to uint8 `[B, H, W, C]`: planes in [0, 1]."""
    planes = []
    for channel in range(images.shape[-1]):
        plane = images[..., channel].astype(jnp.float32)
        # The default precision on GPU and TPU keeps 8 to 10 bits, too few for pixels.
        plane = jnp.einsum("bih,bhw->biw", rows, plane, precision=jax.lax.Precision.HIGHEST)
        plane = jnp.einsum("biw,bjw->bij", plane, columns, precision=jax.lax.Precision.HIGHEST)
        planes.append(jnp.clip(plane / 255.0, 0.0, 1.0))
    return tuple(planes)
