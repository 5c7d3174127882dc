"""The recipes for CIFAR and ImageNet hold what the reference codes publish, and their parameters
can be initialised.
"""

import importlib

import jax
import pytest

from configs import augmentations
from sslx.experiment import load_method
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

RESNETS = ("simclr", "moco", "vicreg", "barlow_twins", "byol", "simsiam", "swav", "spectral")
METHODS = (*RESNETS, "dino")
SOLO = (*RESNETS[:-1], "dino")  # solo-learn has no spectral contrastive learning
IMAGES = {"cifar10": 50_000, "imagenet": 1_281_167, "imagenet100": 126_689}

# method: optimizer, batch, epochs, peak rate, decay, epochs of warm-up, fields of the method
IMAGENET = {
    # Half of its 1e-4: our loss is half of theirs.
    "simclr": ("lars_simclr", 4096, 100, 4.8, 5e-5, 10, {"temperature": 0.1}),
    "moco": (
        "sgd",
        256,
        200,
        0.03,
        1e-4,
        0,
        {"temperature": 0.2, "queue": 65536, "momentum": 0.999},
    ),
    "vicreg": (
        "lars",
        2048,
        1000,
        1.6,
        1e-6,
        10,
        {"projector": (8192, 8192, 8192), "halve_variance": True},
    ),
    "barlow_twins": (
        "lars",
        2048,
        1000,
        1.6,
        1e-6,
        10,
        {"projector": (8192, 8192, 8192), "weight": 0.0051},
    ),
    "byol": ("lars", 4096, 1000, 3.2, 1.5e-6, 10, {"momentum": 0.996, "momentum_end": 1.0}),
    "simsiam": (
        "sgd",
        512,
        100,
        0.1,
        1e-4,
        0,
        {"projector": (2048, 2048, 2048), "predictor": (512,)},
    ),
    "swav": (
        "larc",
        4096,
        800,
        4.8,
        1e-6,
        10,
        {"prototypes": 3000, "temperature": 0.1, "queue": 0, "local_views": 6},
    ),
    "spectral": ("sgd", 384, 101, 0.075, 1e-4, 0, {"mu": 10.0, "projector": (8192, 8192, 8192)}),
    "dino": (
        "adamw",
        1024,
        300,
        2e-3,
        0.04,
        10,
        {"prototypes": 65536, "momentum": 0.996, "teacher_temperature": 0.07},
    ),
}
CIFAR = {
    "simclr": ("larc", 256, 1000, 0.4, 1e-4, 10, {"temperature": 0.2, "projector": (2048, 256)}),
    "moco": (
        "sgd",
        256,
        1000,
        0.3,
        1e-4,
        10,
        {"queue": 32768, "momentum": 0.99, "momentum_end": 0.999},
    ),
    "vicreg": (
        "larc",
        256,
        1000,
        0.3,
        1e-4,
        10,
        {"projector": (2048, 2048, 2048), "halve_variance": False},
    ),
    "barlow_twins": (
        "larc",
        256,
        1000,
        0.3,
        1e-4,
        10,
        {"projector": (2048, 2048, 2048), "scale": 0.1},
    ),
    "byol": (
        "larc",
        256,
        1000,
        1.0,
        1e-5,
        10,
        {"projector": (4096, 256), "momentum": 0.99, "momentum_end": 1.0},
    ),
    "simsiam": (
        "sgd",
        256,
        1000,
        0.5,
        1e-5,
        10,
        {"projector": (2048, 2048, 2048), "predictor": (512,)},
    ),
    "swav": (
        "larc",
        256,
        1000,
        0.6,
        1e-6,
        10,
        {"prototypes": 3000, "queue": 3840, "queue_start": "50 epochs"},
    ),
    "spectral": ("sgd", 512, 800, 0.06, 5e-4, 10, {"mu": 1.0, "projector": (2048, 1000)}),
    "dino": (
        "larc",
        256,
        1000,
        0.3,
        1e-6,
        10,
        {"prototypes": 4096, "momentum": 0.9995, "teacher_warmup": "50 epochs"},
    ),
}
IMAGENET100 = {
    "simclr": ("larc", 256, 400, 0.3, 1e-4, 10, {"temperature": 0.2, "projector": (4096, 512)}),
    "moco": (
        "sgd",
        256,
        400,
        0.3,
        1e-4,
        10,
        {"queue": 65536, "momentum": 0.99, "projector": (2048, 256)},
    ),
    "vicreg": ("larc", 256, 400, 0.3, 1e-4, 10, {"projector": (2048, 2048, 2048)}),
    "barlow_twins": (
        "larc",
        256,
        400,
        0.3,
        1e-4,
        10,
        {"projector": (2048, 2048, 2048), "scale": 0.1},
    ),
    "byol": ("larc", 256, 400, 0.5, 1e-6, 10, {"predictor": (8192,), "momentum": 0.99}),
    "simsiam": ("sgd", 256, 400, 0.5, 1e-5, 10, {"predictor": (512,)}),
    "swav": (
        "larc",
        256,
        400,
        0.6,
        1e-6,
        10,
        {"prototypes": 3000, "queue": 3840, "queue_start": "50 epochs"},
    ),
    "spectral": ("sgd", 384, 400, 0.075, 1e-4, 0, {"mu": 10.0}),
    "dino": (
        "larc",
        128,
        400,
        0.15,
        1e-6,
        10,
        {"prototypes": 4096, "momentum": 0.9995, "local_views": 0},
    ),
}
TABLE = {"imagenet": IMAGENET, "cifar10": CIFAR, "imagenet100": IMAGENET100}
ALL = [(data, method) for data in IMAGES for method in METHODS]


