"""Convolution equals XLA's own, batch norm torch's formulas; both on any number of devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.models import layers
from sslx.models.layers import BatchNorm, convolve

pytestmark = pytest.mark.usefixtures("quick_compilation")
P = jax.sharding.PartitionSpec
DEVICES = (1, 2, 4, 8)


def mesh_of(devices: int) -> jax.sharding.Mesh:
    axis = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((devices,), ("data",), axis_types=axis, devices=jax.devices()[:devices])


def place(mesh, *arrays, batch: int = 1):
    """Split the first `batch` arrays over the mesh, replicate the others."""
    specs = [P("data")] * batch + [P()] * (len(arrays) - batch)
    return [
        jax.device_put(a, jax.NamedSharding(mesh, s)) for a, s in zip(arrays, specs, strict=True)
    ]


def plain(x, w, stride, padding):
    pads = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def with_gradients(convolution, stride, padding):
    """Value and both gradients of a smooth loss whose gradient differs at every position."""

    def loss(x, w):
        y = convolution(x, w, stride, padding)
        return jnp.mean(jnp.tanh(y) + 0.1 * y * y), y

    def run(x, w):
        gradients, y = jax.grad(loss, argnums=(0, 1), has_aux=True)(x, w)
        return y, *gradients

    return run


def assert_close(got, want, tolerance=1e-5):
    """Compare relative to the largest entry of each array."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


CASES = {  # image size, channels, filters, kernel, stride, padding, sliced on CPU
    "3x3": (24, 16, 32, 3, 1, 1, True),
    "3x3 stride 2": (33, 16, 32, 3, 2, 1, True),
    "3x3 padding 2": (21, 32, 16, 3, 1, 2, True),
    "3x3 no padding": (20, 16, 32, 3, 1, 0, True),
    "7x7 stride 2": (40, 8, 64, 7, 2, 3, True),
    "even kernel, uneven stride": (41, 16, 32, 4, 3, 1, True),
    "few channels": (16, 3, 8, 3, 1, 1, False),
    "small map": (8, 32, 32, 3, 1, 1, False),
    "1x1": (9, 16, 32, 1, 1, 0, False),
    "1x1 stride 2": (9, 16, 32, 1, 2, 0, False),
}


@pytest.mark.parametrize("case", CASES)
def test_convolution_equals_xla(case, monkeypatch):
    size, channels, filters, k, stride, padding, sliced = CASES[case]
    monkeypatch.setattr(layers, "SLICE_POSITIONS", 1000)
    jax.clear_caches()
    calls = []
    gradient = layers._weight_gradient
    monkeypatch.setattr(
        layers,
        "_weight_gradient",
        lambda x, *rest: (calls.append(x.shape[0]), gradient(x, *rest))[1],
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, size, size, channels), np.float32)
    w = rng.standard_normal((k, k, channels, filters), np.float32) / k
    want = jax.jit(with_gradients(plain, stride, padding))(x, w)
    for devices in DEVICES if case in ("3x3", "1x1 stride 2", "7x7 stride 2") else (1, 2):
        calls.clear()
        mesh = mesh_of(devices)
        with jax.set_mesh(mesh):
            got = jax.jit(with_gradients(convolve, stride, padding))(*place(mesh, x, w))
        assert_close(got, want)
        if devices <= 2:  # more devices leave too few images each for more than one slice
            assert (len(calls) > 1) == sliced
            assert sum(calls) == (0 if k == 1 else 16)
    jax.clear_caches()


def test_ragged_batches_are_summed_completely(monkeypatch):
    monkeypatch.setattr(layers, "SLICE_POSITIONS", 2 * 24 * 24)  # slices of 2, 2, 2 and 1 images
    jax.clear_caches()
    rng = np.random.default_rng(1)
    x = rng.standard_normal((7, 24, 24, 16), np.float32)
    w = rng.standard_normal((3, 3, 16, 32), np.float32)
    with jax.set_mesh(mesh_of(2)):  # 7 images do not divide over 2 devices
        got = jax.jit(with_gradients(convolve, 1, 1))(x, w)
    assert_close(got, jax.jit(with_gradients(plain, 1, 1))(x, w))
    jax.clear_caches()


def test_slices_never_move_images_between_devices():
    mesh = mesh_of(2)
    x, w = np.ones((32, 32, 32, 16), np.float32), np.ones((3, 3, 16, 32), np.float32)
    with jax.set_mesh(mesh):
        lowered = jax.jit(with_gradients(convolve, 1, 1)).lower(*place(mesh, x, w))
        text = lowered.compile().as_text()
    assert lowered.as_text().count("stablehlo.slice") >= 8
    assert " all-reduce(" in text
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert f" {collective}(" not in text


def test_other_backends_get_one_plain_weight_gradient(monkeypatch):
    x, w = np.ones((32, 32, 32, 16), np.float32), np.ones((3, 3, 16, 32), np.float32)

    def convolutions():
        jax.clear_caches()
        return str(jax.make_jaxpr(with_gradients(convolve, 1, 1))(x, w)).count("slice[")

    assert convolutions() > 0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert convolutions() == 0
    jax.clear_caches()


def reference_batch_norm(x, scale, bias, momentum=0.1, epsilon=1e-5):
    """torch.nn.BatchNorm2d in training, from running mean 0 and variance 1, in float64."""
    x = np.asarray(x, np.float64)
    axes, n = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean, var = x.mean(axes), x.var(axes)
    y = (x - mean) / np.sqrt(var + epsilon) * scale + bias
    return y, momentum * mean, 1 - momentum + momentum * var * n / (n - 1)


