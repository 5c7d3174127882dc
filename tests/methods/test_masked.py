"""data2vec and I-JEPA against the official codes' numbers, at their edges, and what their features
read.
"""

import dataclasses
import itertools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from sslx.method import Batch
from sslx.methods import ijepa
from sslx.methods.data2vec import build_targets, data2vec_loss
from sslx.methods.ijepa import ijepa_loss
from sslx.models import heads, vit
from sslx.training.schedules import Durations
from sslx.views.masks import MultiBlockMasks
from sslx.views.views import Crop, plain_view, training_masks
from tests.methods.golden import PRECISIONS, assert_close, load
from tests.methods.harness import IMAGES, advance, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")

DATA2VEC = {
    "a": ([1, 2, 3], True, True, 2.0),
    "b": ([2, 4], True, False, 0.12),
    "c": ([0, 1, 2, 3], False, True, 1.0),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", DATA2VEC)
def test_data2vec_equals_the_official_code(case, precision):
    blocks, layers_first, average_last, beta = DATA2VEC[case]
    golden, rtol = load(f"data2vec_{case}"), PRECISIONS[precision]
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        layers, outputs = (
            jnp.asarray(golden[f"in.{name}"], dtype) for name in ("layers", "outputs")
        )
        masked = golden["in.mask"].astype(bool)
        targets = build_targets(
            layers[jnp.array(blocks)], normalise_layers=layers_first, normalise_average=average_last
        )
        selected = jax.jit(jax.value_and_grad(partial(data2vec_loss, beta=beta)))
        value, gradient = selected(outputs, targets[masked])
        assert value.dtype == dtype
        assert_close(value, golden[f"data2vec_vision.{precision}.loss"], rtol)
        # As in training: predictions of all patches, with the mask.
        everywhere = jnp.zeros_like(targets).at[masked].set(outputs)
        value, everywhere = selected(everywhere, targets, masked)
        assert_close(value, golden[f"data2vec_vision.{precision}.loss"], rtol)
        if precision == "f64":
            assert_close(gradient, golden["data2vec_vision.f64.grad.outputs"], rtol)
            assert_close(everywhere[masked], golden["data2vec_vision.f64.grad.outputs"], rtol)
        assert not np.any(everywhere[~masked])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_ijepas_loss_equals_the_official_code(case, precision):
    golden, rtol = load(f"ijepa_loss_{case}"), PRECISIONS[precision]
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        h, z = (jnp.asarray(golden[f"in.{name}"], dtype) for name in ("h", "z"))
        # Theirs has the target masks outermost, then the context masks, then the images.
        masks = golden["in.masks_pred"]
        contexts = len(z) // (len(masks) * len(h))
        chosen = [jnp.take_along_axis(h, jnp.asarray(mask)[:, :, None], axis=1) for mask in masks]
        target = jnp.concatenate([block for block in chosen for _ in range(contexts)])
        assert_close(heads.layer_norm(target), golden["ijepa.f64.target"], rtol)
        value, gradient = jax.jit(jax.value_and_grad(ijepa_loss))(z, target)
        assert_close(value, golden[f"ijepa.{precision}.loss"], rtol)
        if precision == "f64":
            assert_close(gradient, golden["ijepa.f64.grad.z"], rtol)
        # Padding counts for nothing.
        padded = [jnp.concatenate([x, jnp.full_like(x[:, :1], 7.0)], axis=1) for x in (z, target)]
        assert_close(
            ijepa_loss(*padded, jnp.arange(z.shape[1] + 1) < jnp.full((len(z), 1), z.shape[1])),
            value,
            rtol,
        )


RENAMES = [  # from the official code's parameter names to ours
    (r"(blocks)\.(\d+)\.", r"\1_\2/"),
    (r"(norm\d?)\.weight$", r"\1/scale"),
    (r"weight$", "kernel"),
    (r"\.", "/"),
]


def ours(golden, prefix):
    """The official code's arrays below `prefix` as our tree of parameters, float64."""
    tree = {}
    for key in golden.files:
        if not key.startswith(prefix):
            continue
        array, name = np.asarray(golden[key], np.float64), key.removeprefix(prefix)
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if array.ndim == 4:  # the convolution [out, in, p, p] is a linear layer on a patch's pixels
            array = array.transpose(2, 3, 1, 0).reshape(-1, len(array))
        elif name.endswith("kernel"):
            array = array.T
        *folders, leaf = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = array
    return tree


def test_a_whole_step_of_ijepa_equals_the_official_codes():
    golden = load("ijepa_step_a")
    shape = {"width": 8, "depth": 2, "heads": 2, "mlp_ratio": 2.0}
    encoder = vit.network(
        patch=4, pool="mean", class_token=False, positions="sincos", init="ijepa", **shape
    )
    sizes = {f"predictor_{name}": value for name, value in shape.items()}
    masks = {"targets": 2, "min_keep": 1}
    with jax.enable_x64(True):
        momenta = {"momentum": 0.9, "momentum_end": 0.9}
        crops = {"crop": Crop(16)}
        method = ijepa.Method(encoder, crops, masks, Durations("9 steps", 3, 2), **sizes, **momenta)
        params = {"encoder": ours(golden, "in.enc."), "predictor": ours(golden, "in.pred.")}
        extra = {"teacher": ours(golden, "in.tgt.")}
        fresh = jax.eval_shape(lambda key: method.init(key, (1, 16, 16, 3)), jax.random.key(0))
        assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, (params, extra))
        (context,), targets = golden["in.masks_enc"], np.moveaxis(golden["in.masks_pred"], 0, 1)
        masks = MultiBlockMasks(
            context, np.ones(context.shape, bool), targets, np.ones(targets.shape, bool)
        )
        images = jnp.asarray(golden["in.images"].transpose(0, 2, 3, 1), jnp.float64)
        batch = Batch((images,), np.arange(2), masks)
        loss = jax.jit(jax.value_and_grad(method.loss, has_aux=True), static_argnums=())
        (value, (extra, _)), gradient = loss(params, extra, batch, jax.random.key(0), 0)
        assert_close(value, golden["ijepa.f64.loss"], 1e-9)
        wanted = {
            "encoder": ours(golden, "ijepa.f32.grad.enc."),
            "predictor": ours(golden, "ijepa.f32.grad.pred."),
        }
        assert jax.tree.structure(gradient) == jax.tree.structure(wanted)
        jax.tree.map(
            lambda got, want: assert_close(got, want, 3e-7), gradient, wanted
        )  # stored in float32
        # Reference: the student stays as it is.
        _, extra = method.after_step(params, extra, 0)
        after = ours(golden, "ijepa.f64.tgt_after_ema.")["patch_embed"]["proj"]["kernel"]
        assert_close(extra["teacher"]["patch_embed"]["proj"]["kernel"], after, 1e-9)


