"""Pages list their recipes, recipes build their method, and fields are those of the code."""

import dataclasses
import importlib
import inspect
import itertools
import math
import re
from pathlib import Path

import pytest

from configs import augmentations, base, digits, mnist5k
from sslx.datasets.official import DATA_SETS
from sslx.experiment import load_method
from sslx.models.resnet import network as resnet
from sslx.models.vit import network as vit
from sslx.training.optim import Group, make_optimizer
from sslx.training.schedules import Durations
from sslx.views.crop import Crop
from sslx.views.masks import BlockWise, MultiBlock

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
PAGES = sorted(
    path.stem
    for path in Path("configs").glob("*.py")
    if path.stem not in ("__init__", "base", "augmentations")
)
RECIPES = [
    (page, recipe)
    for page in PAGES
    if page != "theory"
    for recipe in base.recipes_of(vars(importlib.import_module(f"configs.{page}")))
]
PASSED_IN = {"encoder", "crops", "masks", "num_images", "durations", "row_optimizer"}


@pytest.mark.parametrize(("page", "recipe"), RECIPES)
def test_a_recipe_builds_its_method_and_optimizer(page, recipe):
    config = importlib.import_module(f"configs.{page}").get_config(recipe)
    method = load_method(config, 10_000)  # more than the largest batch
    assert recipe in (config.method.name, f"{config.method.name}_ablation")
    durations = Durations(config.duration, 20, config.batch_size)
    make_optimizer(config.optimizer, durations)
    assert durations.steps(config.monitor.every) > 0
    assert config.monitor.lidar_images > method.encoder.width, (
        "LiDAR cannot exceed the number of images"
    )
    assert config.data.name in (*DATA_SETS, "folder:PATH")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_a_command_and_lists_its_recipes_to_who_names_none(page):
    module = importlib.import_module(f"configs.{page}")
    recipes = base.recipes_of(vars(module))
    assert re.search(rf"python .*--config=configs/{page}\.py:({'|'.join(recipes)})", module.__doc__)
    every = re.escape(", ".join(recipes))
    with pytest.raises(
        ValueError,
        match=rf"^configs/{page}\.py needs a recipe\. Type --config=configs/{page}\.py:NAME with "
        rf"one of: {every}\.$",
    ):
        module.get_config()
    first = next(iter(recipes))
    with pytest.raises(ValueError, match=rf"py:{first}x\. Did you mean '{first}'\?.* {every}"):
        module.get_config(f"{first}x")


def test_a_recipe_that_takes_no_argument_refuses_one():
    with pytest.raises(ValueError, match=r"digits\.py:diet takes no argument, and '2' was given"):
        digits.get_config("diet,2")


def test_a_page_of_ones_own_anywhere_has_recipes_too(tmp_path):
    page = {"__name__": "mine", "__file__": str(tmp_path / "mine.py"), "pi": 3, "sqrt": math.sqrt}
    exec("def slow(text='x'): return text\ndef _own(): pass\ndef get_config(): pass", page)
    assert base.pick("slow", page) == "x"
    assert base.pick("slow,a,b", page) == "a,b"
    with pytest.raises(ValueError, match=r"mine\.py:NAME with one of: slow\.$"):
        base.pick("", page)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_fields_are_those_of_its_dataclass_but_for_what_is_passed_in(name):
    fields = dataclasses.fields(importlib.import_module(f"sslx.methods.{name}").Method)
    defaults = {x.name: x.default for x in fields if x.name not in PASSED_IN}
    assert dataclasses.MISSING not in defaults.values()
    assert base.method(name).to_dict() == {"name": name} | defaults
    assert base.method(f"sslx.methods.{name}").name == f"sslx.methods.{name}"


def test_other_fields_are_those_of_the_code_too():
    assert base.crop(32).to_dict() == dataclasses.asdict(Crop(32))
    assert base.multi_block().to_dict() | {"grid": 14} == dataclasses.asdict(MultiBlock(14))
    assert base.block_wise(99).to_dict() | {"grid": 14} == dataclasses.asdict(BlockWise(14, 99))
    assert base.group("^a").to_dict() == Group("^a")._asdict()
    for name, code in {"resnet": resnet, "vit": vit}.items():
        variant = inspect.signature(code).parameters["variant"].default
        fields = {"name": name, "variant": variant} | code.__kwdefaults__
        assert getattr(base, name)().to_dict() == fields


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: base.method("vicreg", halve_varance=False), "'vicreg' .*mean 'halve_variance'"),
        (lambda: base.method("vicreg", encoder=1), "no field 'encoder'"),
        (lambda: base.method("vicrag"), "no module that has `Method`. Did you mean 'vicreg'"),
        (lambda: base.vit(patches=4), "vit has no field 'patches'. Did you mean 'patch'"),
        (lambda: base.crop(8, aria=(0.1, 1)), "crop has no field 'aria'. Did you mean 'area'"),
        (lambda: base.group("x", frosen="1 steps"), "group has no field 'frosen'.*'frozen'"),
    ],
)
def test_an_unknown_field_or_name_is_refused_where_it_is_written(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_diets_three_strengths_are_cumulative():
    one, two, three = (Crop(**augmentations.diet(32, strength).crop) for strength in (1, "2", 3))
    assert (one.area, one.flip, one.jitter, one.blur, one.erase) == ((0.08, 1.0), 0.5, 0, 0, 0)
    assert (two.jitter, two.hue, two.gray, two.blur, two.erase) == (0.3, 0.2, 0.2, 0, 0)
    assert (three.jitter, three.blur, three.blur_kernel) == (0.3, 0.2, 3)
    assert (three.blur_sigma, three.erase) == ((1.0, 2.0), 0.25)
    for strength in (4, "x"):
        with pytest.raises(ValueError, match="it takes 1, 2 or 3"):
            augmentations.diet(32, strength)


def test_the_ablation_has_every_combination_once():
    parts = [
        ",".join(chosen)
        for count in range(len(mnist5k.PARTS) + 1)
        for chosen in itertools.combinations(mnist5k.PARTS, count)
    ]
    configs = [
        mnist5k.get_config(f"diet_ablation,{entropy},{chosen}".rstrip(","))
        for entropy in ("full", "batch")
        for chosen in parts
    ]
    fields = [
        (c.method.name, c.method.normalise, c.method.projector, c.method.label_smoothing)
        for c in configs
    ]
    assert len(set(fields)) == 16
    for config in configs:
        load_method(config, 4000)
    with pytest.raises(ValueError, match="write full or batch, then any of unit,projector,smooth"):
        mnist5k.diet_ablation("batch,norm")


def test_photos_have_three_sizes_and_want_a_folder():
    photos = importlib.import_module("configs.photos")
    for size, stem in {"64": "small", "96": "imagenet", "224": "imagenet"}.items():
        for recipe in base.recipes_of(vars(photos)):
            config = photos.get_config(f"{recipe},{size}")
            assert config.model.stem == stem
            assert load_method(config, 1000).views.crops[0].size == int(size)
            assert config.data.image_size > int(size)
            assert config.data.name == "folder:PATH"
    with pytest.raises(ValueError, match=r"'32' .*takes 64, 96, 224.*--config=configs/photos\.py"):
        photos.get_config("simclr,32")


def test_an_unknown_method_or_field_names_the_nearest():
    config = digits.get_config("diet")
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
    with pytest.raises(ValueError, match="no module that has `Method`"):
        load_method(config, 10)
