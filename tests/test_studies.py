"""Every study builds, and each of its runs is a recipe with fields that exist, on known data."""

import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from configs.studies import (
    diet_small,
    diet_theory,
    lidar_dino,
    lidar_ijepa,
    lidar_random_search,
    lidar_vicreg,
)
from sslx.datasets.official import DATA_SETS, images_in
from sslx.experiment import durations_of, load_method
from sslx.studies.results import FIGURES
from sslx.studies.study import SCALES, runs, sweep
from sslx.studies.tables import TABLES
from sslx.training.optim import make_optimizer
from sslx.training.run_folder import flat
from theory import identifiability

STUDIES = sorted(path.stem for path in Path("configs/studies").glob("*.py"))
EACH = [(name, scale) for name in STUDIES for scale in SCALES]
INSTALLED = {"mnist5k", "digits"}


@cache
def build(name, scale):
    return importlib.import_module(f"configs.studies.{name}").get_study(scale)


@cache
def recipe(path):
    """Load the recipe as `--config=FILE:RECIPE` does."""
    file, _, choice = path.partition(":")
    assert Path(file).is_file(), file
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    return module.get_config(choice)


def resolve(run):
    """The run's config; a field that the recipe lacks, or of another type, is an error."""
    config = recipe(run.recipe).copy_and_resolve_references()
    known = flat(config.to_dict())
    for field, value in run.changes.items():
        assert field in known, f"{run.name}: {run.recipe} has no {field}"
        assert type(value) is type(known[field]), (
            f"{run.name}: {field} is {known[field]!r}, not {value!r}"
        )
    config.update_from_flattened_dict(run.changes)
    return config


def trainings(name, scale):
    return [run for run in build(name, scale).runs if run.program == "train.py"]


built = set()


def build_once(config, count):
    """Build what tells whether a config is sound; equal parts are not built again."""
    durations = durations_of(config, count)
    parts = ("method", "model", "views", "masks")
    key = str([count, config.batch_size, config.duration, *(config.get(part) for part in parts)])
    if key not in built:
        load_method(config, count)
        built.add(key)
    if (rates := str([durations, config.optimizer])) not in built:
        make_optimizer(config.optimizer, durations)
        built.add(rates)
    for field in ("monitor", "checkpoint", "log"):
        durations.steps(config[field].every)


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_a_study_has_its_commands_tables_and_figures(name, scale):
    study = build(name, scale)
    module = importlib.import_module(f"configs.studies.{name}")
    for command in (f"{name}.py\n", f"{name}.py:paper\n", f"{name}.py --dry"):
        assert f"python reproduce.py --study=configs/studies/{command}" in module.__doc__
    assert study.runs
    assert study.tables
    assert set(study.tables) <= TABLES.keys()
    assert set(study.figures) <= set(FIGURES)
    with pytest.raises(ValueError, match="The scale, .* is 'desks'; it takes desk, paper"):
        module.get_study("desks")


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_runs_have_safe_names_and_seeds(name, scale):
    found = build(name, scale).runs
    names = [run.name for run in found]
    assert len({name.lower() for name in names}) == len(names), (
        "a file system may not tell upper from lower case"
    )
    for run in found:
        assert re.fullmatch(r"\w[\w.+=-]{0,149}", run.name), run.name
        assert run.row
    repeated = {}
    for run in trainings(name, scale):
        others = tuple(sorted((k, v) for k, v in run.changes.items() if k != "seed"))
        repeated.setdefault((run.recipe, str(others)), []).append(run.changes["seed"])
    for seeds in repeated.values():
        assert seeds == list(range(len(seeds))), "seeds count from 0, and no run is there twice"
        assert len(seeds) <= 3
        assert scale == "paper" or name in ("diet_cost", "lidar_cost") or len(seeds) == 3


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_recipes_take_the_changes(name, scale):
    for run in trainings(name, scale):
        config = resolve(run)
        data = DATA_SETS[config.data.name]
        build_once(config, images_in(data.train, data.sizes))
        side = data.shape[0]
        assert config.data.image_size or side, (
            f"{run.name}: the images of {data.name} differ in size"
        )
        if scale == "desk":
            assert config.data.name in INSTALLED or name == "diet_medmnist"
            assert config.devices == 1


