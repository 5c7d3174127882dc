"""ResNets: torchvision's parameter counts, shapes and initial values; precision, statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx import models
from sslx.models import resnet

pytestmark = pytest.mark.usefixtures("quick_compilation")
TINY = {"variant": "resnet_tiny", "width": 8}


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def run(network, params, stats, x, *, train):
    """Apply under jit: op by op, every operation would be compiled by itself."""
    return jax.jit(network.apply, static_argnames="train")(params, stats, x, train=train)


def images(batch=4, size=16):
    return np.random.default_rng(0).standard_normal((batch, size, size, 3), np.float32)


@pytest.mark.parametrize(
    ("variant", "parameters", "width"),
    [
        ("resnet18", 11_176_512, 512),
        ("resnet34", 21_284_672, 512),
        ("resnet50", 23_508_032, 2048),
        ("resnet101", 42_500_160, 2048),
    ],
)
def test_sizes_are_torchvisions(variant, parameters, width):
    network = resnet.network(variant)
    model = jax.eval_shape(lambda: network.init(jax.random.key(0), (1, 64, 64, 3)))
    assert count(model[0]) == parameters
    features, _ = jax.eval_shape(
        lambda model, x: network.apply(*model, x, train=False), model, np.zeros((2, 64, 64, 3), "f")
    )
    assert features.shape == (2, width)
    assert network.width == width


@pytest.mark.parametrize(
    ("fields", "size", "maps"),
    [
        ({"stem": "imagenet"}, 64, [16, 8, 4, 2]),
        ({"stem": "small"}, 32, [32, 16, 8, 4]),
        ({"stem": "small", "stem_padding": 2}, 32, [34, 17, 9, 5]),
    ],
)
def test_map_sizes(fields, size, maps, monkeypatch):
    seen = []
    call = resnet.Block.__call__

    def record(self, x, train, groups):
        y = call(self, x, train, groups)
        seen.append(y.shape[1])
        return y

    network = resnet.network("resnet18", **fields)
    model = jax.eval_shape(lambda: network.init(jax.random.key(0), (1, size, size, 3)))
    monkeypatch.setattr(resnet.Block, "__call__", record)
    x = np.zeros((2, size, size, 3), np.float32)
    jax.eval_shape(lambda model, x: network.apply(*model, x, train=False), model, x)
    assert seen[::2] == maps


def test_names_are_torchvisions():
    network = resnet.network("resnet50")
    params, stats = jax.eval_shape(lambda: network.init(jax.random.key(0), (1, 32, 32, 3)))
    assert set(params) == {
        "conv1",
        "bn1",
        *(f"layer{i}_{j}" for i, n in enumerate((3, 4, 6, 3), 1) for j in range(n)),
    }
    inner = {f"{kind}{i}" for kind in ("conv", "bn") for i in (1, 2, 3)}
    assert set(params["layer1_0"]) == inner | {"downsample_0", "downsample_1"}
    assert set(params["layer1_1"]) == inner
    assert set(stats["layer1_1"]["bn1"]) == {"mean", "var"}


def test_bottlenecks_stride_in_their_3x3(monkeypatch):
    strides = []
    conv = resnet.Conv
    monkeypatch.setattr(
        resnet,
        "Conv",
        lambda *fields, name: (strides.append((name, *fields[1:3])), conv(*fields, name=name))[1],
    )
    block = resnet.Block(3, 4, 2, "batch", jnp.float32)
    jax.eval_shape(lambda: block.init(jax.random.key(0), jnp.zeros((1, 8, 8, 8)), False))
    assert strides == [("conv1", 1, 1), ("conv2", 3, 2), ("conv3", 1, 1), ("downsample_0", 1, 2)]


def test_convolutions_start_as_torchvisions_do():
    params, stats = resnet.network("resnet18").init(jax.random.key(1), (1, 32, 32, 3))
    kernel = params["layer3_0"]["conv1"]["kernel"]  # [3, 3, 128, 256]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)
    assert abs(kernel).max() > 4 * kernel.std()  # not truncated
    assert params["conv1"]["kernel"].std() == pytest.approx(np.sqrt(2 / (49 * 64)), rel=0.05)
    downsample = params["layer2_0"]["downsample_0"]["kernel"]
    assert downsample.std() == pytest.approx(np.sqrt(2 / 128), rel=0.05)
    for norm in (params["bn1"], params["layer4_1"]["bn2"], params["layer2_0"]["downsample_1"]):
        assert np.all(norm["scale"] == 1)
        assert np.all(norm["bias"] == 0)
    assert np.all(stats["bn1"]["mean"] == 0)
    assert np.all(stats["bn1"]["var"] == 1)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, stats))} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("variant", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_zero_init_residual_silences_the_last_norm_of_each_block_only(variant, last):
    network = resnet.network(variant, width=8, zero_init_residual=True)
    params, _ = network.init(jax.random.key(0), (1, 32, 32, 3))
    for path, leaf in jax.tree.leaves_with_path(params):
        names = [entry.key for entry in path]
        if names[-1] == "scale":
            silent = names[-2] == last and names[0].startswith("layer")
            assert np.all(leaf == (0 if silent else 1)), names


def test_init_is_a_function_of_the_key_alone():
    network = resnet.network(**TINY)
    first = network.init(jax.random.key(3), (1, 16, 16, 3))
    with jax.default_device(jax.devices()[5]):
        again = network.init(jax.random.key(3), (7, 32, 32, 3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(
        np.testing.assert_array_equal, first, network.init(jax.random.PRNGKey(3), (1, 16, 16, 3))
    )
    other, _ = network.init(jax.random.key(4), (1, 16, 16, 3))
    assert not np.array_equal(first[0]["conv1"]["kernel"], other["conv1"]["kernel"])
    block = first[0]["layer1_0"]
    # One shape, two paths.
    assert not np.array_equal(block["conv1"]["kernel"], block["conv2"]["kernel"])


def test_training_moves_statistics_and_evaluation_does_not():
    network = resnet.network(**TINY)
    params, stats = network.init(jax.random.key(0), (1, 16, 16, 3))
    before, same = run(network, params, stats, images(), train=False)
    jax.tree.map(np.testing.assert_array_equal, same, stats)
    _, new = run(network, params, stats, images(), train=True)
    assert jax.tree.structure(new) == jax.tree.structure(stats)
    assert all(
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(stats), strict=True)
    )
    after, _ = run(network, params, new, images(), train=False)
    assert not np.allclose(before, after)


def test_one_result_on_any_number_of_devices():
    network = resnet.network(**TINY)
    params, stats = network.init(jax.random.key(0), (1, 16, 16, 3))
    x, want = images(16), None
    axis = (jax.sharding.AxisType.Auto,)
    for devices in (1, 2, 8):
        mesh = jax.make_mesh(
            (devices,), ("data",), axis_types=axis, devices=jax.devices()[:devices]
        )
        with jax.set_mesh(mesh):
            sharded = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data")))
            got = jax.jit(lambda x: network.apply(params, stats, x, train=True))(sharded)
        want = want or got
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, want)


def test_bfloat16_computes_low_and_keeps_high():
    low, high = resnet.network(**TINY, dtype="bfloat16"), resnet.network(**TINY)
    params, stats = low.init(jax.random.key(0), (1, 16, 16, 3))
    features, new = run(low, params, stats, images(), train=True)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, new, features))} == {
        np.dtype(np.float32)
    }
    exact, _ = run(high, params, stats, images(), train=True)
    difference = np.abs(features - exact).max()
    assert 0 < difference < 0.1 * np.abs(exact).max()
    gradient = jax.eval_shape(
        jax.grad(lambda p: low.apply(p, stats, images(), train=True)[0].sum()), params
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("width", [8, 12, 5])
def test_group_norm_has_no_statistics_and_ignores_the_rest_of_the_batch(width):
    network = resnet.network("resnet_tiny", width=width, norm="group")
    params, stats = network.init(jax.random.key(0), (1, 16, 16, 3))
    assert stats == {}
    features, new = run(network, params, stats, images(4), train=True)
    alone, _ = run(network, params, stats, images(4)[:1], train=False)
    assert new == {}
    np.testing.assert_allclose(features[:1], alone, rtol=1e-4, atol=1e-5)
    assert set(params["bn1"]) == {"scale", "bias"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"variant": "resnet19"}, "variant is 'resnet19'; it takes resnet18, .*, resnet_tiny"),
        ({"stem": "cifar"}, "stem is 'cifar'; it takes imagenet, small"),
        ({"stem_padding": 3}, "stem_padding is 3; it takes 1, 2"),
        ({"norm": "layer"}, "norm is 'layer'; it takes batch, group"),
        ({"dtype": "float16"}, "dtype is 'float16'; it takes float32, bfloat16"),
        ({"width": -1}, "width is -1; it takes a positive number"),
    ],
)
def test_unknown_values_are_named_with_the_allowed_ones(fields, text):
    with pytest.raises(ValueError, match=rf"^config\.model\.{text}"):
        resnet.network(**fields)


def test_build_finds_modules_by_name_and_by_path():
    for name in ("resnet", "sslx.models.resnet"):
        assert models.build(name, **TINY).width == 32


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("resnett", {}, "'resnett', no .* Did you mean 'resnet'. sslx/models has: resnet, vit"),
        ("heads", {}, "'heads', no module that has `network`"),
        ("nowhere.resnett", {}, "'nowhere.resnett', no module .* Did you mean 'resnet'"),
        (
            "resnet",
            {"widht": 3},
            "config.model .resnet. has no field 'widht'. Did you mean 'width'.*stem_padding",
        ),
    ],
)
def test_build_names_what_exists(name, fields, text):
    with pytest.raises(ValueError, match=text):
        models.build(name, **fields)


def test_build_does_not_hide_a_missing_dependency(tmp_path, monkeypatch):
    (tmp_path / "sslx_test_model.py").write_text("import package_that_is_not_there\n")
    (tmp_path / "sslx_test_package").mkdir()
    (tmp_path / "sslx_test_package" / "model.py").write_text("import package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="package_that_is_not_there"):
        models.build("sslx_test_package.model")
