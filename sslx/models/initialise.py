"""Initial values, drawn by NumPy from a table of rules: `kernel_init=zeros` is never run.

A Linen module here only says the name and shape of each leaf. `network.from_linen` traces it for
these, and `fill` draws each value by the first of the network's rules that matches the leaf's path;
under `jax.jit` and `jax.eval_shape` as a callback. So nothing has to be compiled, which takes
seconds with a module's own `init`; and each leaf has its own generator, seeded by the key and the
path: values depend neither on the backend nor on the order or number of the other leaves.

The initialiser of a layer stands in its network's rules: `network` in resnet.py, `rules` in vit.py
(for predictor.py too), `mlp` in heads.py. In a new model give every parameter `zeros`, write rules
such as `("blocks_.*/fc1/kernel", normal(0.02))` for all paths, and wrap the module with both by
`from_linen`. A leaf that no rule matches fails an assertion with its path and shape.
"""

import math
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# of a generator, the leaf's shape, and the fan in of its layer
Draw = Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray]
# a regular expression for the whole path, such as "layer1_0/conv1/kernel", and its draw
Rules = Sequence[tuple[str, Draw]]


def kaiming_normal_fan_out(
    rng: np.random.Generator, shape: tuple[int, ...], fan_in: int
) -> np.ndarray:
    """Draw N(0, 2 / fan_out) for a kernel [k, k, in, out], as torchvision (He et al. 2015)."""
    fan_out = math.prod(shape[:-2]) * shape[-1]
    return normal(math.sqrt(2 / fan_out))(rng, shape, fan_in)


def uniform_fan_in(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Draw U(-b, b) with b = 1 / sqrt(fan_in), torch.nn.Linear's default for weight and bias."""
    bound = np.float32(1 / math.sqrt(fan_in))
    return (2 * rng.random(shape, np.float32) - 1) * bound


def truncated_fan_in(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Draw N(0, 1 / fan_in) cut at two standard deviations, Haiku's default for linear layers."""
    return truncated_normal(1 / math.sqrt(fan_in), 2)(rng, shape, fan_in)


def truncated_normal(std: float, cut: float) -> Draw:
    """Return a draw from N(0, std^2), cut at `cut` standard deviations and not rescaled."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
        draws = rng.standard_normal(shape, np.float32)
        while (outside := np.abs(draws) > cut).any():
            draws[outside] = rng.standard_normal(int(outside.sum()), np.float32)
        return draws * np.float32(std)

    return draw


def normal(std: float) -> Draw:
    """Return a draw from N(0, std^2), not cut."""
    return lambda rng, shape, fan_in: rng.standard_normal(shape, np.float32) * np.float32(std)


def constant(value: float) -> Draw:
    """Return a draw that is always `value`."""
    return lambda rng, shape, fan_in: np.full(shape, value, np.float32)


zeros, ones = constant(0.0), constant(1.0)


def norm_rules(layer: str) -> Rules:
    """Return the rules of normalisation layers whose path matches `layer`: the identity."""
    return (
        (rf"{layer}/(scale|var)", ones),
        (rf"{layer}/(bias|mean)", zeros),
    )


def fill(
    shapes: dict[str, Any], rules: Rules, seed: Sequence[int], parent: str = ""
) -> dict[str, Any]:
    """Fill a nested dict of shapes, whose paths begin with `parent`, with float32 arrays."""
    filled: dict[str, Any] = {}
    for name, leaf in shapes.items():
        path = f"{parent}{name}"
        if isinstance(leaf, dict):
            filled[name] = fill(leaf, rules, seed, f"{path}/")
            continue
        draw = next((draw for pattern, draw in rules if re.fullmatch(pattern, path)), None)
        assert draw is not None, f"no rule says how to initialise {path!r} of shape {leaf.shape}"
        rng = np.random.default_rng([*seed, zlib.crc32(path.encode())])
        # A bias follows the fan in of the kernel beside it, as in torch.
        fan_in = math.prod(shapes["kernel"].shape[:-1]) if "kernel" in shapes else 0
        filled[name] = draw(rng, tuple(leaf.shape), fan_in)
    return filled
