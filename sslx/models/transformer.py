"""The transformer block of DINO, BEiT and I-JEPA: pre-norm attention and MLP with exact GELU."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

NORM_EPS = 1e-6  # of all layer norms inside; those on targets have torch's 1e-5

# Zeros only stand for a shape: sslx/models/initialise.py draws the values, by `rules` in vit.py.
linear = functools.partial(nn.Dense, kernel_init=nn.initializers.zeros)


class Block(nn.Module):
    """Tokens [B, T, D] to tokens; with `weights` also attention weights [B, heads, T, T].

    The stream between blocks keeps the input's precision; `dtype` is that of the branches, None for
    the input's.
    """

    heads: int
    train: bool
    mlp_ratio: float = 4.0
    key_bias: bool = True
    layer_scale: float = 0.0  # start of a factor per channel; 0: none
    drop_path: float = 0.0  # probability that an image skips a branch in training
    local: bool = False  # learned temperature, and no token attends to itself
    dtype: Any = None
    weights: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, bias: jax.Array | None = None, used: jax.Array | None = None
    ) -> Any:
        attention = Attention(
            self.heads, self.key_bias, self.local, self.dtype, self.weights, name="attn"
        )
        branch = attention(nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="norm1")(x), bias, used)
        branch, weights = branch if self.weights else (branch, None)
        x = x + self._branch(branch, "gamma_1").astype(x.dtype)
        branch = nn.LayerNorm(NORM_EPS, dtype=self.dtype, name="norm2")(x)
        branch = Mlp(round(self.mlp_ratio * x.shape[-1]), self.dtype, name="mlp")(branch)
        x = x + self._branch(branch, "gamma_2").astype(x.dtype)
        return (x, weights) if self.weights else x

    def _branch(self, x: jax.Array, name: str) -> jax.Array:
        """The branch, scaled per channel and skipped by some images (Huang et al. 2016)."""
        if self.layer_scale:
            x = x * self.param(name, nn.initializers.zeros, (x.shape[-1],)).astype(x.dtype)
        if not self.train or not self.drop_path:
            return x
        if not self.has_rng("drop_path"):
            raise ValueError(
                "config.model.drop_path is above 0, but this method's loss does not draw paths: "
                "use --config.model.drop_path=0."
            )
        keep = 1 - self.drop_path
        kept = jax.random.bernoulli(self.make_rng("drop_path"), keep, (len(x), 1, 1))
        return jnp.where(kept, x / keep, 0)


class Attention(nn.Module):
    """Multi-head self-attention.

    `bias` is added to the logits; keys that are not `used` [B, T] get no weight.
    """

    heads: int
    key_bias: bool
    local: bool
    dtype: Any
    weights: bool

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None, used: jax.Array | None) -> Any:
        batch, count, width = x.shape
        zeros = nn.initializers.zeros
        qkv = linear(3 * width, use_bias=self.key_bias, dtype=self.dtype, name="qkv")(x)
        if not self.key_bias:
            q_bias, v_bias = (self.param(f"{name}_bias", zeros, (width,)) for name in "qv")
            qkv += jnp.concatenate([q_bias, jnp.zeros_like(q_bias), v_bias]).astype(qkv.dtype)
        q, k, v = jnp.moveaxis(qkv.reshape(batch, count, 3, self.heads, width // self.heads), 2, 0)
        scale = (width // self.heads) ** -0.5
        if self.local:
            q, scale = q * jnp.exp(self.param("log_temperature", zeros, ())).astype(q.dtype), 1.0
            itself = jnp.where(jnp.eye(count, dtype=bool), jnp.finfo(jnp.float32).min / 2, 0)
            bias = itself if bias is None else bias + itself
        if bias is not None:
            shape = jnp.broadcast_shapes(bias.shape, (1, 1, count, count))
            bias = jnp.broadcast_to(bias, shape)
        mask = None if used is None else used[:, None, None, :]
        y, weights = _attend(q, k, v, bias, mask, scale, self.weights)
        y = linear(width, dtype=self.dtype, name="proj")(y.reshape(batch, count, width))
        return (y, weights) if self.weights else y


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = linear(self.hidden, dtype=self.dtype, name="fc1")(x)
        y = nn.gelu(y, approximate=False)
        return linear(x.shape[-1], dtype=self.dtype, name="fc2")(y)


def _attend(
    q: Any, k: Any, v: Any, bias: Any, mask: Any, scale: float, weights: bool
) -> tuple[jax.Array, Any]:
    """Attention [B, T, heads, d] and, with `weights`, its weights [B, heads, T, T]."""
    # JAX's own rounds its softmax to float32 and does not show its weights.
    if not weights and q.dtype != jnp.float64:
        bias = None if bias is None else bias.astype(q.dtype)
        return jax.nn.dot_product_attention(q, k, v, bias, mask, scale=scale), None
    logits = jnp.einsum("bthd,bshd->bhts", q, k, precision="highest") * scale
    logits = logits if bias is None else logits + bias
    shares = jax.nn.softmax(logits, axis=-1, where=mask)
    return jnp.einsum("bhts,bshd->bthd", shares, v, precision="highest"), shares
