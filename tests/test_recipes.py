"""The recipes hold what the reference codes publish, and none changes by accident."""

import functools
import hashlib
import importlib
import json
from pathlib import Path

import jax
import pytest

from configs import augmentations
from sslx.experiment import load_method
from sslx.files import plain
from sslx.training.optim import (
    decays,
    group_of,
    labels,
    make_optimizer,
    parameter_groups,
    path_name,
)
from sslx.training.schedules import Durations, learning_rate, peak_rate
from sslx.training.state import init_state, make_step

# Of each resolved recipe; whoever changes one on purpose puts the new digest there.
DIGESTS = json.loads(Path(__file__).with_name("recipes.json").read_text())

RESNETS = ("simclr", "moco", "vicreg", "barlow_twins", "byol", "simsiam", "swav", "spectral")
METHODS = (*RESNETS, "dino")
SOLO = (*RESNETS[:-1], "dino")  # solo-learn has no spectral contrastive learning
IMAGES = {"cifar10": 50_000, "imagenet": 1_281_167, "imagenet100": 126_689}

# method: optimizer, batch, epochs, peak rate, decay, epochs of warm-up
SETTINGS = {
    "imagenet": {
        # Half of its 1e-4: our loss is half of theirs.
        "simclr": ("lars_simclr", 4096, 100, 4.8, 5e-5, 10),
        "moco": ("sgd", 256, 200, 0.03, 1e-4, 0),
        "vicreg": ("lars", 2048, 1000, 1.6, 1e-6, 10),
        "barlow_twins": ("lars", 2048, 1000, 1.6, 1e-6, 10),
        "byol": ("lars", 4096, 1000, 3.2, 1.5e-6, 10),
        "simsiam": ("sgd", 512, 100, 0.1, 1e-4, 0),
        "swav": ("larc", 4096, 800, 4.8, 1e-6, 10),
        "spectral": ("sgd", 384, 101, 0.075, 1e-4, 0),
        "dino": ("adamw", 1024, 300, 2e-3, 0.04, 10),
    },
    "cifar10": {
        "simclr": ("larc", 256, 1000, 0.4, 1e-4, 10),
        "moco": ("sgd", 256, 1000, 0.3, 1e-4, 10),
        "vicreg": ("larc", 256, 1000, 0.3, 1e-4, 10),
        "barlow_twins": ("larc", 256, 1000, 0.3, 1e-4, 10),
        "byol": ("larc", 256, 1000, 1.0, 1e-5, 10),
        "simsiam": ("sgd", 256, 1000, 0.5, 1e-5, 10),
        "swav": ("larc", 256, 1000, 0.6, 1e-6, 10),
        "spectral": ("sgd", 512, 800, 0.06, 5e-4, 10),
        "dino": ("larc", 256, 1000, 0.3, 1e-6, 10),
    },
    "imagenet100": {
        "simclr": ("larc", 256, 400, 0.3, 1e-4, 10),
        "moco": ("sgd", 256, 400, 0.3, 1e-4, 10),
        "vicreg": ("larc", 256, 400, 0.3, 1e-4, 10),
        "barlow_twins": ("larc", 256, 400, 0.3, 1e-4, 10),
        "byol": ("larc", 256, 400, 0.5, 1e-6, 10),
        "simsiam": ("sgd", 256, 400, 0.5, 1e-5, 10),
        "swav": ("larc", 256, 400, 0.6, 1e-6, 10),
        "spectral": ("sgd", 384, 400, 0.075, 1e-4, 0),
        "dino": ("larc", 128, 400, 0.15, 1e-6, 10),
    },
}
THREE = {width: (width, width, width) for width in (2048, 8192)}
FIELDS = {
    "imagenet": {
        "simclr": {"temperature": 0.1},
        "moco": {"temperature": 0.2, "queue": 65536, "momentum": 0.999},
        "vicreg": {"projector": THREE[8192], "halve_variance": True},
        "barlow_twins": {"projector": THREE[8192], "weight": 0.0051},
        "byol": {"momentum": 0.996, "momentum_end": 1.0},
        "simsiam": {"projector": THREE[2048], "predictor": (512,)},
        "swav": {"prototypes": 3000, "temperature": 0.1, "queue": 0, "local_views": 6},
        "spectral": {"mu": 10.0, "projector": THREE[8192]},
        "dino": {"prototypes": 65536, "momentum": 0.996, "teacher_temperature": 0.07},
    },
    "cifar10": {
        "simclr": {"temperature": 0.2, "projector": (2048, 256)},
        "moco": {"queue": 32768, "momentum": 0.99, "momentum_end": 0.999},
        "vicreg": {"projector": THREE[2048], "halve_variance": False},
        "barlow_twins": {"projector": THREE[2048], "scale": 0.1},
        "byol": {"projector": (4096, 256), "momentum": 0.99, "momentum_end": 1.0},
        "simsiam": {"projector": THREE[2048], "predictor": (512,)},
        "swav": {"prototypes": 3000, "queue": 3840, "queue_start": "50 epochs"},
        "spectral": {"mu": 1.0, "projector": (2048, 1000)},
        "dino": {"prototypes": 4096, "momentum": 0.9995, "teacher_warmup": "50 epochs"},
    },
    "imagenet100": {
        "simclr": {"temperature": 0.2, "projector": (4096, 512)},
        "moco": {"queue": 65536, "momentum": 0.99, "projector": (2048, 256)},
        "vicreg": {"projector": THREE[2048]},
        "barlow_twins": {"projector": THREE[2048], "scale": 0.1},
        "byol": {"predictor": (8192,), "momentum": 0.99},
        "simsiam": {"predictor": (512,)},
        "swav": {"prototypes": 3000, "queue": 3840, "queue_start": "50 epochs"},
        "spectral": {"mu": 10.0},
        "dino": {"prototypes": 4096, "momentum": 0.9995, "local_views": 0},
    },
}
ALL = [(data, method) for data in IMAGES for method in METHODS]


