"""Is DIET as good as methods with two views on small data? With SimCLR, MoCo v2 and VICReg.

python reproduce.py --study=configs/studies/diet_small.py
python reproduce.py --study=configs/studies/diet_small.py:paper

From the DIET papers (arXiv 2302.10260, and s-DIET in TMLR 2025): the data sets, a ResNet-18, the
baselines, both times with DIET's augmentation instead of their own. The baselines' settings are
solo-learn's (MoCo is its v2+). Our choice: as many images encoded by every method, so half as many
epochs where there are two views (the papers train DIET for 5000 epochs, the baselines until
convergence); what TinyImageNet takes (CIFAR's recipes at 64 pixels); s-DIET's projector; and all of
`desk`. A ResNet-101 is there because its number on CIFAR-100 is one of two that we could check.

Data: mnist5k and digits, which are installed; `paper` takes cifar10, cifar100, tiny_imagenet and
imagenet100. Cost: 25 minutes on 2 cores (`make study`, one run, shared x86 server). Of both:
python reproduce.py --study=configs/studies/diet_small.py --dry
Results, 3 seeds, with what they do and do not show: results/diet_small and the README.
"""

from typing import NamedTuple

from configs import augmentations
from sslx.studies.study import (
    MEASURED,
    ONE_CORE,
    Changes,
    Published,
    Run,
    Study,
    check_scale,
    evaluation,
)

Figures = dict[str, tuple[str, str, str]]

ONE_VIEW = {"diet": "DIET", "sdiet": "s-DIET"}
TWO_VIEWS = {"simclr": "SimCLR", "moco": "MoCo v2", "vicreg": "VICReg"}
EVALUATION = evaluation(metrics=(*MEASURED, "effective_rank"), protocol="diet")
# For 224 pixels.
LARGE: Changes = {"data.image_size": 256, "model.stem": "imagenet", "model.stem_padding": 1}
# solo-learn's README, linear probe, %: with a ResNet-18 for 1000 epochs, ImageNet-100 for 400.
SOLO: Figures = {
    "SimCLR": ("90.74", "65.78", "77.64"),
    "MoCo v2": ("92.94", "69.89", "79.28"),
    "VICReg": ("92.07", "68.54", "79.40"),
}


class Data(NamedTuple):
    """Images, and how the methods are trained on them at the scale of the papers."""

    name: str
    recipes: str  # page of the baselines' recipes
    size: int = 32  # pixels of a view
    statistics: tuple[augmentations.RGB, augmentations.RGB] = augmentations.IMAGENET
    epochs: int = 1000  # of methods with two views; twice as many of one
    seeds: int = 3


PAPER = (
    Data("cifar10", "cifar10", statistics=augmentations.CIFAR10),
    Data("cifar100", "cifar100", statistics=augmentations.CIFAR100),
    Data("tiny_imagenet", "cifar100", size=64),
    Data("imagenet100", "imagenet100", size=224, epochs=400, seeds=1),
)


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    tables, figures = ("accuracy",), ("accuracy_over_epochs",)
    if scale == "desk":
        grid = [*compare_small("mnist5k", "mnist5k", 30), *compare_small("digits", "digits", 40)]
        return Study(tuple(grid), tables, figures)
    grid = [run for data in PAPER for run in compare(data)]
    resnet101 = {"model.variant": "resnet101"}
    deep = one_view(PAPER[1]._replace(seeds=1), "diet", label="-resnet101", changes=resnet101)
    grid += [run._replace(row="DIET, ResNet-101") for run in deep]
    unpublished = "not published in a source that we could check"
    return Study(
        tuple(grid),
        tables,
        figures,
        (EVALUATION,),
        published=_published(),
        unpublished=unpublished,
    )


def compare_small(
    data: str, recipes: str, epochs: int, changes: Changes | None = None
) -> list[Run]:
    """Return all methods with 3 seeds and the settings of a small recipe.

    `epochs` are those of methods with one view.
    """
    grid = []
    for method in ONE_VIEW | TWO_VIEWS:
        fields = ONE_CORE | {"optimizer.warmup": "10%"} | (changes or {})
        length = epochs if method in ONE_VIEW else epochs // 2
        grid += make_runs(data, f"configs/{recipes}.py:{method}", length, fields, seeds=3)
    return grid


def compare(data: Data) -> list[Run]:
    """Return all methods at the scale of the papers.

    The baselines are there with their own augmentation and with DIET's.
    """
    grid = [run for method in ONE_VIEW for run in one_view(data, method)]
    for method, row in TWO_VIEWS.items():
        recipe, fields = f"configs/{data.recipes}.py:{method}", _view(data)
        grid += make_runs(data.name, recipe, data.epochs, fields, seeds=data.seeds)
        fields |= _diet_view(data)
        label = "-diet_view"
        same = make_runs(data.name, recipe, data.epochs, fields, seeds=data.seeds, label=label)
        grid += [run._replace(row=f"{row}, DIET's views") for run in same]
    return grid


def one_view(data: Data, method: str, label: str = "", changes: Changes | None = None) -> list[Run]:
    """Return DIET or s-DIET at the scale of the papers."""
    fields = _view(data) | (LARGE if data.size == 224 else {}) | (changes or {})
    recipe = f"configs/cifar100.py:{method}"
    return make_runs(data.name, recipe, 2 * data.epochs, fields, seeds=data.seeds, label=label)


def make_runs(
    data: str, recipe: str, epochs: int, changes: Changes, *, seeds: int, label: str = ""
) -> list[Run]:
    """Return a run on `data` for each seed, named by the data, the recipe's method and `label`."""
    method = recipe.partition(":")[2]
    fields = changes | {"data.name": data, "duration": f"{epochs} epochs"}
    row = (ONE_VIEW | TWO_VIEWS)[method]
    return [
        Run(f"{data}-{method}{label}-seed={s}", recipe, fields | {"seed": s}, row)
        for s in range(seeds)
    ]


def _view(data: Data) -> Changes:
    mean, std = data.statistics
    return {"views.crop.size": data.size, "views.crop.mean": mean, "views.crop.std": std}


def _diet_view(data: Data) -> Changes:
    mean, std = data.statistics
    view = augmentations.diet(data.size, 3, mean=mean, std=std).crop
    return {f"views.crop.{field}": value for field, value in view.items()}


def _published() -> tuple[Published, ...]:
    diet = "abstract of arXiv 2302.10260"
    numbers = [Published("DIET, ResNet-101", "cifar100", "71.4", diet)]
    numbers += [Published("DIET, ResNeXt-50", "tiny_imagenet", "52.5", diet)]
    for row, values in SOLO.items():
        for data, value in zip(("cifar10", "cifar100", "imagenet100"), values, strict=True):
            numbers.append(Published(row, data, value, "solo-learn's README"))
    return tuple(numbers)
