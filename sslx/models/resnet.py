"""ResNets for ImageNet and for small images (He et al. 2016), with torchvision's parameter names.

A path such as `layer1_0/downsample_0/kernel` is torchvision's `layer1.0.downsample.0.weight`;
bottlenecks carry their stride in the 3x3 convolution ("v1.5").
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sslx.models import initialise
from sslx.models.layers import BatchNorm, Conv
from sslx.models.network import Network, from_linen, require

# variant: (convolutions per block, blocks per stage, base width, stem)
VARIANTS: dict[str, tuple[int, tuple[int, ...], int, str]] = {
    "resnet18": (2, (2, 2, 2, 2), 64, "imagenet"),
    "resnet34": (2, (3, 4, 6, 3), 64, "imagenet"),
    "resnet50": (3, (3, 4, 6, 3), 64, "imagenet"),
    "resnet101": (3, (3, 4, 23, 3), 64, "imagenet"),
    "resnet_tiny": (2, (1, 1, 1), 16, "small"),
}
EXPANSION = {2: 1, 3: 4}  # output width of a block over its inner width


def network(
    variant: str = "resnet18",  # resnet34, resnet50, resnet101, resnet_tiny
    *,
    stem: str | None = None,  # small: 3x3, no max-pool; imagenet: 7x7, max-pool
    stem_padding: int = 1,  # of the small stem; 2 gives solo-learn's and DIET's larger maps
    norm: str = "batch",  # or group
    dtype: str = "float32",  # of the computation, or bfloat16; parameters are always float32
    zero_init_residual: bool = False,  # the last norm of a block starts at 0
    width: int = 0,  # channels of the first stage; 0: the variant's own
) -> Network:
    """Build a ResNet from images [B, H, W, C] to average-pooled float32 features [B, D].

    Stem "imagenet" is 7x7/2 and max-pool, "small" one 3x3, padded by `stem_padding` pixels; without
    `stem`, or with the base `width` 0, the variant has its own. `norm` is "batch" or "group",
    `dtype` that of the arithmetic, "float32" or "bfloat16". `zero_init_residual` starts each block
    as the identity. Raises ValueError for a value that is not among the allowed ones.
    """
    require("variant", variant, VARIANTS)
    depth, blocks, own_width, own_stem = VARIANTS[variant]
    stem, width = stem or own_stem, width or own_width
    require("stem", stem, ("imagenet", "small"))
    require("stem_padding", stem_padding, (1, 2))
    require("norm", norm, ("batch", "group"))
    require("dtype", dtype, ("float32", "bfloat16"))
    if width < 1:
        raise ValueError(
            f"config.model.width is {width}; it takes a positive number of channels, or 0 for the "
            "variant's."
        )
    module = ResNet(depth, blocks, width, stem, stem_padding, norm, jnp.dtype(dtype))
    last_scale = initialise.zeros if zero_init_residual else initialise.ones
    rules = (
        (rf"layer.*/bn{depth}/scale", last_scale),
        (r".*(conv\d|downsample_0)/kernel", initialise.kaiming_normal_fan_out),
        *initialise.norm_rules(r".*(bn\d|downsample_1)"),
    )
    return from_linen(module, rules, width * 2 ** (len(blocks) - 1) * EXPANSION[depth])


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pool."""

    depth: int
    blocks: tuple[int, ...]
    width: int
    stem: str
    stem_padding: int
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, groups: int = 1) -> jax.Array:
        small = self.stem == "small"
        size, stride, padding = (3, 1, self.stem_padding) if small else (7, 2, 3)
        x = Conv(self.width, size, stride, padding, self.dtype, name="conv1")(x)
        x = nn.relu(_norm(self.norm, self.dtype, train, groups, "bn1", x))
        if not small:
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                block = functools.partial(
                    Block, self.depth, self.width * 2**stage, stride, self.norm, self.dtype
                )
                x = block(name=f"layer{stage + 1}_{index}")(x, train, groups)
        return jnp.mean(x, (1, 2), dtype=jnp.float32)


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or the bottleneck 1x1, 3x3, 1x1."""

    depth: int
    width: int
    stride: int
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, groups: int = 1) -> jax.Array:
        norm = functools.partial(_norm, self.norm, self.dtype, train, groups)
        output = self.width * EXPANSION[self.depth]
        # (filters, kernel size, stride) of each convolution
        layers = [(self.width, 3, self.stride), (output, 3, 1)]
        if self.depth == 3:
            layers = [(self.width, 1, 1), (self.width, 3, self.stride), (output, 1, 1)]
        y = x
        for index, (filters, size, stride) in enumerate(layers, start=1):
            y = Conv(filters, size, stride, size // 2, self.dtype, name=f"conv{index}")(y)
            y = norm(f"bn{index}", y)
            y = nn.relu(y) if index < len(layers) else y
        if self.stride != 1 or x.shape[-1] != output:
            x = Conv(output, 1, self.stride, 0, self.dtype, name="downsample_0")(x)
            x = norm("downsample_1", x)
        return nn.relu(x + y)


def _norm(kind: str, dtype: Any, train: bool, groups: int, name: str, x: jax.Array) -> jax.Array:
    """Normalise x [B, H, W, C]; both kinds have batch norm's name: one tree serves both."""
    if kind == "batch":
        return BatchNorm(dtype=dtype, name=name)(x, train, groups)
    # 32 groups of channels (Wu & He 2018), fewer where a group would be a single channel.
    channel_groups = math.gcd(32, x.shape[-1] // 2) if x.shape[-1] % 2 == 0 else 1
    return nn.GroupNorm(num_groups=channel_groups, epsilon=1e-5, dtype=dtype, name=name)(x)
