"""The recipe of one augmented view: numbers only, checked when written down."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Crop:
    """How one view is cut from an image and changed; hashable, so it can be a static argument of
    `jax.jit`.

    Names and meanings are torchvision's. A probability of 0 removes an operation from the compiled
    program. Raises ValueError for a value outside the range given beside it."""

    size: int  # side of the output in pixels, >= 1
    area: Range = (0.08, 1.0)  # fraction of the image's area, in (0, 1]
    ratio: Range = (3 / 4, 4 / 3)  # width / height, log-uniform, > 0
    interpolation: str = "bilinear"  # or bicubic, both antialiased, as Pillow's
    flip: float = 0.5  # probability
    jitter: float = 0.0  # probability of the four colour operations, whose strengths follow
    brightness: float = 0.4  # factor drawn from [max(0, 1 - s), 1 + s]
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1  # shift drawn from [-hue, hue] turns of the colour circle, hue in [0, 0.5]
    gray: float = 0.0  # probability
    blur: float = 0.0  # probability
    blur_sigma: Range = (0.1, 2.0)  # pixels of the output, > 0
    blur_kernel: int = (
        0  # 0: as many taps as sigma needs; odd k: k taps, as torchvision's GaussianBlur(k)
    )
    solarise: float = 0.0  # probability
    solarise_threshold: float = 0.5  # on the [0, 1] scale
    erase: float = 0.0  # probability; the box is filled with 0 before the normalisation
    erase_area: Range = (0.02, 0.33)  # fraction of the view's area, in (0, 1]
    erase_ratio: Range = (0.3, 3.3)  # log-uniform, > 0
    mean: tuple[float, ...] = (0.0,)  # one value, or one per channel, on the [0, 1] scale
    std: tuple[float, ...] = (1.0,)  # likewise, > 0

    def __post_init__(self) -> None:
        # A config may hand over lists, which would make the recipe unhashable.
        for name in ("area", "ratio", "blur_sigma", "erase_area", "erase_ratio", "mean", "std"):
            object.__setattr__(self, name, _floats(name, getattr(self, name)))
        _check_integers(self)
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation must be bilinear or bicubic, got {self.interpolation!r}"
            )
        for name in ("flip", "jitter", "gray", "blur", "solarise", "erase", "solarise_threshold"):
            _check_between(name, getattr(self, name), 0.0, 1.0)
        for name in ("brightness", "contrast", "saturation"):
            _check_between(name, getattr(self, name), 0.0, float("inf"))
        _check_between("hue", self.hue, 0.0, 0.5)
        for name in ("area", "erase_area"):
            _check_range(name, getattr(self, name), 1.0)
        for name in ("ratio", "blur_sigma", "erase_ratio"):
            _check_range(name, getattr(self, name), float("inf"))
        _check_normalisation(self.mean, self.std)


def _floats(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, (tuple, list)) or not all(
        isinstance(v, (int, float)) for v in values
    ):
        raise ValueError(f"{name} must be a tuple of numbers, got {values!r}")
    return tuple(float(v) for v in values)


def _check_integers(crop: Crop) -> None:
    if not isinstance(crop.size, int) or crop.size < 1:
        raise ValueError(f"size must be a whole number of pixels, at least 1, got {crop.size!r}")
    kernel = crop.blur_kernel
    if not isinstance(kernel, int) or kernel < 0 or (kernel > 0 and kernel % 2 == 0):
        raise ValueError(
            "blur_kernel must be 0 (taps follow blur_sigma) or an odd number of taps, got "
            f"{kernel!r}"
        )
    if kernel // 2 >= crop.size:
        raise ValueError(
            f"blur_kernel {kernel} reaches {kernel // 2} pixels past the border of a view of size "
            f"{crop.size}; "
            f"use at most {2 * crop.size - 1}"
        )


def _check_between(name: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or not low <= value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")


def _check_range(name: str, values: tuple[float, ...], highest: float) -> None:
    if len(values) != 2 or not 0 < values[0] <= values[1] <= highest:
        above = "" if highest == float("inf") else f" <= {highest:g}"
        raise ValueError(f"{name} must be (low, high) with 0 < low <= high{above}, got {values!r}")


def _check_normalisation(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, 3):
            raise ValueError(f"{name} must hold 1 value or 3 (one per channel), got {values!r}")
    if not all(value > 0 for value in std):
        raise ValueError(f"std must be above 0, got {std!r}")
