"""Vision transformers: positions as the references', subsets of patches, outputs, errors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.models import apply_to_views, positions, vit
from sslx.models.transformer import _attend
from tests.methods.golden import assert_close, load

pytestmark = pytest.mark.usefixtures("quick_compilation")
IMAGES = np.random.default_rng(0).standard_normal((3, 16, 16, 3), np.float32)
SMALL = {"patch": 4, "width": 16, "depth": 2, "heads": 2}
IJEPA = {"class_token": False, "pool": "mean", "positions": "sincos", "init": "ijepa"}
BEIT = {
    "pool": "mean",
    "positions": "relative",
    "init": "beit",
    "key_bias": False,
    "layer_scale": 0.1,
}


def build(size=16, seed=0, **fields):
    """A small network, parameters that are random also where they start at 0, its jitted output."""
    network = vit.network(**SMALL | fields)
    params, _ = network.init(jax.random.key(seed), (1, size, size, 3))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), params)
    run = jax.jit(
        lambda params, images, train=False, **options: network.apply(
            params, {}, images, train=train, **options
        )[0],
        static_argnames=("train", "returns", "pool"),
    )
    return network, params, run


@pytest.mark.parametrize("case", ["a", "b"])
def test_fixed_positions_equal_ijepas(case):
    width, grid = {"a": (16, 4), "b": (12, 8)}[case]
    assert_close(
        positions.sincos(width, grid), load(f"ijepa_sincos_{case}")["ijepa.f64.pos_embed"], 1e-9
    )


@pytest.mark.parametrize("case", ["a", "b"])
def test_interpolated_positions_equal_torchs_bicubic(case):
    golden, grid = load(f"dino_posinterp_{case}"), {"a": 6, "b": 4}[case]
    with jax.enable_x64(True):
        table = jnp.asarray(golden["in.pos_embed"][0, 1:], jnp.float64)
        assert_close(positions.interpolate(table, grid), golden["dino.f64.out"][0, 1:], 1e-9)
        assert positions.interpolate(table, round(len(table) ** 0.5)) is table


def test_relative_positions_depend_on_the_distance_alone():
    index, length = positions.relative(3, class_token=True)
    assert (length, index.shape, index.max()) == (28, (10, 10), 27)
    patch = index[1:, 1:].reshape(3, 3, 3, 3)
    assert patch[0, 0, 1, 2] == patch[1, 0, 2, 2] != patch[1, 2, 0, 0]
    assert len(np.unique(patch)) == 25
    assert len({index[0, 0], index[0, 5], index[5, 0]} | set(np.unique(patch))) == 28


@pytest.mark.parametrize(
    "fields", [{}, IJEPA, BEIT, {"small_data": True}], ids=["dino", "ijepa", "beit", "small data"]
)
def test_outputs_have_their_shapes_and_agree(fields):
    network, params, _ = build(**fields)

    @jax.jit  # one program, which computes only once what the outputs have in common
    def outputs(params):
        kinds = [{"returns": name} for name in ("tokens", "layers", "attention")]
        kinds.append({"pool": "mean"})
        return [network.apply(params, {}, IMAGES, train=False, **kind)[0] for kind in kinds]

    tokens, layers, weights, mean = outputs(params)
    assert tokens.shape == (3, 16, 16)
    assert layers.shape == (2, 3, 16, 16)
    count = 16 + int(fields.get("class_token", True))
    assert weights.shape == (2, 3, 2, count, count)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    if fields.get("small_data"):
        assert np.all(np.asarray(weights)[..., np.arange(count), np.arange(count)] == 0)
    np.testing.assert_allclose(mean, tokens.mean(1), rtol=1e-4, atol=1e-5)
    # Weights that are seen go another way than those inside: both attend alike.
    norm = params["norm"]
    last = np.asarray(layers[-1], np.float64)
    centred = (last - last.mean(-1, keepdims=True)) / np.sqrt(last.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(tokens, centred * norm["scale"] + norm["bias"], rtol=1e-3, atol=1e-4)


def test_attention_by_hand_equals_jaxs():
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 5, 3, 4), np.float32) for _ in range(3))
    bias = rng.standard_normal((1, 3, 5, 5), np.float32)
    mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
    attend = jax.jit(_attend, static_argnums=(5, 6))
    seen, shares = attend(q, k, v, bias, mask[:, None, None, :], 0.3, True)
    quick, _ = attend(q, k, v, bias, mask[:, None, None, :], 0.3, False)
    np.testing.assert_allclose(quick, seen, rtol=1e-4, atol=1e-5)
    assert np.all(shares[1, ..., 3:] == 0)
    logits = np.einsum("bthd,bshd->bhts", q, k) * 0.3 + bias
    logits = np.where(mask[:, None, None], logits, -np.inf)
    want = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(shares, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fields", [{}, IJEPA, BEIT], ids=["dino", "ijepa", "beit"])
def test_a_subset_of_patches_is_computed_as_if_there_were_no_others(fields):
    """Another order of all patches changes only the tokens' order; padding, hidden ones nothing."""
    _, params, run = build(**fields)
    order = np.stack([np.random.default_rng(i).permutation(16) for i in range(3)]).astype(np.int32)
    shuffled = run(params, IMAGES, returns="tokens", keep=order)
    tokens = np.asarray(run(params, IMAGES, returns="tokens"))
    in_order = np.take_along_axis(tokens, order[:, :, None], axis=1)
    np.testing.assert_allclose(shuffled, in_order, rtol=1e-3, atol=1e-4)
    few = run(params, IMAGES, keep=order[:, :5])
    padded = np.concatenate([order[:, :5], np.zeros((3, 4), np.int32)], axis=1)
    used = np.arange(9) < np.full((3, 1), 5)
    np.testing.assert_allclose(
        run(params, IMAGES, keep=padded, used=used), few, rtol=1e-3, atol=1e-4
    )
    other = IMAGES.copy()
    hidden = order[0, 5:]
    for patch in hidden:
        row, column = divmod(int(patch), 4)
        other[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 9.0
    np.testing.assert_allclose(run(params, other, keep=order[:, :5]), few, rtol=1e-4, atol=1e-5)
    assert not np.allclose(run(params, other, returns="tokens")[0], tokens[0], atol=1e-3)


def test_a_mask_token_hides_pixels_but_not_positions():
    _, params, run = build(**IJEPA)
    token, masked = jnp.ones(16), np.zeros((3, 16), bool)
    masked[:, 3] = True
    seen = run(params, IMAGES, returns="tokens", masked=(token, masked))
    other = IMAGES.copy()
    other[:, 0:4, 12:16] += 5
    np.testing.assert_array_equal(
        run(params, other, returns="tokens", masked=(token, masked)), seen
    )
    moved = np.roll(masked, 1, axis=1)
    assert not np.allclose(
        run(params, other, returns="tokens", masked=(token, moved)), seen, atol=1e-3
    )


def test_small_crops_share_the_network_and_views_of_one_size_pass_together():
    network, params, run = build()
    small = IMAGES[:, :8, :8]
    together = jax.jit(partial(apply_to_views, network, groups=0))
    outputs, _ = together(params, {}, [IMAGES, small, IMAGES + 1])
    for got, images in zip(outputs, (IMAGES, small, IMAGES + 1), strict=True):
        np.testing.assert_allclose(got, run(params, images), rtol=1e-3, atol=1e-4)
    _, params, run = build(**BEIT)
    with pytest.raises(
        ValueError, match=r"one size of images, not to 2 x 2 patches.*positions=learned"
    ):
        run(params, small)


def test_drop_path_skips_whole_branches_of_images_in_training_only():
    network, params, run = build(drop_path=0.5)
    plain = build()[2](params, IMAGES)
    np.testing.assert_allclose(run(params, IMAGES), plain, rtol=1e-5, atol=1e-6)
    many = np.repeat(IMAGES[:1], 64, axis=0)
    key = jax.random.key(1)
    dropped = np.asarray(run(params, many, train=True, key=key))
    np.testing.assert_array_equal(dropped, run(params, many, train=True, key=key))
    # The first block never drops; of the second's two branches each image keeps both, one or none.
    assert len(np.unique(dropped.round(4), axis=0)) == 4
    with pytest.raises(
        ValueError, match=r"drop_path is above 0, but this method's loss does not draw paths"
    ):
        run(params, many, train=True)


def test_shifted_copies_come_from_the_four_sides():
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    channels = np.asarray(vit._shifted(image))[0]
    assert [channels[1, 1, c] for c in range(5)] == [4, 5, 3, 7, 1]
    assert [channels[0, 2, c] for c in range(5)] == [2, 0, 1, 5, 0]


def test_computing_again_and_bfloat16_change_no_more_than_rounding():
    network, params, _ = build(depth=1)

    def gradients(network):
        def loss(params):
            return jnp.sum(network.apply(params, {}, IMAGES, train=True)[0] ** 2)

        return jax.tree.leaves(jax.jit(jax.value_and_grad(loss))(params))

    want = gradients(network)
    for fields, rtol, atol in (({"remat": True}, 1e-4, 1e-4), ({"dtype": "bfloat16"}, 0.1, 0.05)):
        got = gradients(vit.network(**SMALL | fields | {"depth": 1}))
        assert {leaf.dtype for leaf in got} == {np.dtype("float32")}
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * np.abs(b).max())