@pytest.mark.parametrize(("name", "scale"), EACH)
def test_evaluations_can_be_made(name, scale):
    study = build(name, scale)
    names = [evaluation.name for evaluation in study.evaluations]
    assert len(set(names)) == len(names)
    assert len({evaluation._replace(name="") for evaluation in study.evaluations}) == len(names)
    for evaluation in study.evaluations:
        settings = evaluation.settings
        settings.check()
        assert evaluation.checkpoint in ("all", "last")
        assert settings.probe_data in DATA_SETS or not settings.probe_data
        assert settings.lidar_views >= 2
        assert 0 < settings.lidar_delta < 1
        if not {"lidar", "debiased_lidar"} & set(settings.metrics):
            continue
        for run in trainings(name, scale):
            data = DATA_SETS[resolve(run).data.name]
            assert settings.lidar_images <= images_in(data.train, data.sizes), (
                f"{data.name} has fewer images than n of LiDAR"
            )
    assert study.target in study.evaluations[0].settings.probes
    assert not study.evaluations[0].settings.probe_data


@pytest.mark.parametrize(("name", "scale"), [(n, s) for n, s in EACH if build(n, s).folder])
def test_studies_of_one_folder_do_no_run_twice(name, scale):
    study = build(name, scale)
    owner = build(study.folder, scale)
    assert not owner.folder
    theirs = {run.name: run for run in owner.runs}
    shared = [run for run in study.runs if run.name in theirs]
    assert shared
    assert all(run == theirs[run.name] for run in shared)
    assert len(shared) == len(study.runs) or name == "diet_transfer"
    assert study.evaluations[0] == owner.evaluations[0], "what is there is not evaluated again"


# metrics.md 6.3: IdEst's grids, each with the other fields at the base of its method.
IDEST = {
    lidar_vicreg: {
        "optimizer.learning_rate": {0.1, 0.2, 0.3, 0.4, 0.5},
        "optimizer.weight_decay": {1e-7, 1e-6, 1e-5, 1e-4, 1e-3},
        "method.covariance": {0.4, 0.6, 0.8, 1.0, 4.0, 16.0},
    },
    lidar_dino: {
        "optimizer.learning_rate": {1.25e-4, 2.25e-4, 2.5e-3, 2e-3, 7.5e-3},
        "method.student_temperature": {0.07, 0.1, 0.2, 0.3, 0.4},
        "method.teacher_temperature": {0.01, 0.02, 0.03, 0.04, 0.05},
    },
    lidar_ijepa: {
        "optimizer.learning_rate": {4e-5, 8e-5, 9e-5, 1e-4, 1.25e-4, 2e-4, 3e-4},
        "masks.target_scale": {(0.15, 0.2), (0.075, 0.2), (0.1, 0.2), (0.125, 0.2), (0.2, 0.25)},
        "masks.context_scale": {
            (0.85, 1.0),
            (0.4, 1.0),
            (0.5, 1.0),
            (0.65, 1.0),
            (0.75, 1.0),
            (0.9, 1.0),
        },
    },
}
BASES = {
    lidar_vicreg: {
        "optimizer.learning_rate": 0.3,
        "optimizer.weight_decay": 1e-6,
        "method.covariance": 5.0,
    },
    lidar_dino: {
        "optimizer.learning_rate": 2e-3,
        "method.student_temperature": 0.07,
        "method.teacher_temperature": 0.04,
    },
    lidar_ijepa: {
        "optimizer.learning_rate": 1.25e-4,
        "masks.target_scale": (0.15, 0.2),
        "masks.context_scale": (0.85, 1.0),
    },
}


@pytest.mark.parametrize("module", IDEST, ids=lambda module: module.__name__.rsplit(".", 1)[1])
def test_the_papers_grids_are_those_of_idest(module):
    base, axes = BASES[module], IDEST[module]
    wanted = {
        tuple((base | {axis: value}).items()) for axis, values in axes.items() for value in values
    }
    wanted.add(tuple(base.items()))
    found = [
        tuple((field, run.changes[field]) for field in base)
        for run in module.get_study("paper").runs
    ]
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_the_settings_of_idest_are_those_of_its_paper():
    vicreg, dino, ijepa = (resolve(module.get_study("paper").runs[0]) for module in IDEST)
    assert (vicreg.model.variant, vicreg.duration, vicreg.batch_size) == (
        "resnet50",
        "100 epochs",
        2048,
    )
    assert (vicreg.optimizer.name, vicreg.method.projector) == ("lars", (8192, 8192, 2048))
    assert (vicreg.method.invariance, vicreg.method.variance) == (25.0, 25.0)
    assert (dino.model.variant, dino.duration, dino.batch_size) == ("vit_small", "100 epochs", 2048)
    assert (dino.method.projector[:2], dino.method.prototypes) == ((8192, 8192), 32768)
    assert (ijepa.model.variant, ijepa.duration, ijepa.batch_size) == (
        "vit_base",
        "300 epochs",
        4096,
    )
    assert (ijepa.optimizer.weight_decay, ijepa.optimizer.weight_decay_end) == (0.04, 0.4)


