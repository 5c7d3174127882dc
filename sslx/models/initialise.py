"""Initial values drawn by NumPy from a table of rules.

Each leaf has its own generator, seeded by the key and by the leaf's path. So values depend neither
on the backend nor on the order or number of the other leaves, and starting a network compiles
nothing."""

import math
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Draw = Callable[
    [np.random.Generator, tuple[int, ...], int], np.ndarray
]  # generator, shape, the layer's fan in
Rules = Sequence[
    tuple[str, Draw]
]  # (regular expression for the whole path such as "layer1_0/conv1/kernel", draw)


def kaiming_normal_fan_out(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int
) -> np.ndarray:
    """Draw N(0, 2 / fan_out), not truncated, for a kernel [k, k, in, out] (torchvision's ResNet; He
    et al. 2015).
    """
    fan_out = math.prod(shape[:-2]) * shape[-1]
    return normal(math.sqrt(2 / fan_out))(rng, shape, fan_in)


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Draw U(-b, b) with b = 1 / sqrt(fan_in), what torch.nn.Linear does by default for its weight
    and its bias.
    """
    bound = np.float32(1 / math.sqrt(fan_in))
    return (2 * rng.random(shape, np.float32) - 1) * bound


def truncated_fan_in(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Draw N(0, 1 / fan_in) cut at two standard deviations, not rescaled: Haiku's default for
    linear layers.
    """
    return truncated_normal(1 / math.sqrt(fan_in), 2)(rng, shape, fan_in)


def truncated_normal(std: float, cut: float) -> Draw:
    """Return a draw from N(0, std^2) without what is beyond `cut` standard deviations, not
    rescaled.
    """

    def draw(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
        draws = rng.standard_normal(shape, np.float32)
        while (outside := np.abs(draws) > cut).any():
            draws[outside] = rng.standard_normal(int(outside.sum()), np.float32)
        return draws * np.float32(std)

    return draw


def constant(value: float) -> Draw:
    """Return a draw that is always `value`."""
    return lambda rng, shape, fan_in: np.full(shape, value, np.float32)


def normal(std: float) -> Draw:
    """Return a draw from N(0, std^2), not truncated."""
    return lambda rng, shape, fan_in: rng.standard_normal(shape, np.float32) * np.float32(std)


def zeros(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Return zeros."""
    return np.zeros(shape, np.float32)


def ones(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Return ones."""
    return np.ones(shape, np.float32)


def norm_rules(layer: str) -> Rules:
    """Return torch's start for the normalisation layers whose path matches `layer`: identity,
    statistics 0 and 1.
    """
    return (
        (rf"{layer}/(scale|var)", ones),
        (rf"{layer}/(bias|mean)", zeros),
    )


def fill(shapes: dict[str, Any], rules: Rules, seed: Sequence[int]) -> dict[str, Any]:
    """Fill a nested dict of shapes with float32 arrays: each leaf by the first rule that matches
    its path.
    """
    return _fill(shapes, rules, seed, "")


def _fill(tree: dict[str, Any], rules: Rules, seed: Sequence[int], parent: str) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, leaf in tree.items():
        path = f"{parent}{name}"
        if isinstance(leaf, dict):
            filled[name] = _fill(leaf, rules, seed, f"{path}/")
            continue
        draw = next((draw for pattern, draw in rules if re.fullmatch(pattern, path)), None)
        assert draw is not None, f"no rule says how to initialise {path!r} of shape {leaf.shape}"
        rng = np.random.default_rng([*seed, zlib.crc32(path.encode())])
        # A bias follows the fan in of the kernel beside it, as in torch.
        fan_in = math.prod(tree["kernel"].shape[:-1]) if "kernel" in tree else 0
        filled[name] = draw(rng, tuple(leaf.shape), fan_in)
    return filled