def recipe(data, method):
    config = importlib.import_module(f"configs.{data}.{method}").get_config()
    return config, Durations(config.duration, IMAGES[data] // config.batch_size, config.batch_size)


def shapes(config, data):
    method = load_method(config, IMAGES[data])
    size = method.views.crops[0].size
    return jax.eval_shape(lambda key: method.init(key, (1, size, size, 3)), jax.random.key(0))[0]


@pytest.mark.parametrize(("data", "method"), ALL)
def test_a_recipe_has_the_published_settings(data, method):
    config, durations = recipe(data, method)
    name, batch, epochs, peak, decay, warmup, fields = TABLE[data][method]
    assert (config.optimizer.name, config.batch_size, config.duration) == (
        name,
        batch,
        f"{epochs} epochs",
    )
    assert peak_rate(config.optimizer, batch) == pytest.approx(peak)
    assert config.optimizer.weight_decay == decay
    assert durations.steps(config.optimizer.warmup) == warmup * durations.steps_per_epoch
    assert {field: config.method[field] for field in fields} == fields
    size = 32 if data == "cifar10" else 224
    assert {view.size for view in config.views.values()} == (
        {size, 96} if "local" in config.views else {size}
    )


@pytest.mark.parametrize(("data", "method"), ALL)
def test_a_recipe_s_parameters_and_optimizer_can_be_initialised(data, method):
    config, durations = recipe(data, method)
    jax.eval_shape(make_optimizer(config.optimizer, durations).init, shapes(config, data))


@pytest.mark.parametrize("data", ["cifar10", "imagenet100"])
@pytest.mark.parametrize("method", SOLO)
def test_solo_learns_warm_up_starts_at_3e_5_and_its_lars_caps_the_rate(data, method):
    config, durations = recipe(data, method)
    rate = learning_rate(config.optimizer, durations)
    assert float(rate(0)) == pytest.approx(3e-5, abs=1e-7)  # optax subtracts the peak in float32
    assert float(rate(durations.total)) == pytest.approx(0, abs=1e-7)
    if config.optimizer.name == "larc":
        options = (
            config.optimizer.trust,
            config.optimizer.trust_clip,
            config.optimizer.decay_min_ndim,
        )
        assert options == (0.02, True, 2)
    else:
        assert config.optimizer.decay_min_ndim == 0


@pytest.mark.parametrize("method", METHODS)
def test_cifar_100_has_the_recipe_of_cifar_10_with_other_images(method):
    ten, hundred = (
        importlib.import_module(f"configs.cifar{n}.{method}").get_config() for n in ("10", "100")
    )
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
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes(config, "imagenet")):
        assert (leaf.ndim == 1) == (group_of(path_name(path), groups) in groups)


