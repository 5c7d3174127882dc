"""How much the forms of `sslx.views.augment` save: SimCLR's view, and crop and flip alone.

    python -m benchmarks.augmentation
    python -m benchmarks.augmentation 256,224 224,96

Arguments are pairs of the image's and the view's side in pixels. SimCLR's view is crop, flip,
colour jitter with exact HSV hue, gray and blur. Each is made in several ways:

- `sslx`: as training does it, colour on separate planes, geometry in the form that
  `sslx.views.taps.pay` chooses;
- `matrices`, `taps`: the same in one form of the geometry, whatever the shapes: crop, flip and
  blur folded into two matrices per image, or sums over a few pixels. One of them is the program of
  `sslx`, and shows the noise;
- `op by op`: the same operations in JAX as one would first write them: `scale_and_translate`,
  `rgb_to_hsv` and back, a depthwise convolution; boxes and factors are drawn more simply, which
  favours this side;
- `Pillow`: one image after the other on one core, as a data-loading worker does; multiply by your
  number of workers.

On a CPU training has a device per core; XLA_FLAGS=--xla_force_host_platform_device_count=2 gives
two devices here.

How to read it: the ways take turns within every round, and a ratio is the median over the rounds
of time / time of sslx, so that a busy machine slows both sides alike. The ratios are the result;
img/s depends on the machine.
"""

import colorsys
import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image, ImageEnhance, ImageFilter

from sslx.views import taps
from sslx.views.augment import augment
from sslx.views.crop import Crop

PAIRS = ((32, 32), (96, 96), (224, 96), (256, 224))  # sides of the image and of the view
ROUNDS = 15
TAPS = 9


def recipes(size: int) -> dict[str, Crop]:
    return {"SimCLR view": Crop(size, jitter=0.8, gray=0.2, blur=0.5), "crop and flip": Crop(size)}


@partial(jax.jit, static_argnames=("crop", "few"))
def in_form(key: jax.Array, images: jax.Array, crop: Crop, few: bool) -> jax.Array:
    with mock.patch.object(taps, "pay", return_value=few):
        return augment.__wrapped__(key, images, crop)


def rgb_to_hsv(rgb: jax.Array) -> jax.Array:
    red, green, blue = rgb
    value, low = rgb.max(), rgb.min()
    chroma = jnp.where(value > low, value - low, 1.0)
    sectors = jnp.array(
        [(green - blue) / chroma, 2 + (blue - red) / chroma, 4 + (red - green) / chroma]
    )
    return jnp.array(
        [sectors[jnp.argmax(rgb)] / 6 % 1.0, (value - low) / jnp.maximum(value, 1e-8), value]
    )


def hsv_to_rgb(hsv: jax.Array) -> jax.Array:
    steps = (jnp.array([5.0, 3.0, 1.0]) + 6 * hsv[0]) % 6
    return hsv[2] - hsv[2] * hsv[1] * jnp.clip(jnp.minimum(steps, 4 - steps), 0, 1)