def test_three_initialisations_that_go_by_one_name():
    def start(init, **fields):
        network = vit.network(patch=8, width=128, depth=3, heads=2, init=init, **fields)
        return network.init(jax.random.key(0), (1, 32, 32, 3))[0]

    dino, beit = (
        start("dino"),
        start("beit", positions="relative", key_bias=False, layer_scale=1e-4),
    )
    ijepa = start("ijepa", class_token=False, pool="mean", positions="sincos")
    narrow = start("fan_in")
    patch = {
        name: np.std(tree["patch_embed"]["proj"]["kernel"])
        for name, tree in (("d", dino), ("i", ijepa))
    }
    np.testing.assert_allclose(patch["d"], 1 / np.sqrt(3 * 192), rtol=0.03)
    np.testing.assert_allclose(patch["i"], 0.02, rtol=0.03)
    assert np.any(dino["patch_embed"]["proj"]["bias"])
    assert not np.any(ijepa["patch_embed"]["proj"]["bias"])
    for number in range(3):
        blocks = [tree[f"blocks_{number}"] for tree in (dino, ijepa, beit, narrow)]
        stds = [np.std(block["mlp"]["fc2"]["kernel"]) for block in blocks]
        cut = 0.0108 / np.sqrt(2 * (number + 1))
        np.testing.assert_allclose(stds, [0.02, 0.02, cut, 1 / np.sqrt(3 * 512)], rtol=0.03)
        np.testing.assert_allclose(np.std(blocks[2]["mlp"]["fc1"]["kernel"]), 0.0108, rtol=0.03)
        assert np.abs(blocks[2]["mlp"]["fc1"]["kernel"]).max() <= 0.02
        assert np.abs(blocks[0]["mlp"]["fc1"]["kernel"]).max() > 0.06
        assert set(blocks[2]["attn"]) == {"qkv", "proj", "q_bias", "v_bias"}
        np.testing.assert_allclose(blocks[2]["gamma_1"], 1e-4)
    np.testing.assert_allclose(np.std(dino["pos_embed"]), 0.02, rtol=0.1)
    assert not np.any(beit["relative_position_bias_table"])
    assert not {"pos_embed", "cls_token"} & set(ijepa)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"variant": "vit_huge"},
            "config.model.variant is 'vit_huge'; it takes vit_nano, vit_tiny",
        ),
        ({"pool": "max"}, "pool is 'max'; it takes class, mean"),
        ({"heads": 3}, "the heads share the width evenly"),
        ({"drop_path": 1.0}, "drop_path is 1.0; it takes a probability below 1"),
        (
            {"class_token": False},
            "pool is 'class', but config.model.class_token is False: use mean",
        ),
        ({"pool": "class4"}, "pool is 'class4', but the network has 2 blocks"),
        ({"patch": 5}, r"Views of 16 x 16 pixels cannot be cut into patches of 5 x 5"),
        ({"positions": "sincos", "width": 18}, r"The width is 18; .* a multiple of 4"),
    ],
)
def test_mistakes_are_one_clear_line(fields, message):
    with pytest.raises(ValueError, match=message):
        vit.network(**SMALL | fields).init(jax.random.key(0), (1, 16, 16, 3))


def test_a_pool_that_the_network_has_not_is_refused_after_training_too():
    _, params, run = build(**IJEPA)
    for pool, message in (
        ("max", "pool is 'max'; it takes class, mean"),
        ("class", "class_token is False: use mean"),
    ):
        with pytest.raises(ValueError, match=message):
            run(params, IMAGES, pool=pool)
