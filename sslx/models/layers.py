"""Convolution and batch norm: the layers whose cost and convention decide on a ResNet's results."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

SLICE_POSITIONS = 4096  # output positions per slice of the weight gradient
MAX_SLICES = 64  # each is compiled by itself, which would take minutes for large images


@functools.partial(jax.jit, static_argnums=(2, 3))
def convolve(x: jax.Array, w: jax.Array, stride: int, padding: int) -> jax.Array:
    """Convolve images [B, H, W, C] with a kernel [k, k, C, O], zero-padded on every side.

    Reverse mode only. On CPU the weight gradient is summed over slices of the batch; elsewhere it
    is XLA's own.
    """
    return _convolve(x, w, stride, padding)


def _xla_convolve(x: jax.Array, w: jax.Array, stride: int, padding: int) -> jax.Array:
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _forward(x: jax.Array, w: jax.Array, stride: int, padding: int) -> tuple[jax.Array, Any]:
    return _xla_convolve(x, w, stride, padding), (x, w)


def _backward(stride: int, padding: int, saved: Any, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    (dx,) = jax.vjp(lambda x: _xla_convolve(x, w, stride, padding), x)[1](g)
    gradient = _sliced_weight_gradient if jax.default_backend() == "cpu" else _weight_gradient
    return dx, gradient(x, g, w.shape[0], stride, padding).astype(w.dtype)


_convolve = jax.custom_vjp(_xla_convolve, nondiff_argnums=(2, 3))
_convolve.defvjp(_forward, _backward)


# The functions below are jitted, as `convolve` is, so that layers and slices of one shape are
# traced once.
@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _weight_gradient(x: jax.Array, g: jax.Array, k: int, stride: int, padding: int) -> jax.Array:
    """Correlate inputs [B, H, W, C] with the output's gradient [B, h, w, O] to [k, k, C, O]."""
    ends = [
        k - size - padding + (steps - 1) * stride
        for size, steps in zip(x.shape[1:3], g.shape[1:3], strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        g,
        (1, 1),
        [(padding, end) for end in ends],
        rhs_dilation=(stride, stride),
        dimension_numbers=lax.ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), (2, 3, 0, 1)),
    )


def _sliced_weight_gradient(
    x: jax.Array, g: jax.Array, k: int, stride: int, padding: int
) -> jax.Array:
    """Sum the weight gradient over slices, which keeps XLA's patch matrix in a core's cache."""
    batch, channels, filters = x.shape[0], x.shape[-1], g.shape[-1]
    positions = math.prod(g.shape[1:3])
    if k == 1 and padding == 0:
        pixels = x[:, ::stride, ::stride].reshape(-1, channels)
        return (pixels.T @ g.reshape(-1, filters)).reshape(1, 1, channels, filters)
    # A slice takes as many images from each device, so that none has to send its images away.
    devices = jax.sharding.get_abstract_mesh().shape.get("data", 1)
    devices = devices if batch % devices == 0 else 1
    images = max(1, SLICE_POSITIONS // positions, -(-batch // (devices * MAX_SLICES)))
    # Few positions or few channels leave nothing to gain, while every slice costs compile time.
    if positions <= 64 or channels * filters < 512 or images >= batch // devices:
        return _weight_gradient(x, g, k, stride, padding)
    x = x.reshape(devices, -1, *x.shape[1:])
    g = g.reshape(devices, -1, *g.shape[1:])
    total = jnp.zeros((), jnp.float32)
    for start in range(0, batch // devices, images):
        xs, gs = (a[:, start : start + images].reshape(-1, *a.shape[2:]) for a in (x, g))
        total = total + _weight_gradient(xs, gs, k, stride, padding)
    return total


def weight(module: nn.Module, name: str, shape: tuple[int, ...]) -> jax.Array:
    """Return a float32 parameter; zeros only stand for its shape, see sslx/models/initialise.py.

    Linen's own `param` traces the initialiser at every call, a quarter of a ResNet's tracing time.
    """
    if module.is_initializing():
        return module.param(name, nn.initializers.zeros, shape, jnp.float32)
    return module.get_variable("params", name)


class Conv(nn.Module):
    """Square convolution without bias; parameters float32, arithmetic in `dtype`."""

    filters: int
    size: int
    stride: int = 1
    padding: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.filters)
        kernel = weight(self, "kernel", shape)
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)


class BatchNorm(nn.Module):
    """Batch norm with torch's conventions, over all axes but the last (Ioffe & Szegedy 2015).

    It normalises with the biased variance of the global batch and stores the unbiased one;
    `momentum` is the weight of the new statistic. It computes in the dtype of the statistics,
    float32; `dtype` is that of the output, where it is another one. With `groups` g, row i is
    normalised with the rows i % g alone, as if the groups had passed one after another.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, groups: int = 1) -> jax.Array:
        shape = (x.shape[-1],)
        scale = weight(self, "scale", shape) if self.use_scale else 1.0
        bias = weight(self, "bias", shape) if self.use_bias else 0.0
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        if self.is_initializing():
            return x if self.dtype is None else x.astype(self.dtype)
        if not train:
            return _normalise(x, scale, bias, mean.value, var.value, self.epsilon, self.dtype)
        y, mean.value, var.value = _normalise_batch(
            x, scale, bias, mean.value, var.value, self.epsilon, self.momentum, self.dtype, groups
        )
        return y


@functools.partial(jax.jit, static_argnums=(5, 6))
def _normalise(
    x: jax.Array, scale: Any, bias: Any, mean: jax.Array, var: jax.Array, epsilon: float, dtype: Any
) -> jax.Array:
    y = (x.astype(mean.dtype) - mean) * (scale * lax.rsqrt(var + epsilon)) + bias
    return y if dtype is None else y.astype(dtype)


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _normalise_batch(
    x: jax.Array,
    scale: Any,
    bias: Any,
    mean: jax.Array,
    var: jax.Array,
    epsilon: float,
    momentum: float,
    dtype: Any,
    groups: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    if len(x) % groups:
        raise ValueError(
            f"A batch of {len(x)} rows cannot be normalised in {groups} groups of equal size."
        )
    rows = x.reshape(-1, groups, *x.shape[1:])
    axes, count = (0, *range(2, rows.ndim - 1)), math.prod(x.shape[:-1]) // groups
    wide = (groups, *(1,) * (x.ndim - 2), x.shape[-1])  # [groups, C], to broadcast against the rows
    # Centred at the running mean, the one-pass variance does not cancel where a mean is large.
    centred = rows.astype(mean.dtype) - mean
    shift = lax.reduce_sum(centred, axes) / count
    batch_var = lax.reduce_sum(lax.square(centred), axes) / count - lax.square(shift)
    batch_var = lax.max(batch_var, jnp.zeros_like(shift))
    a = scale * lax.rsqrt(batch_var + epsilon)
    y = centred * a.reshape(wide) + (bias - shift * a).reshape(wide)
    unbiased = batch_var * (count / max(count - 1, 1))
    moved = jnp.zeros_like(mean)
    for group in range(groups):
        moved = moved + momentum * (shift[group] - moved)
        var = var + momentum * (unbiased[group] - var)
    y = y if dtype is None else y.astype(dtype)
    return y.reshape(x.shape), mean + moved, var
