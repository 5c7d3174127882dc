"""Crop, resize, flip and blur from the few weights of each output pixel that are not zero.

For larger images on CPU: what the matrices of `sslx.views.geometry` give, at a cost of O(size^2)
times the number of weights ("taps"). Rows come first, since a sum of whole rows is fast, then
columns, which are gathered value by value; a blur is a pass of its own over a view that was cut
with mirrored borders around it.
"""

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

from sslx.views.colour import Planes
from sslx.views.geometry import KERNELS, Interval, centres

SUPPORT = {"bilinear": 1, "bicubic": 2}  # pixels on either side, unless the image is made smaller
# Time of a view with taps / with matrices, by benchmarks/augmentation.py on 2 CPU devices of one
# core each, by the sides of image and view in pixels:
#                                 64, 64   96, 96   128, 112   224, 96   256, 224
#   SimCLR's view (colour, blur)   1.1      1.1      0.95       0.6       0.7
#   crop and flip alone            0.6      0.6      0.65       0.33      0.37
# Colour alone is in between, about 1.0 at 64, 64 and 0.95 at 96, 96.
SMALLEST_SIDE, SMALLEST_BLURRED_SIDE = 96, 128
MOST_TAPS = 32  # each is a line of the program, which has to be compiled


def pay(shape: Sequence[int], size: int, interpolation: str, border: int = 0) -> bool:
    """Whether taps are faster than matrices for views of `size` from images of this `shape`.

    `shape` is height and width, `border` the blur's, in pixels.
    """
    smallest = SMALLEST_BLURRED_SIDE if border else SMALLEST_SIDE
    taps = max(2 * border + 1, *(_count(side, size, interpolation) for side in shape))
    fits = taps <= min(MOST_TAPS, *shape) and border < size
    # GPU and TPU are made for matrices, and a TPU gathers slowly.
    return jax.default_backend() == "cpu" and max(shape) >= smallest and fits


def blur_border(kernel: int, largest_sigma: float) -> int:
    """Return the pixels that a blur of `kernel` taps, 0 for all that count, reaches to a side."""
    # What lies beyond five sigma is a fraction of 6e-7 of a Gaussian.
    return kernel // 2 if kernel else math.ceil(5 * largest_sigma)


def cut(
    images: jax.Array,
    rows: Interval,
    columns: Interval,
    size: int,
    mirrored: jax.Array,
    interpolation: str = "bilinear",
    sigma: jax.Array | None = None,
    border: int = 0,
) -> Planes:
    """Cut views of uint8 `[B, H, W, C]`: C planes `[B, size, size]`, as `geometry.resample`.

    `mirrored` and the blur's `sigma` (pixels of the view, or None for no blur) are `[B]`. Nothing
    is checked: `pay` says for which shapes this works.
    """
    batch, height, width, channels = images.shape
    upright = jnp.zeros(batch, bool)
    first, weights = _resize_taps(rows, size, height, upright, interpolation, border)
    lines = images.transpose(0, 1, 3, 2).reshape(batch, height, channels * width)
    terms = (
        weight[:, :, None] * _take(lines, (first + t)[:, :, None], 1)
        for t, weight in enumerate(weights)
    )
    lines = reduce(operator.add, terms)
    padded = size + 2 * border
    view = lines.reshape(batch, padded, channels, width)
    first, weights = _resize_taps(columns, size, width, mirrored, interpolation, border)

    def column(t: jax.Array) -> jax.Array:
        return weights[t][:, None, None, :] * _take(view, (first + t)[:, None, None, :], 3)

    view = _sum_in_halves(column, len(weights), (batch, padded, channels, padded))
    if sigma is not None:
        view = _blur(view, sigma, border)
    return tuple(jnp.clip(view[:, :, channel] / 255.0, 0.0, 1.0) for channel in range(channels))


def _count(side: int, size: int, interpolation: str) -> int:
    """Taps, an even number, for a box as long as the whole side or shorter."""
    return 2 * math.ceil(SUPPORT[interpolation] * max(side / size, 1.0))


def _resize_taps(
    interval: Interval, size: int, side: int, mirrored: jax.Array, interpolation: str, border: int
) -> tuple[jax.Array, jax.Array]:
    """First pixel `[B, N]` and weights `[T, B, N]` of `resize_rows`, N = size + 2 border."""
    count = _count(side, size, interpolation)
    output = jnp.asarray(np.pad(np.arange(size), border, mode="reflect"), jnp.float32) + 0.5
    centre, reach = centres(interval, output, size, mirrored)
    first = jnp.floor(centre - SUPPORT[interpolation] * reach).astype(jnp.int32) + 1
    first = jnp.clip(first, 0, side - count)
    pixels = first + jnp.arange(count, dtype=jnp.int32)[:, None, None]
    weights = KERNELS[interpolation](jnp.abs(centre - pixels.astype(jnp.float32)) / reach)
    return first, weights / weights.sum(0)


def _blur(view: jax.Array, sigma: jax.Array, border: int) -> jax.Array:
    """Blur `[B, S + 2 border, C, S + 2 border]` to `[B, S, C, S]`."""
    batch, padded, channels, _ = view.shape
    size, count = padded - 2 * border, 2 * border + 1
    squared = np.square(np.arange(-border, border + 2), dtype=np.float32)
    squared[-1] = np.inf  # one more tap of weight 0, for an even number
    weights = jnp.exp(-squared[:, None] * (0.5 / jnp.square(sigma)))
    weights /= weights.sum(0)
    lines = view.reshape(batch, padded, channels * padded)
    terms = (weights[t][:, None, None] * lines[:, t : t + size] for t in range(count))
    view = reduce(operator.add, terms).reshape(batch, size, channels, padded)

    def column(t: jax.Array) -> jax.Array:
        # The slice of the last tap would end beyond the view, and is moved inside.
        return weights[t][:, None, None, None] * jax.lax.dynamic_slice_in_dim(view, t, size, 3)

    return _sum_in_halves(column, count + 1, (batch, size, channels, size))


def _take(values: jax.Array, index: jax.Array, axis: int) -> jax.Array:
    # An index without a sign spares the test for negative ones, which costs as much as the gather.
    return jnp.take_along_axis(values, index.astype(jnp.uint32), axis, mode="promise_in_bounds")


def _sum_in_halves(
    term: Callable[[jax.Array], jax.Array], count: int, shape: tuple[int, ...]
) -> jax.Array:
    """Sum term(0) to term(count - 1) of this shape, for an even count."""

    # Not one sum: XLA on CPU would compute what the terms read anew for every term, and the sum
    # for every reader. A loop is the one boundary that it keeps; it drops `optimization_barrier`
    # before it fuses.
    def add_half(half: jax.Array, total: jax.Array) -> jax.Array:
        return total + sum(term(half * (count // 2) + k) for k in range(count // 2))

    return jax.lax.fori_loop(0, 2, add_half, jnp.zeros(shape, jnp.float32))