def test_methods_are_compared_at_equal_encoder_passes():
    desk, paper = (diet_small.get_study(scale).runs for scale in SCALES)
    for run in (*desk, *paper):
        config = resolve(run)
        assert config.method.name == run.recipe.partition(":")[2]
        views = 1 if config.method.name in ("diet", "sdiet") else 2
        passes = views * int(config.duration.split()[0])
        assert passes == {"mnist5k": 30, "digits": 40, "imagenet100": 800}.get(
            config.data.name, 2000
        )
    assert {run.row for run in desk} == {"DIET", "s-DIET", "SimCLR", "MoCo v2", "VICReg"}


def test_at_the_scale_of_the_paper_s_diet_differs_from_diet_in_its_head_alone():
    found = {run.name: flat(resolve(run).to_dict()) for run in diet_small.get_study("paper").runs}
    for data in ("cifar10", "cifar100", "tiny_imagenet", "imagenet100"):
        diet, sdiet = (found[f"{data}-{method}-seed=0"] for method in ("diet", "sdiet"))
        differing = {
            field for field in diet.keys() | sdiet.keys() if diet.get(field) != sdiet.get(field)
        }
        assert {field for field in differing if not field.startswith("method.")} == set(), data
        for method in ("simclr", "moco", "vicreg"):
            same = found[f"{data}-{method}-diet_view-seed=0"]
            own = found[f"{data}-{method}-seed=0"]
            views = [
                {k: v for k, v in fields.items() if k.startswith("views.")}
                for fields in (diet, same, own)
            ]
            assert views[0] == views[1] != views[2]


def test_a_random_search_stays_within_its_ranges_and_can_be_drawn_again():
    ranges = {"a": (1e-4, 10.0), "b": (0.05, 1.0)}
    drawn = lidar_random_search.draw(ranges, 200)
    assert (
        drawn[:12]
        == lidar_random_search.draw(ranges, 12)
        != lidar_random_search.draw(ranges, 12, seed=1)
    )
    for field, (low, high) in ranges.items():
        values = [variant[field] for variant in drawn]
        assert low <= min(values)
        assert max(values) <= high
        below = sum(value < (low * high) ** 0.5 for value in values)
        assert 70 < below < 130, "half of them lie below the middle of the logarithm"


def test_the_theory_has_every_published_setting_once():
    study = diet_theory.get_study("paper")
    found = []
    for run in study.runs:
        if run.program != "theory.identifiability":
            continue
        config = resolve(run)
        identifiability.check(config)
        assert config.steps == 50_000 * max(config.instances // 1024, 1)
        setting = (config.instances, config.dim, config.classes, config.kappa, config.conditional)
        found.append((setting, config.rows + " labels" * config.labels))
        assert identifiability.published(config)
    published = [
        (setting, kind)
        for setting, scores in identifiability.PUBLISHED.items()
        for kind, values in zip(identifiability.KINDS, scores, strict=True)
        if values
    ]
    assert sorted(found) == sorted(published)
    for run in (*study.runs, *diet_theory.get_study("desk").runs):
        source = Path(run.program.replace(".", "/") + ".py").read_text()
        assert run.recipe or all(f'"--{field}"' in source for field in run.changes)


def test_published_numbers_name_their_source_and_stand_once():
    for name, scale in EACH:
        study = build(name, scale)
        places = [(number.row, number.column) for number in study.published]
        assert len(set(places)) == len(places)
        assert all(number.source for number in study.published)
        assert scale == "paper" or not places, "no desk has numbers of a paper beside it"


def test_a_sweep_changes_one_field_at_a_time():
    variants = sweep({"a": 1, "b": 2}, {"a": (1, 3), "b": (4,)})
    assert variants == [{"a": 1, "b": 2}, {"a": 3, "b": 2}, {"a": 1, "b": 4}]
    found = runs(
        "configs/mnist5k.py:diet",
        {"masks.scale": (0.1, 0.2)},
        fixed={"devices": 1},
        seeds=2,
        row="DIET",
    )
    assert [run.name for run in found] == [
        f"mnist5k-diet-scale=0.1_0.2-seed={seed}" for seed in (0, 1)
    ]
    assert found[1].changes == {"devices": 1, "masks.scale": (0.1, 0.2), "seed": 1}