def batch_norm_inputs(shape=(16, 3, 3, 5)):
    rng = np.random.default_rng(2)
    channels = shape[-1]
    x = (3 * rng.standard_normal(shape) + rng.normal(size=channels)).astype(np.float32)
    params = {
        "scale": rng.normal(1, 0.2, channels).astype("f"),
        "bias": rng.normal(0, 1, channels).astype("f"),
    }
    stats = {"mean": np.zeros(channels, "f"), "var": np.ones(channels, "f")}
    return x, params, stats


@functools.cache
def batch_norm(**options):
    """The layer in training, compiled once for all tests of these options."""
    module = BatchNorm(**options)
    return jax.jit(lambda variables, x: module.apply(variables, x, True, mutable=["batch_stats"]))


def run_batch_norm(x, params, stats, **options):
    y, changed = batch_norm(**options)({"params": params, "batch_stats": stats}, x)
    return y, changed["batch_stats"]


@pytest.mark.parametrize("shape", [(16, 3, 3, 5), (8, 4)])
@pytest.mark.parametrize("momentum", [0.1, 0.01])
def test_batch_norm_follows_torch(shape, momentum):
    x, params, stats = batch_norm_inputs(shape)
    y, new = run_batch_norm(x, params, stats, momentum=momentum)
    want, mean, var = reference_batch_norm(x, params["scale"], params["bias"], momentum)
    assert_close((y, new["mean"], new["var"]), (want, mean, var))
    evaluated = BatchNorm().apply({"params": params, "batch_stats": new}, x, False)
    assert_close(evaluated, (x - mean) / np.sqrt(var + 1e-5) * params["scale"] + params["bias"])


@pytest.mark.parametrize("shape", [(16, 3, 3, 5), (8, 4)])
def test_groups_are_normalised_as_if_they_had_passed_one_after_another(shape):
    x, params, stats = batch_norm_inputs(shape)
    variables = {"params": params, "batch_stats": stats}
    apply = jax.jit(lambda *a: BatchNorm().apply(*a, True, 4, mutable=["batch_stats"]))
    grouped, changed = apply(variables, x)
    new = stats
    for group in range(4):
        alone, new = run_batch_norm(x[group::4], params, new)
        assert_close(grouped[group::4], alone)
    assert_close(
        (changed["batch_stats"]["mean"], changed["batch_stats"]["var"]), (new["mean"], new["var"])
    )


def test_groups_of_unequal_size_are_refused():
    x, params, stats = batch_norm_inputs()
    with pytest.raises(
        ValueError, match="A batch of 16 rows cannot be normalised in 5 groups of equal size"
    ):
        BatchNorm().apply(
            {"params": params, "batch_stats": stats}, x, True, 5, mutable=["batch_stats"]
        )


def test_batch_norm_keeps_its_precision_when_the_mean_is_large():
    x, params, stats = batch_norm_inputs()
    stats["mean"] = np.full(5, 3000, "f")
    y, _ = run_batch_norm(x + np.float32(3000), params, stats)
    assert_close(
        y, reference_batch_norm(x + np.float32(3000), params["scale"], params["bias"])[0], 1e-4
    )


@pytest.mark.parametrize("devices", DEVICES)
def test_batch_norm_is_global_on_any_number_of_devices(devices):
    x, params, stats = batch_norm_inputs()
    weights = np.random.default_rng(3).standard_normal(x.shape, np.float32)

    def plain(x, params):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"]

    def gradients(norm):
        return jax.jit(
            jax.grad(lambda x, p: jnp.sum(jnp.tanh(norm(x, p)) * weights), argnums=(0, 1))
        )

    mesh = mesh_of(devices)
    with jax.set_mesh(mesh):
        (sharded,) = place(mesh, x)
        y, new = jax.jit(run_batch_norm)(sharded, params, stats)
        got = gradients(lambda x, p: run_batch_norm(x, p, stats)[0])(sharded, params)
    assert_close(
        (y, new["mean"], new["var"]), reference_batch_norm(x, params["scale"], params["bias"])
    )
    assert_close(got, gradients(plain)(x, params), 2e-5)


@pytest.mark.parametrize(("scale", "bias"), [(True, False), (False, True), (False, False)])
def test_batch_norm_without_scale_or_bias(scale, bias):
    x, params, stats = batch_norm_inputs()
    shapes = jax.eval_shape(
        lambda: BatchNorm(use_scale=scale, use_bias=bias).init(jax.random.key(0), x, False)
    )
    assert set(shapes.get("params", {})) == {
        name for name, on in (("scale", scale), ("bias", bias)) if on
    }
    y, _ = run_batch_norm(x, params, stats, use_scale=scale, use_bias=bias)
    want = reference_batch_norm(x, params["scale"] if scale else 1, params["bias"] if bias else 0)[
        0
    ]
    assert_close(y, want)


def test_batch_norm_statistics_stay_float32_in_bfloat16():
    x, params, stats = batch_norm_inputs((64, 8, 8, 5))
    x = jnp.asarray(x, jnp.bfloat16)
    y, new = run_batch_norm(x, params, stats, dtype=jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    assert new["mean"].dtype == new["var"].dtype == jnp.float32
    _, mean, var = reference_batch_norm(np.asarray(x, np.float32), params["scale"], params["bias"])
    assert_close((new["mean"], new["var"]), (mean, var))