@pytest.mark.parametrize("name", ["data2vec", "ijepa"])
def test_the_teacher_follows_and_sees_the_whole_image(name):
    run = set_up(recipe(name), 2)  # as compiled for the harness
    before = jax.device_get(run.state.extra["teacher"])
    state, _ = advance(run, run.state, 1)
    momentum = run.method.momentum
    student = (
        {key: state.params[key] for key in before}
        if name == "data2vec"
        else state.params["encoder"]
    )
    expected = jax.tree.map(
        lambda t, s: momentum * t + (1 - momentum) * np.asarray(s), before, student
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        state.extra["teacher"],
        expected,
    )


@pytest.mark.parametrize("name", ["data2vec", "ijepa"])
def test_features_read_the_network_that_is_named_and_the_masks_that_are_given(name):
    run = set_up(recipe(name), 2)  # as compiled for the harness
    state, _ = advance(run, run.state, 3)
    images = plain_view(IMAGES[:4], run.method.views.crops[0])
    masks = training_masks(jax.random.key(3), 4, run.method.views)
    networks = {"data2vec": ("student", "teacher"), "ijepa": ("context", "target", "predictor")}[
        name
    ]
    seen = {}
    for network in networks:
        method = dataclasses.replace(run.method, features_of=network)
        for given in (masks, None) if network in ("student", "predictor") else (masks,):
            features = jax.jit(method.features)(state.params, state.extra, images, given)
            assert features.embedding is None
            assert features.representation.shape == (4, run.method.encoder.width)
            seen[network, given is None] = np.asarray(features.representation)
    for one, two in itertools.combinations(seen.values(), 2):
        assert not np.allclose(one, two, atol=1e-6)


def test_mistakes_are_one_clear_line():
    with pytest.raises(ValueError, match="beta is 0"):
        data2vec_loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)), beta=0)
    assert data2vec_loss(jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.zeros(2, bool), beta=1) == 0
    config = recipe("ijepa")
    config.method.features_of = "student"
    with pytest.raises(
        ValueError, match="features_of is 'student'; it takes context, target, predictor"
    ):
        set_up(config, 1)
    config = recipe("data2vec")
    config.method.target_blocks = 2
    run = set_up(config, 1)
    with pytest.raises(ValueError, match="target_blocks is 2; the network has 1 to 1"):
        advance(run, run.state, 1)


WRONG = {
    "patch": (
        lambda c: c.model.update(patch=3),
        r"8 x 8 pixels cannot be cut into patches of 3 x 3.*config\.model\.patch",
    ),
    "small crops": (
        lambda c: c.views.crop.update(size=5),
        r"5 x 5 pixels cannot be cut into patches of 2 x 2",
    ),
    "resnet": (
        lambda c: setattr(c, "model", base.get_config().model),
        r"I-JEPA hides patches, which a ResNet has not",
    ),
    "min_keep": (
        lambda c: c.masks.update(min_keep=17),
        r"config\.masks\.min_keep is 17, but on a grid of 4 x 4",
    ),
    "local": (
        lambda c: c.views.update(local=base.crop(4)),
        r"has 'crop', 'local', but this method takes 'crop'",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_config_that_cannot_work_is_one_clear_line(mistake):
    change, message = WRONG[mistake]
    config = recipe("ijepa")
    with config.unlocked():
        change(config)
    with pytest.raises(ValueError, match=message):
        set_up(config, 1)


def test_masks_of_a_method_that_takes_none_are_refused():
    config = recipe("simclr")
    with config.unlocked():
        config.masks = base.multi_block()
    with pytest.raises(ValueError, match="config.masks is set, but simclr takes no masks"):
        set_up(config, 1)


@pytest.mark.parametrize("name", ["data2vec", "dino", "ijepa"])
def test_a_bfloat16_run_stays_finite_and_is_compiled_once(name):
    config = recipe(name)
    steps = 200 if name == "ijepa" else 100  # I-JEPA's masks differ most from step to step
    config.model.dtype, config.duration, config.batch_size = "bfloat16", f"{steps} steps", 8
    run = set_up(config, 1)
    state, _ = advance(run, run.state, 1)
    compiled = run.inner._cache_size()
    state, losses = advance(run, state, steps - 1)
    assert np.isfinite(losses).all()
    assert run.inner._cache_size() == compiled
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