def config_of(page, recipe):
    return importlib.import_module(f"configs.{page}").get_config(recipe)


def recipe(data, method):
    config = config_of(data, method)
    return config, Durations(config.duration, IMAGES[data] // config.batch_size, config.batch_size)


@functools.cache
def shapes(data, recipe):
    """The parameters' shapes, traced once for all tests."""
    method = load_method(config_of(data, recipe), IMAGES[data])
    size = method.views.crops[0].size
    return jax.eval_shape(lambda key: method.init(key, (1, size, size, 3)), jax.random.key(0))[0]


@pytest.mark.parametrize("name", DIGESTS)
def test_a_recipe_is_what_it_was(name):
    config = plain(config_of(*name.split(":")).to_dict())
    text = json.dumps(config, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    assert digest == DIGESTS[name], f"if {name} has changed on purpose, write {digest} for it"


@pytest.mark.parametrize(("data", "method"), ALL)
def test_a_recipe_has_the_published_settings(data, method):
    config, durations = recipe(data, method)
    name, batch, epochs, peak, decay, warmup = SETTINGS[data][method]
    assert (config.optimizer.name, config.batch_size) == (name, batch)
    assert config.duration == f"{epochs} epochs"
    assert peak_rate(config.optimizer, batch) == pytest.approx(peak)
    assert config.optimizer.weight_decay == decay
    assert durations.steps(config.optimizer.warmup) == warmup * durations.steps_per_epoch
    fields = FIELDS[data][method]
    assert {field: config.method[field] for field in fields} == fields
    size = 32 if data == "cifar10" else 224
    sizes = {size, 96} if "local" in config.views else {size}
    assert {view.size for view in config.views.values()} == sizes


@pytest.mark.parametrize(("data", "method"), ALL)
def test_a_recipe_s_parameters_and_optimizer_can_be_initialised(data, method):
    config, durations = recipe(data, method)
    jax.eval_shape(make_optimizer(config.optimizer, durations).init, shapes(data, method))


@pytest.mark.parametrize("data", ["cifar10", "imagenet100"])
@pytest.mark.parametrize("method", SOLO)
def test_solo_learns_warm_up_starts_at_3e_5_and_its_lars_caps_the_rate(data, method):
    config, durations = recipe(data, method)
    optimizer = config.optimizer
    rate = learning_rate(optimizer, durations)
    assert float(rate(0)) == pytest.approx(3e-5, abs=1e-7)  # optax subtracts the peak in float32
    assert float(rate(durations.total)) == pytest.approx(0, abs=1e-7)
    if optimizer.name == "larc":
        assert (optimizer.trust, optimizer.trust_clip) == (0.02, True)
        assert optimizer.decay_min_ndim == 2
    else:
        assert optimizer.decay_min_ndim == 0


@pytest.mark.parametrize("method", METHODS)
def test_cifar_100_has_the_recipe_of_cifar_10_with_other_images(method):
    ten, hundred = config_of("cifar10", method), config_of("cifar100", method)
    assert hundred.data.name == "cifar100"
    assert {(view.mean, view.std) for view in ten.views.values()} == {augmentations.CIFAR10}
    assert {(view.mean, view.std) for view in hundred.views.values()} == {augmentations.CIFAR100}
    hundred.data.name = "cifar10"
    for view in hundred.views.values():
        view.mean, view.std = augmentations.CIFAR10
    assert hundred.to_dict() == ten.to_dict()


@pytest.mark.parametrize(("method", "factor"), [("barlow_twins", 0.0048 / 0.2), ("simclr", 2.0)])
def test_the_tensors_of_one_axis_have_their_own_rate_on_imagenet(method, factor):
    config, _ = recipe("imagenet", method)
    groups = parameter_groups(config.optimizer)
    assert [group.rate for group in groups.values()] == [pytest.approx(factor)]
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes("imagenet", method)):
        assert (leaf.ndim == 1) == (group_of(path_name(path), groups) in groups)


def test_the_ends_of_the_official_schedules():
    for method in RESNETS:
        end = 0.001 if method in ("vicreg", "barlow_twins", "swav") else 0.0
        assert recipe("imagenet", method)[0].optimizer.final == end
    config, durations = recipe("imagenet", "swav")
    optimizer = config.optimizer
    assert float(learning_rate(optimizer, durations)(0)) == pytest.approx(0.3)
    assert optimizer.groups.prototypes.frozen == "313 steps"
    assert (optimizer.trust, optimizer.trust_clip, optimizer.decay_min_ndim) == (0.001, False, 0)
    for method in ("moco", "simsiam"):
        config, durations = recipe("imagenet", method)
        rate, epoch = learning_rate(config.optimizer, durations), durations.steps_per_epoch
        assert float(rate(0)) == float(rate(epoch - 1)) > float(rate(epoch))


@pytest.mark.parametrize("data", IMAGES)
def test_simsiams_predictor_alone_keeps_its_rate_and_swavs_prototypes_alone_wait(data):
    optimizer = recipe(data, "simsiam")[0].optimizer
    assert optimizer.groups.predictor.constant
    group_names = labels(shapes(data, "simsiam"), parameter_groups(optimizer))
    assert set(jax.tree.leaves(group_names.pop("predictor"))) == {"predictor"}
    assert set(jax.tree.leaves(group_names)) == {"rest"}
    optimizer = recipe(data, "swav")[0].optimizer
    frozen = "313 steps" if data == "imagenet" else "2 epochs"
    assert optimizer.groups.prototypes.frozen == frozen
    group_names = labels(shapes(data, "swav"), parameter_groups(optimizer))
    assert group_names.pop("prototypes") == "prototypes"
    assert set(jax.tree.leaves(group_names)) == {"rest"}


@pytest.mark.parametrize("method", RESNETS)
def test_the_last_norm_of_a_block_starts_at_zero_where_the_official_code_says_so(method):
    config, _ = recipe("imagenet", method)
    assert config.model.zero_init_residual == (method not in ("moco", "swav"))
    assert (config.model.variant, config.model.stem) == ("resnet50", "imagenet")
    assert (config.data.name, config.data.image_size) == ("imagenet2012", 256)


def test_dinos_boosted_run_decays_clips_and_freezes_as_the_official_code():
    config, durations = recipe("imagenet", "dino")
    rate, total = learning_rate(config.optimizer, durations), durations.total
    warmup = durations.steps(config.optimizer.warmup)
    assert float(rate(warmup - 1)) == float(rate(warmup)) == pytest.approx(2e-3)
    assert float(rate(total)) == pytest.approx(1e-6, rel=1e-3)
    assert (config.optimizer.weight_decay_end, config.optimizer.clip_tensor_norm) == (0.4, 3.0)
    params = shapes("imagenet", "dino")
    decayed = decays(params, config.optimizer)
    assert decayed["last"] == {"direction": True, "scale": True}
    encoder = decayed["encoder"]
    assert [encoder[name] for name in ("cls_token", "pos_embed")] == [True, True]
    assert encoder["patch_embed"]["proj"] == {"kernel": True, "bias": False}
    assert not encoder["norm"]["scale"]
    groups = labels(params, parameter_groups(config.optimizer))
    assert set(jax.tree.leaves(groups.pop("last"))) == {"last"}
    assert set(jax.tree.leaves(groups)) == {"rest"}


@pytest.mark.parametrize("method", ["data2vec", "ijepa"])
def test_the_masking_methods_have_the_published_settings_on_imagenet(method):
    config, durations = recipe("imagenet", method)
    rate, total = learning_rate(config.optimizer, durations), durations.total
    warmup = durations.steps(config.optimizer.warmup)
    assert (config.optimizer.name, config.batch_size) == ("adamw", 2048)
    assert (config.model.variant, config.model.patch) == ("vit_base", 16)
    params = shapes("imagenet", method)
    decayed = decays(params, config.optimizer)
    masks = load_method(config, IMAGES["imagenet"]).views.masks
    if method == "data2vec":
        assert (config.duration, config.optimizer.clip_norm) == ("800 epochs", 3.0)
        rates = [float(rate(step)) for step in (0, warmup, total)]
        assert rates == pytest.approx([0, 2e-3, 1e-5], rel=1e-3)
        assert decayed["mask_token"]
        assert decayed["encoder"]["relative_position_bias_table"]
        assert not decayed["encoder"]["cls_token"]
        assert (masks.grid, masks.count, masks.min_block) == (14, 120, 16)
    else:
        assert config.duration == "600 epochs"
        rates = [float(rate(step)) for step in (warmup - 1, total - 1)]
        assert rates == pytest.approx([1e-3, 1e-6], rel=1e-3)
        assert float(rate(0)) == pytest.approx(2e-4 + 8e-4 / warmup)
        assert decayed["predictor"]["mask_token"]
        assert (masks.target_length, masks.context_length, masks.kind) == (42, 98, "repaired")
    for leaf, flag in zip(jax.tree.leaves(params), jax.tree.leaves(decayed), strict=True):
        assert leaf.ndim > 1 or not flag


@pytest.mark.parametrize("method", ["data2vec", "dino", "ijepa"])
def test_a_step_of_a_transformer_s_recipe_can_be_traced(method):
    config, durations = recipe("imagenet", method)
    config.model.depth = 2  # of twelve equal ones; drop path begins in the second block
    if method == "ijepa":
        config.method.predictor_depth = 2
    if method == "data2vec":
        config.method.target_blocks = 2
    made = load_method(config, IMAGES["imagenet"])
    optimizer = make_optimizer(config.optimizer, durations)
    state = jax.eval_shape(
        lambda key: init_state(made, optimizer, key, (1, 224, 224, 3)), jax.random.key(0)
    )
    step = make_step(made, optimizer, learning_rate(config.optimizer, durations), 0, resident=False)
    batch = jax.ShapeDtypeStruct((64, 256, 256, 3), "uint8"), jax.ShapeDtypeStruct((64,), "int32")
    assert jax.eval_shape(step, state, *batch)[1]["loss"].shape == ()
