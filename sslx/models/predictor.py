"""I-JEPA's predictor: a narrow transformer from the tokens of visible patches to hidden ones."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from sslx.models import positions
from sslx.models.network import Network, from_linen
from sslx.models.transformer import NORM_EPS, Block, linear
from sslx.models.vit import rules


def predictor(
    outputs: int,
    grid: int,
    *,
    width: int = 384,
    depth: int = 6,
    heads: int = 12,
    mlp_ratio: float = 4.0,
    init: str = "ijepa",
    dtype: str = "float32",
) -> Network:
    """Build the predictor for tokens of `outputs` features on a grid of `grid` x `grid` patches.

    `apply(params, {}, tokens[B, k, outputs], train=, context=[B, k], used=[B, k], targets=[B, T,
    m])` gives what the tokens at `targets` are expected to be [B, T, m, outputs]. Indices are
    row-major; context that is not `used` is padding, and so are target patches that are not
    `targets_used`. Raises ValueError where the heads do not share the width evenly.
    """
    if width % heads or width % 4 or depth < 1:
        raise ValueError(
            f"config.method.predictor_width={width}, .predictor_heads={heads}, "
            f".predictor_depth={depth}: the width must be a multiple of the heads and of 4, the "
            "depth at least 1."
        )
    branch: dict[str, Any] = {
        "mlp_ratio": mlp_ratio,
        "dtype": None if dtype == "float32" else jnp.dtype(dtype),
    }
    module = Predictor(outputs, grid, width, depth, heads, branch)
    return from_linen(module, rules(init, depth, 0.0, width // heads), outputs)


class Predictor(nn.Module):
    """Each target block is a sequence: the context, then a mask token at each target position."""

    outputs: int
    grid: int
    width: int
    depth: int
    heads: int
    branch: Any

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        train: bool,
        groups: int = 1,
        *,
        context: jax.Array | None = None,
        used: jax.Array | None = None,
        targets: jax.Array | None = None,
        targets_used: jax.Array | None = None,
    ) -> jax.Array:
        batch, kept, _ = tokens.shape
        if context is None or targets is None:  # only when parameters are made
            context, targets = jnp.zeros((batch, kept), int), jnp.zeros((batch, 1, 1), int)
        blocks, size = targets.shape[1:]
        dtype = self.branch["dtype"]
        table = jnp.asarray(positions.sincos(self.width, self.grid), jnp.float32)
        table = table.astype(tokens.dtype)
        x = linear(self.width, dtype=dtype, name="predictor_embed")(tokens)
        x = x.astype(tokens.dtype) + table[context]
        mask = self.param("mask_token", nn.initializers.zeros, (1, 1, self.width)).astype(x.dtype)
        # Image-major, so that an image's sequences stay on its device.
        x = jnp.broadcast_to(x[:, None], (batch, blocks, kept, self.width))
        x = jnp.concatenate([x, mask + table[targets]], axis=2)
        x = x.reshape(batch * blocks, kept + size, self.width)
        known = None
        if used is not None or targets_used is not None:
            used = jnp.ones((batch, kept), bool) if used is None else used
            targets_used = jnp.ones(targets.shape, bool) if targets_used is None else targets_used
            before = jnp.broadcast_to(used[:, None], (batch, blocks, kept))
            known = jnp.concatenate([before, targets_used], axis=2)
            known = known.reshape(batch * blocks, kept + size)
        for i in range(self.depth):
            block = Block(self.heads, train, **self.branch, name=f"predictor_blocks_{i}")
            x = block(x, None, known)
        x = nn.LayerNorm(NORM_EPS, name="predictor_norm")(x[:, kept:])
        x = linear(self.outputs, dtype=dtype, name="predictor_proj")(x)
        return x.reshape(batch, blocks, size, self.outputs).astype(tokens.dtype)
