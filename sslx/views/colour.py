"""Colour operations on planes `[B, S, S]` in [0, 1]: one plane is gray, three are red, green, blue.

Planes instead of a last axis of 3 keep every operation a long, vectorised loop. An operation that
needs colour returns a single plane as it is. Names are torchvision's and Pillow's.
"""

import jax
import jax.numpy as jnp

Planes = tuple[jax.Array, ...]


def luma(planes: Planes) -> jax.Array:
    """Return the gray value `[B, S, S]` of Pillow's mode "L" (ITU-R 601)."""
    if len(planes) == 1:
        return planes[0]
    red, green, blue = planes
    return 0.299 * red + 0.587 * green + 0.114 * blue


def blend(planes: Planes, other: Planes, factor: jax.Array) -> Planes:
    """Move by factor `[B]` from `other` (0) through `planes` (1) and beyond, clipped to [0, 1]."""
    factor = factor[:, None, None]
    return tuple(
        jnp.clip(factor * a + (1.0 - factor) * b, 0.0, 1.0)
        for a, b in zip(planes, other, strict=True)
    )


def brightness(planes: Planes, factor: jax.Array) -> Planes:
    """Blend with black by factor `[B]`."""
    return tuple(jnp.clip(factor[:, None, None] * plane, 0.0, 1.0) for plane in planes)


def contrast(planes: Planes, factor: jax.Array) -> Planes:
    """Blend with the mean gray value of the image by factor `[B]`."""
    mean = luma(planes).mean(axis=(1, 2), keepdims=True)
    return blend(planes, (mean,) * len(planes), factor)


def saturation(planes: Planes, factor: jax.Array) -> Planes:
    """Blend with the gray image by factor `[B]`."""
    if len(planes) == 1:
        return planes
    return blend(planes, (luma(planes),) * 3, factor)


def hue(planes: Planes, shift: jax.Array) -> Planes:
    """Turn the hue of HSV by `shift` (turns, `[B]`) at equal value and saturation."""
    if len(planes) == 1:
        return planes
    red, green, blue = planes
    low = jnp.minimum(jnp.minimum(red, green), blue)
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - low
    scale = 1.0 / jnp.where(chroma > 0.0, chroma, 1.0)
    green_or_blue = jnp.where(
        value == green, 2.0 + (blue - red) * scale, 4.0 + (red - green) * scale
    )
    sector = jnp.where(value == red, (green - blue) * scale, green_or_blue)
    turned = sector + 6.0 * shift[:, None, None]
    turned -= 6.0 * jnp.floor(turned / 6.0)
    # Each channel is a trapezium of the hue: 1 within 60 degrees of its colour, 0 from 120 on.
    shares = (jnp.abs(turned - 3.0) - 1.0, 2.0 - jnp.abs(turned - 2.0), 2.0 - jnp.abs(turned - 4.0))
    return tuple(low + chroma * jnp.clip(share, 0.0, 1.0) for share in shares)


def grayscale(planes: Planes, chosen: jax.Array) -> Planes:
    """Replace the chosen images (`[B]`, bool) by their gray value."""
    if len(planes) == 1:
        return planes
    gray = luma(planes)
    return tuple(jnp.where(chosen[:, None, None], gray, plane) for plane in planes)


def solarise(planes: Planes, chosen: jax.Array, threshold: float) -> Planes:
    """Invert the values from the threshold on in the chosen images (`[B]`, bool)."""
    chosen = chosen[:, None, None]
    return tuple(jnp.where(chosen & (plane >= threshold), 1.0 - plane, plane) for plane in planes)