def test_the_ends_of_the_official_schedules():
    ends = {method: recipe("imagenet", method)[0].optimizer.final for method in RESNETS}
    assert ends == dict.fromkeys(RESNETS, 0.0) | {
        "vicreg": 0.001,
        "barlow_twins": 0.001,
        "swav": 0.001,
    }
    config, durations = recipe("imagenet", "swav")
    assert float(learning_rate(config.optimizer, durations)(0)) == pytest.approx(0.3)
    assert config.optimizer.groups.prototypes.frozen == "313 steps"
    assert (
        config.optimizer.trust,
        config.optimizer.trust_clip,
        config.optimizer.decay_min_ndim,
    ) == (0.001, False, 0)
    for method in ("moco", "simsiam"):
        config, durations = recipe("imagenet", method)
        rate, epoch = learning_rate(config.optimizer, durations), durations.steps_per_epoch
        assert float(rate(0)) == float(rate(epoch - 1)) > float(rate(epoch))


@pytest.mark.parametrize("data", IMAGES)
def test_simsiams_predictor_alone_keeps_its_rate_and_swavs_prototypes_alone_wait(data):
    config, _ = recipe(data, "simsiam")
    assert config.optimizer.groups.predictor.constant
    found = labels(shapes(config, data), parameter_groups(config.optimizer))
    assert set(jax.tree.leaves(found.pop("predictor"))) == {"predictor"}
    assert set(jax.tree.leaves(found)) == {"rest"}
    config, _ = recipe(data, "swav")
    assert config.optimizer.groups.prototypes.frozen == (
        "313 steps" if data == "imagenet" else "2 epochs"
    )
    found = labels(shapes(config, data), parameter_groups(config.optimizer))
    assert found.pop("prototypes") == "prototypes"
    assert set(jax.tree.leaves(found)) == {"rest"}


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
    params = shapes(config, "imagenet")
    found = decays(params, config.optimizer)
    assert found["last"] == {"direction": True, "scale": True}
    encoder = found["encoder"]
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
    warmup, batch = durations.steps(config.optimizer.warmup), config.batch_size
    assert (config.optimizer.name, batch, config.model.variant, config.model.patch) == (
        "adamw",
        2048,
        "vit_base",
        16,
    )
    params = shapes(config, "imagenet")
    found = decays(params, config.optimizer)
    if method == "data2vec":
        assert (config.duration, config.optimizer.clip_norm) == ("800 epochs", 3.0)
        assert [float(rate(step)) for step in (0, warmup, total)] == pytest.approx(
            [0, 2e-3, 1e-5], rel=1e-3
        )
        decayed = (
            found["mask_token"],
            found["encoder"]["relative_position_bias_table"],
            found["encoder"]["cls_token"],
        )
        assert decayed == (True, True, False)
        masks = load_method(config, IMAGES["imagenet"]).views.masks
        assert (masks.grid, masks.count, masks.min_block) == (14, 120, 16)
    else:
        assert config.duration == "600 epochs"
        assert [float(rate(step)) for step in (warmup - 1, total - 1)] == pytest.approx(
            [1e-3, 1e-6], rel=1e-3
        )
        assert float(rate(0)) == pytest.approx(2e-4 + 8e-4 / warmup)
        assert found["predictor"]["mask_token"]
        masks = load_method(config, IMAGES["imagenet"]).views.masks
        assert (masks.target_length, masks.context_length, masks.kind) == (42, 98, "repaired")
    assert not any(
        flag
        for (path, flag), leaf in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(params), strict=True
        )
        if leaf.ndim == 1
    )


@pytest.mark.parametrize("method", ["data2vec", "dino", "ijepa"])
def test_a_step_of_a_transformer_s_recipe_can_be_traced(method):
    config, durations = recipe("imagenet", method)
    config.model.depth = 6  # of twelve; drop path begins in the second block
    made = load_method(config, IMAGES["imagenet"])
    optimizer = make_optimizer(config.optimizer, durations)
    state = jax.eval_shape(
        lambda key: init_state(made, optimizer, key, (1, 224, 224, 3)), jax.random.key(0)
    )
    step = make_step(made, optimizer, learning_rate(config.optimizer, durations), 0, resident=False)
    batch = jax.ShapeDtypeStruct((64, 256, 256, 3), "uint8"), jax.ShapeDtypeStruct((64,), "int32")
    assert jax.eval_shape(step, state, *batch)[1]["loss"].shape == ()
