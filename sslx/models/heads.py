"""Multi-layer perceptrons that follow an encoder: projectors, expanders, predictors.

The heads of the published codes, behind an encoder of width d:

| head | call |
|---|---|
| SimCLR | `mlp((d, 128), last_norm=True, init="normal_0.01")`; v2 `(d, d, 128)` |
| VICReg's expander | `mlp((8192, 8192, 8192), bias=True, last_bias=False)` |
| Barlow Twins' projector | `mlp((8192, 8192, 8192))` |
| MoCo v2 | `mlp((d, 128), norm=False, bias=True)` |
| BYOL, both | `mlp((4096, 256), bias=True, last_bias=False, init="truncated_fan_in")` |
| SimSiam's projector | `mlp((d, d, d), last_norm=True, last_norm_scale=False)` |
| SimSiam's predictor | `mlp((512, d), last_bias=True)` |
| SwAV's projector | `mlp((2048, 128), bias=True)` |
| spectral, CIFAR | `mlp((2048, 1000), bias=True, last_norm=True, last_norm_bias=True)` |
| DINO's bottleneck | `mlp((2048, 2048, 256), norm=False, bias=True, activation="gelu", init=...)` |
| | with `init="normal_0.02"` |
| data2vec | `mlp((d,), bias=True, init="truncated_0.02")` |
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from sslx.models import initialise
from sslx.models.layers import BatchNorm
from sslx.models.network import Network, from_linen


def mlp(
    widths: tuple[int, ...],
    *,
    norm: bool = True,
    bias: bool = False,
    last_bias: bool | None = None,
    last_norm: bool = False,
    last_norm_scale: bool = True,
    last_norm_bias: bool = False,
    activation: str = "relu",
    init: str = "torch",
) -> Network:
    """Build an MLP [B, d] -> [B, widths[-1]]: linear, batch norm, ReLU each, then a last linear.

    `bias` is for all linear layers, `last_bias` overrides it for the last. `activation` is "relu"
    or "gelu" (exact). `init` is "torch" (U(+-1/sqrt(fan in)), also for biases), "normal_<std>",
    "truncated_<std>" (cut at one standard deviation) or Haiku's "truncated_fan_in" (the last three
    with zero biases). Raises ValueError for no widths, a width below 1 or an unknown `init`.
    """
    widths = tuple(widths)
    if not widths or min(widths) < 1:
        raise ValueError(
            f"widths is {widths!r}; it takes at least one positive output width, as (2048, 128)."
        )
    kernel, offset = _distributions(init)
    last_bias = bias if last_bias is None else last_bias
    module = MLP(
        widths, norm, bias, last_bias, last_norm, last_norm_scale, last_norm_bias, activation
    )
    rules = (
        (r"linear\d+/kernel", kernel),
        (r"linear\d+/bias", offset),
        *initialise.norm_rules(r"bn\d+"),
    )
    return from_linen(module, rules, widths[-1])


def fill_in(widths: tuple[int, ...], inputs: int) -> tuple[int, ...]:
    """Return the widths of a head, in which 0 means as many as the encoder's `inputs`."""
    return tuple(width or inputs for width in widths)


def projector(inputs: int, widths: tuple[int, ...], *, norm: bool) -> Network:
    """Build an MLP behind `inputs` features, 0 meaning as many; the identity without widths."""
    if not widths:
        return Network(
            lambda key, shape: ({}, {}), lambda params, stats, x, **_: (x, stats), inputs
        )
    return mlp(fill_in(widths, inputs), norm=norm, bias=True)


def unit_length(x: jax.Array) -> jax.Array:
    """Divide rows [..., d] by their length, as F.normalize; a zero row has gradient 0, not NaN."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-24))


def layer_norm(x: jax.Array) -> jax.Array:
    """Give rows [..., d] mean 0 and variance 1, as torch's F.layer_norm (eps 1e-5)."""
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)


def _distributions(init: str) -> tuple[initialise.Draw, initialise.Draw]:
    """The draws of kernels and of biases."""
    if init == "torch":
        return initialise.uniform_fan_in, initialise.uniform_fan_in
    if init == "truncated_fan_in":
        return initialise.truncated_fan_in, initialise.zeros
    kind, _, std = init.partition("_")
    try:
        if kind == "normal":
            return initialise.normal(float(std)), initialise.zeros
        if kind == "truncated":
            return initialise.truncated_normal(float(std), 1), initialise.zeros
    except ValueError:
        pass  # no number behind the kind
    raise ValueError(
        f"init is {init!r}; it takes 'torch', 'truncated_fan_in', 'truncated_<std>' or "
        "'normal_<std>', as 'normal_0.01'."
    )


class MLP(nn.Module):
    """Linear layers with batch norm and ReLU between them."""

    widths: tuple[int, ...]
    norm: bool
    bias: bool
    last_bias: bool
    last_norm: bool
    last_norm_scale: bool
    last_norm_bias: bool
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, groups: int = 1) -> jax.Array:
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for index, width in enumerate(self.widths, start=1):
            last = index == len(self.widths)
            use_bias = self.last_bias if last else self.bias
            # Zeros only stand for a shape: `mlp` has the rules, sslx/models/initialise.py explains.
            zeros = nn.initializers.zeros
            x = nn.Dense(width, use_bias, kernel_init=zeros, name=f"linear{index}")(x)
            if last and self.last_norm:
                scale, bias = self.last_norm_scale, self.last_norm_bias
                x = BatchNorm(use_scale=scale, use_bias=bias, name=f"bn{index}")(x, train, groups)
            if not last:
                x = BatchNorm(name=f"bn{index}")(x, train, groups) if self.norm else x
                x = nn.gelu(x, approximate=False) if self.activation == "gelu" else nn.relu(x)
        return x
