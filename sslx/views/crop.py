"""The recipe of one augmented view: numbers only, checked when it is made."""

from dataclasses import dataclass

from sslx.views.checks import Range, are_numbers, as_range, check_integer, check_number


@dataclass(frozen=True)
class Crop:
    """How one view is cut from an image and changed; names and meanings are torchvision's.

    Hashable, so that it can be a static argument of `jax.jit`. A probability of 0 removes an
    operation from the compiled program. Raises ValueError for a value outside the range below.
    """

    size: int  # side of the output in pixels, >= 1
    area: Range = (0.08, 1.0)  # fraction of the image's area, in (0, 1]
    ratio: Range = (3 / 4, 4 / 3)  # width / height, log-uniform, > 0
    interpolation: str = "bilinear"  # or bicubic, both antialiased, as Pillow's
    flip: float = 0.5  # probability of mirroring left and right
    jitter: float = 0.0  # probability of the four colour operations, whose strengths follow
    brightness: float = 0.4  # strength s >= 0: factor drawn from [max(0, 1 - s), 1 + s]
    contrast: float = 0.4  # likewise
    saturation: float = 0.4  # likewise
    hue: float = 0.1  # shift drawn from [-hue, hue] turns of the colour circle, hue in [0, 0.5]
    gray: float = 0.0  # probability
    blur: float = 0.0  # probability
    blur_sigma: Range = (0.1, 2.0)  # pixels of the output, > 0
    blur_kernel: int = 0  # taps, an odd number, as torchvision's; 0: as many as sigma needs
    solarise: float = 0.0  # probability
    solarise_threshold: float = 0.5  # on the [0, 1] scale
    erase: float = 0.0  # probability; the box is filled with 0 before the normalisation
    erase_area: Range = (0.02, 0.33)  # fraction of the view's area, in (0, 1]
    erase_ratio: Range = (0.3, 3.3)  # height / width, log-uniform, > 0
    mean: tuple[float, ...] = (0.0,)  # one value, or one per channel, on the [0, 1] scale
    std: tuple[float, ...] = (1.0,)  # likewise, > 0

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1, unit=" pixel")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(
                f"interpolation is {self.interpolation!r}; it must be bilinear or bicubic."
            )
        for name in ("flip", "jitter", "gray", "blur", "solarise", "erase", "solarise_threshold"):
            check_number(name, getattr(self, name), 0.0, 1.0)
        for name in ("brightness", "contrast", "saturation"):
            check_number(name, getattr(self, name), 0.0)
        check_number("hue", self.hue, 0.0, 0.5)
        # A config may hand over lists, which would make the recipe unhashable.
        for name in ("area", "erase_area"):
            object.__setattr__(self, name, as_range(name, getattr(self, name), 1.0))
        for name in ("ratio", "blur_sigma", "erase_ratio"):
            object.__setattr__(self, name, as_range(name, getattr(self, name)))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _per_channel(name, getattr(self, name)))
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std!r}; it must be above 0.")
        self._check_kernel()

    def _check_kernel(self) -> None:
        kernel = self.blur_kernel
        if not isinstance(kernel, int) or kernel < 0 or (kernel > 0 and kernel % 2 == 0):
            raise ValueError(
                f"blur_kernel is {kernel!r}; it must be an odd number of taps, or 0, with which "
                "the taps follow blur_sigma."
            )
        if kernel // 2 >= self.size:
            raise ValueError(
                f"blur_kernel is {kernel}, which reaches {kernel // 2} pixels past the border of "
                f"a view of size {self.size}; it must be at most {2 * self.size - 1}."
            )


def _per_channel(name: str, values: object) -> tuple[float, ...]:
    if isinstance(values, (tuple, list)) and len(values) in (1, 3) and are_numbers(values):
        return tuple(float(v) for v in values)
    raise ValueError(f"{name} is {values!r}; it must be a tuple of 1 number or 3, one per channel.")
