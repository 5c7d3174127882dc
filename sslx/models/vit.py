"""Vision transformers (Dosovitskiy et al. 2021) as the DINO, BEiT / data2vec and I-JEPA codes.

Parameter names are DINO's. Three initialisations go by the name trunc_normal(0.02). In narrow
networks with small patches that is too little: positions drown the pixels and I-JEPA collapses.
Hence a fourth, ours:

| init | linear layers | patch embedding |
|---|---|---|
| dino | N(0, 0.02^2), not cut; biases 0 | torch's U(+-1/sqrt(fan in)), bias too |
| ijepa | the same | N(0, 0.02^2), bias 0 |
| beit | cut at one standard deviation: 0.0108 in effect | the same |
| fan_in | torch's U(+-1/sqrt(fan in)): 0.02 at a width of 833; biases 0 | the same |

Learned positions, class and mask tokens are drawn as linear layers of dino or beit. beit divides
`proj` and `fc2` by sqrt(2 layer), layers counted from 1; ijepa's code undoes that division.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sslx.models import initialise, positions
from sslx.models.network import Network, from_linen, patches_per_side, require
from sslx.models.transformer import NORM_EPS, Block, linear

VARIANTS = {  # width, depth, heads
    "vit_nano": (64, 4, 2),  # ours, for small images and no GPU
    "vit_tiny": (192, 12, 3),
    "vit_small": (384, 12, 6),
    "vit_base": (768, 12, 12),
    "vit_large": (1024, 24, 16),
}
POOLS = ("class", "mean", "class+mean", "class4")
POSITIONS = ("learned", "sincos", "relative")
INITS = ("dino", "ijepa", "beit", "fan_in")


def network(
    variant: str = "vit_small",
    *,
    patch: int = 16,
    pool: str = "class",
    class_token: bool = True,
    positions: str = "learned",
    init: str = "dino",
    layer_scale: float = 0.0,
    drop_path: float = 0.0,
    key_bias: bool = True,
    small_data: bool = False,
    mlp_ratio: float = 4.0,
    dtype: str = "float32",
    remat: bool = False,
    width: int = 0,
    depth: int = 0,
    heads: int = 0,
) -> Network:
    """Build a vision transformer from images [B, H, H, C] to features [B, D] after the last norm.

    `apply` also takes what `VisionTransformer` documents: patches to keep, patches to mask, other
    outputs. Raises ValueError for a value that is not allowed.

    Args:
        variant: one of `VARIANTS`, which gives `width`, `depth` and `heads` where they are 0.
        patch: side of a patch in pixels.
        pool: the class token, the mean of the patches, both, or the class tokens of the last four
            blocks (DINO's linear probe): one of `POOLS`.
        class_token: whether a class token comes before the patches.
        positions, init: one of `POSITIONS`, one of `INITS`.
        layer_scale: start of a factor per channel of each branch; 0: no factor.
        drop_path: probability that an image skips a branch of the last block in training; it grows
            evenly from 0 in the first block.
        key_bias: whether the keys of attention have a bias.
        small_data: shifted patch tokenisation and locality self-attention (Lee et al. 2021).
        mlp_ratio: hidden width of a block's MLP over `width`.
        dtype: of the branches' arithmetic, "float32" or "bfloat16".
        remat: compute blocks twice instead of storing what is inside.
    """
    require("variant", variant, VARIANTS)
    require("positions", positions, POSITIONS)
    require("init", init, INITS)
    require("dtype", dtype, ("float32", "bfloat16"))
    usual_width, usual_depth, usual_heads = VARIANTS[variant]
    width, depth, heads = width or usual_width, depth or usual_depth, heads or usual_heads
    if patch < 1 or depth < 1 or width % heads:
        raise ValueError(
            f"config.model.patch={patch}, .depth={depth}, .width={width}, .heads={heads}: patch "
            "and depth are at least 1, and the heads share the width evenly."
        )
    if not 0 <= drop_path < 1:
        raise ValueError(
            f"config.model.drop_path is {drop_path}; it takes a probability below 1, usual are 0 "
            "to 0.3."
        )
    _check_pool(pool, class_token, depth)
    branch: dict[str, Any] = {
        "mlp_ratio": mlp_ratio,
        "key_bias": key_bias,
        "layer_scale": layer_scale,
        "local": small_data,
        "dtype": None if dtype == "float32" else jnp.dtype(dtype),
    }
    module = VisionTransformer(
        width, depth, heads, patch, pool, class_token, positions, drop_path, remat, branch
    )
    outputs = width * {"class+mean": 2, "class4": 4}.get(pool, 1)
    return from_linen(module, rules(init, depth, layer_scale, width // heads), outputs, patch)


def _check_pool(pool: str, class_token: bool, depth: int) -> None:
    """Of the model or, after training, of what is read from it."""
    if pool not in POOLS:
        raise ValueError(f"pool is {pool!r}; it takes {', '.join(POOLS)}.")
    if "class" in pool and not class_token:
        raise ValueError(f"pool is {pool!r}, but config.model.class_token is False: use mean.")
    if pool == "class4" and depth < 4:
        raise ValueError(f"pool is 'class4', but the network has {depth} blocks: use class.")


def rules(init: str, depth: int, layer_scale: float, head_width: int) -> initialise.Rules:
    """Return how the leaves of a stack of `Block`s and around it start; `init` is of `INITS`."""
    spread = initialise.truncated_normal(0.02, 1) if init == "beit" else initialise.normal(0.02)
    kernel = initialise.uniform_fan_in if init == "fan_in" else spread
    patch, patch_bias = kernel, initialise.zeros
    if init == "dino":
        patch = patch_bias = initialise.uniform_fan_in
    scaled: list[tuple[str, initialise.Draw]] = []
    if init == "beit":
        for i in range(depth):
            draw = initialise.truncated_normal(0.02 / math.sqrt(2 * (i + 1)), 1)
            scaled.append((rf"blocks_{i}/(attn/proj|mlp/fc2)/kernel", draw))
    return (
        *scaled,
        (r"patch_embed/proj/kernel", patch),
        (r"patch_embed/proj/bias", patch_bias),
        (r".*/kernel", kernel),
        (r".*/gamma_\d", initialise.constant(layer_scale)),
        (r".*/log_temperature", initialise.constant(math.log(head_width**-0.5))),
        (r"relative_position_bias_table|.*/[qv]_bias", initialise.zeros),
        *initialise.norm_rules(r"(.*/)?(predictor_)?norm\d?"),
        (r".*/bias", initialise.zeros),
        (r".*", spread),
    )


class VisionTransformer(nn.Module):
    """Patches, positions, blocks, layer norm, pool.

    Beside images [B, H, H, C] a call takes: `keep` [B, k], row-major indices of the patches that
    are computed, of which those not `used` [B, k] are padding; `masked`, a mask token [D] and a
    bool [B, N], True where it stands in for the patch; `pool` in place of the module's own; and
    `returns`:

    "pooled" [B, D]; "tokens", the patches after the last norm [B, N, D]; "layers", the patches
    after each block, before that norm [L, B, N, D]; "attention", weights of each block [L, B,
    heads, T, T], the class token first.
    """

    width: int
    depth: int
    heads: int
    patch: int
    pool: str
    class_token: bool
    positions: str
    drop_path: float
    remat: bool
    branch: Any

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool,
        groups: int = 1,
        *,
        keep: jax.Array | None = None,
        used: jax.Array | None = None,
        masked: tuple[jax.Array, jax.Array] | None = None,
        returns: str = "pooled",
        pool: str | None = None,
    ) -> jax.Array:
        local, dtype = self.branch["local"], self.branch["dtype"]
        x = _patches(_shifted(images) if local else images, self.patch)
        grid = round(x.shape[1] ** 0.5)
        x = x if keep is None else jnp.take_along_axis(x, keep[:, :, None], axis=1)
        x = PatchEmbedding(self.width, local, dtype, name="patch_embed")(x).astype(images.dtype)
        if masked is not None:
            x = jnp.where(masked[1][:, :, None], masked[0].astype(x.dtype), x)
        x = self._with_positions(x, grid, keep)
        bias = self._relative_bias(grid, keep) if self.positions == "relative" else None
        if self.class_token and used is not None:
            used = jnp.pad(used, ((0, 0), (1, 0)), constant_values=True)
        attention = returns == "attention"
        block_type = nn.remat(Block) if self.remat else Block
        layers: list[Any] = []
        weights: list[Any] = []
        for i in range(self.depth):
            rate = self.drop_path * i / max(self.depth - 1, 1)
            block = block_type(
                self.heads,
                train,
                drop_path=rate,
                weights=attention,
                **self.branch,
                name=f"blocks_{i}",
            )
            x = block(x, bias, used)
            if attention:
                x, shares = x
                weights.append(shares)
            layers.append(x)
        norm = nn.LayerNorm(NORM_EPS, name="norm")
        first = int(self.class_token)
        if attention:
            return jnp.stack(weights)
        if returns == "layers":
            return jnp.stack(layers)[:, :, first:]
        if returns == "tokens":
            return norm(x)[:, first:]
        pool = pool or self.pool
        _check_pool(pool, self.class_token, self.depth)
        return _pool(pool, layers, norm, first, used)

    def _table(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        """A table of positions; the grid that it was made for need not be that of these images."""
        if self.has_variable("params", name):
            return self.get_variable("params", name)
        return self.param(name, nn.initializers.zeros, shape)

    def _with_positions(self, x: jax.Array, grid: int, keep: jax.Array | None) -> jax.Array:
        """Positions added, and the class token in front."""
        first = None
        if self.class_token:
            zeros = nn.initializers.zeros
            first = self.param("cls_token", zeros, (1, 1, self.width)).astype(x.dtype)
        if self.positions != "relative":
            if self.positions == "sincos":
                table = jnp.asarray(positions.sincos(self.width, grid), jnp.float32).astype(x.dtype)
            else:
                shape = (1, grid * grid + int(self.class_token), self.width)
                table = self._table("pos_embed", shape)[0].astype(x.dtype)
                if first is not None:
                    first, table = first + table[:1], table[1:]
                table = positions.interpolate(table, grid)
            x = x + (table if keep is None else table[keep])
        if first is None:
            return x
        return jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, self.width)), x], axis=1)

    def _relative_bias(self, grid: int, keep: jax.Array | None) -> jax.Array:
        """The entries for each two tokens [1 or B, heads, T, T] of one table for all blocks."""
        index, length = positions.relative(grid, self.class_token)
        table = self._table("relative_position_bias_table", (length, self.heads))
        if len(table) != length:
            raise ValueError(
                f"Relative positions belong to one size of images, not to {grid} x {grid} patches: "
                "give all views that size, or use --config.model.positions=learned."
            )
        if keep is None:
            return jnp.moveaxis(table[index], -1, 0)[None]
        if self.class_token:
            keep = jnp.pad(keep + 1, ((0, 0), (1, 0)))
        return jnp.moveaxis(table[jnp.asarray(index)[keep[:, :, None], keep[:, None, :]]], -1, 1)


class PatchEmbedding(nn.Module):
    """A linear layer on the pixels of each patch; behind a layer norm for shifted patches."""

    width: int
    norm: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.LayerNorm(1e-5, dtype=self.dtype, name="norm")(x) if self.norm else x
        return linear(self.width, dtype=self.dtype, name="proj")(x)


def _patches(images: jax.Array, patch: int) -> jax.Array:
    """Pixels of each patch [B, N, patch * patch * C], row-major; they must fill the image."""
    batch, size, _, channels = images.shape
    grid = patches_per_side(size, patch)
    cut = images.reshape(batch, grid, patch, grid, patch, channels)
    return jnp.swapaxes(cut, 2, 3).reshape(batch, grid * grid, -1)


def _shifted(images: jax.Array) -> jax.Array:
    """The images and their copies shifted by a pixel to four sides, as further channels."""
    around = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    # Left, right, up, down: the pixel on the right comes to this place, and so on.
    corners = ((1, 2), (1, 0), (2, 1), (0, 1))
    copies = [around[:, top : top + height, left : left + width] for top, left in corners]
    return jnp.concatenate([images, *copies], axis=-1)


def _pool(
    pool: str, layers: list[jax.Array], norm: Any, first: int, used: jax.Array | None
) -> jax.Array:
    """One row per image, in float32 at least."""
    if pool == "class4":
        return jnp.concatenate([norm(x[:, :1])[:, 0] for x in layers[-4:]], axis=1)
    x = norm(layers[-1])
    shown = None if used is None else used[:, first:, None]
    parts = {"class": lambda: x[:, 0], "mean": lambda: jnp.mean(x[:, first:], axis=1, where=shown)}
    return jnp.concatenate([parts[name]() for name in pool.split("+")], axis=1)