def naive_blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    taps = jnp.exp(-0.5 * jnp.square(jnp.arange(TAPS) - TAPS // 2) / sigma**2)
    kernel = jnp.tile((taps / taps.sum())[:, None, None, None], (1, 1, 1, 3))
    reach = (TAPS // 2, TAPS // 2)
    padded = jnp.pad(image, (reach, reach, (0, 0)), mode="reflect")[None]
    convolve = partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=3,
    )
    return convolve(convolve(padded, kernel), kernel.transpose(1, 0, 2, 3))[0]


def naive_view(key: jax.Array, image: jax.Array, crop: Crop) -> jax.Array:
    """One view `[S, S, 3]` of one uint8 image `[H, W, 3]`, operation by operation."""
    keys = iter(jax.random.split(key, 16))
    uniform = lambda low, high: jax.random.uniform(next(keys), (), minval=low, maxval=high)  # noqa: E731
    side, image = image.shape[0], image.astype(jnp.float32) / 255
    area = side**2 * uniform(*crop.area)
    aspect = jnp.exp(uniform(*(math.log(r) for r in crop.ratio)))
    extent = jnp.minimum(jnp.sqrt(area * jnp.array([1 / aspect, aspect])), side)
    scale, start = crop.size / extent, jnp.array([uniform(0, 1), uniform(0, 1)]) * (side - extent)
    shape = (crop.size, crop.size, 3)
    image = jax.image.scale_and_translate(
        image, shape, (0, 1), scale, -start * scale, "linear", antialias=True
    )
    image = jnp.where(uniform(0, 1) < crop.flip, image[:, ::-1], image)
    weights = jnp.array([0.299, 0.587, 0.114])
    bright = jnp.clip(image * uniform(1 - crop.brightness, 1 + crop.brightness), 0, 1)
    factor = uniform(1 - crop.contrast, 1 + crop.contrast)
    bright = jnp.clip(factor * bright + (1 - factor) * (bright @ weights).mean(), 0, 1)
    factor = uniform(1 - crop.saturation, 1 + crop.saturation)
    bright = jnp.clip(factor * bright + (1 - factor) * (bright @ weights)[..., None], 0, 1)
    hsv = jax.vmap(jax.vmap(rgb_to_hsv))(bright) + jnp.array([uniform(-crop.hue, crop.hue), 0, 0])
    image = jnp.where(uniform(0, 1) < crop.jitter, jax.vmap(jax.vmap(hsv_to_rgb))(hsv), image)
    image = jnp.where(uniform(0, 1) < crop.gray, (image @ weights)[..., None], image)
    return jnp.where(uniform(0, 1) < crop.blur, naive_blur(image, uniform(*crop.blur_sigma)), image)


@partial(jax.jit, static_argnames="crop")
def naive(key: jax.Array, images: jax.Array, crop: Crop) -> jax.Array:
    return jax.vmap(partial(naive_view, crop=crop))(jax.random.split(key, len(images)), images)


def pillow_view(rng: np.random.Generator, pixels: np.ndarray, crop: Crop) -> np.ndarray:
    """One view `[S, S, 3]` of one uint8 image `[H, W, 3]` with Pillow and NumPy."""
    side, image = len(pixels), Image.fromarray(pixels)
    low, high = (math.log(ratio) for ratio in crop.ratio)
    area, aspect = side**2 * rng.uniform(*crop.area), math.exp(rng.uniform(low, high))
    width, height = (min(side, round(math.sqrt(area * ratio))) for ratio in (aspect, 1 / aspect))
    left, top = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
    box = (left, top, left + width, top + height)
    image = image.crop(box).resize((crop.size, crop.size), Image.Resampling.BILINEAR)
    if rng.random() < crop.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < crop.jitter:
        strengths = {
            ImageEnhance.Brightness: crop.brightness,
            ImageEnhance.Contrast: crop.contrast,
            ImageEnhance.Color: crop.saturation,
        }
        for enhancer, strength in strengths.items():
            image = enhancer(image).enhance(rng.uniform(1 - strength, 1 + strength))
        hsv = np.array(image.convert("HSV"))
        shift = round(255 * rng.uniform(-crop.hue, crop.hue)) % 256
        hsv[..., 0] += np.uint8(shift)  # wraps around in uint8
        image = Image.fromarray(hsv, "HSV").convert("RGB")
    if rng.random() < crop.gray:
        image = image.convert("L").convert("RGB")
    if rng.random() < crop.blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*crop.blur_sigma)))
    return np.asarray(image, np.float32) / 255


def ways(side: int, batch: int, crop: Crop) -> dict[str, Callable[[], object]]:
    """The ways, each a function that makes one batch of views and waits for it."""
    rng, key = np.random.default_rng(0), jax.random.key(0)
    noise = rng.integers(0, 256, (batch, 8, 8, 3), dtype=np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(image).resize((side, side))) for image in noise])
    mesh = Mesh(np.array(jax.devices()), ("data",))
    images = jax.device_put(pixels, NamedSharding(mesh, PartitionSpec("data")))
    made = {
        "sslx": lambda: augment(key, images, crop).block_until_ready(),
        "matrices": lambda: in_form(key, images, crop, few=False).block_until_ready(),
        "taps": lambda: in_form(key, images, crop, few=True).block_until_ready(),
        "op by op": lambda: naive(key, images, crop).block_until_ready(),
        "Pillow, one core": lambda: np.stack([pillow_view(rng, image, crop) for image in pixels]),
    }
    if not crop.jitter:
        del made["op by op"]  # it draws and makes every operation, and then drops it
    return made


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(competitors: dict[str, Callable[[], object]], batch: int) -> None:
    """Time the ways side by side and print a line for each."""
    first = {name: seconds(function) for name, function in competitors.items()}
    rounds = []
    for _ in range(ROUNDS):
        rounds.append({name: seconds(function) for name, function in competitors.items()})
    for name in competitors:
        rate = batch / statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[name] / times["sslx"] for times in rounds)
        print(
            f"{name:18}{rate:10.0f} img/s   time / sslx {ratio:6.2f}   "
            f"first call {first[name]:5.2f} s"
        )


def main() -> None:
    """Measure and print."""
    red = jnp.array([0.9, 0.2, 0.3])
    exact = colorsys.rgb_to_hsv(0.9, 0.2, 0.3)
    assert np.allclose(rgb_to_hsv(red), exact, atol=1e-5), "the naive way is wrong"
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, {ROUNDS} rounds")
    pairs = [tuple(map(int, pair.split(","))) for pair in sys.argv[1:]] or PAIRS
    for side, size in pairs:
        batch = max(16, min(256, 2**19 // size**2 // 8 * 8))
        for title, crop in recipes(size).items():
            print(f"\n{title}, {side} to {size} pixels, batch {batch}")
            compare(ways(side, batch, crop), batch)


if __name__ == "__main__":
    main()
