"""Every recipe builds its method, and its fields are those of the code."""

import dataclasses
import importlib
from pathlib import Path

import pytest

from configs import augmentations, base, methods
from configs.mnist5k import diet_ablation
from sslx.datasets.official import DATA_SETS
from sslx.experiment import load_method
from sslx.training.optim import make_optimizer
from sslx.training.schedules import Durations
from sslx.views.views import Crop

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
RECIPES = sorted(
    str(path.with_suffix("")).replace("/", ".")
    for path in Path("configs").glob("*/*.py")
    if not {"theory", "studies"} & set(path.parts)
)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_builds_its_method_and_optimizer(name):
    module = importlib.import_module(name)
    config = module.get_config()
    method = load_method(config, 10_000)  # more than the largest batch
    assert name.rsplit(".", 1)[1] in (config.method.name, f"{config.method.name}_ablation")
    durations = Durations(config.duration, 20, config.batch_size)
    make_optimizer(config.optimizer, durations)
    assert durations.steps(config.monitor.every) > 0
    assert config.monitor.lidar_images > method.encoder.width, (
        "LiDAR cannot exceed the number of images"
    )
    assert config.data.name in DATA_SETS
    assert f"python train.py --config={name.replace('.', '/')}.py" in module.__doc__


def test_the_configs_crop_has_the_fields_and_defaults_of_the_code():
    assert base.crop(32).to_dict() == dataclasses.asdict(Crop(32))


def test_diets_three_strengths_are_cumulative():
    one, two, three = (Crop(**augmentations.diet(32, strength).crop) for strength in (1, 2, 3))
    assert (one.area, one.flip, one.jitter, one.blur, one.erase) == ((0.08, 1.0), 0.5, 0, 0, 0)
    assert (two.jitter, two.hue, two.gray, two.blur, two.erase) == (0.3, 0.2, 0.2, 0, 0)
    assert (three.jitter, three.blur, three.blur_kernel, three.blur_sigma, three.erase) == (
        0.3,
        0.2,
        3,
        (1.0, 2.0),
        0.25,
    )
    with pytest.raises(ValueError, match="it takes 1, 2 or 3"):
        augmentations.diet(32, 4)


def test_the_ablation_has_every_combination_once():
    configs = [diet_ablation.get_config(variant) for variant in diet_ablation.VARIANTS]
    fields = [
        (c.method.name, c.method.normalise, c.method.projector, c.method.label_smoothing)
        for c in configs
    ]
    assert len(set(fields)) == 16
    for config in configs:
        load_method(config, 4000)
    with pytest.raises(ValueError, match="write full or batch, then any of unit,projector,smooth"):
        diet_ablation.get_config("batch,norm")


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_fields_and_defaults_are_those_of_the_code(name):
    module = importlib.import_module(f"sslx.methods.{name}")
    defaults = {
        x.name: x.default
        for x in dataclasses.fields(module.Method)
        if x.default is not dataclasses.MISSING
    }
    assert getattr(methods, name)().to_dict() == {"name": name} | defaults


def test_an_unknown_method_or_field_names_the_nearest():
    config = importlib.import_module("configs.digits.diet").get_config()
    config.method.unlock()
    config.method.label_smothing = 0.1
    with pytest.raises(
        ValueError,
        match="config.method has no field 'label_smothing'. Did you mean 'label_smoothing'",
    ):
        load_method(config, 10)
    for name in ("dite", "sslx.methods.dite"):
        config.method = {"name": name}
        with pytest.raises(ValueError, match="Did you mean 'diet'"):
            load_method(config, 10)
    config.method = {"name": "no_such_package.method"}
    with pytest.raises(ValueError, match="which is no method here"):
        load_method(config, 10)
