"""What does DIET depend on? Batch, smoothing, augmentation, projector, length; one at a time.

python reproduce.py --study=configs/studies/diet_ablation.py
python reproduce.py --study=configs/studies/diet_ablation.py:paper

From the DIET papers: which fields. Values, budgets (30 epochs of mnist5k, 1000 of CIFAR-100 with
one seed) and a rate in proportion to the batch are our choice, and so is to change one part of the
augmentation at a time; the papers' three strengths are configs/cifar100.py:diet,1 to 3. What sets
s-DIET apart from DIET has a recipe of its own: configs/mnist5k.py:diet_ablation.

Data: mnist5k, which is installed; `paper` takes cifar100.
Cost: python reproduce.py --study=configs/studies/diet_ablation.py --dry
"""

from typing import Any

from configs.studies.diet_small import EVALUATION
from sslx.studies.study import ONE_CORE, Changes, Study, check_scale, runs

Axes = dict[str, tuple[Any, ...]]

# Values beside those of the base, which is the recipe itself with the fields of `fixed`.
COMMON: Axes = {
    "method.projector": ((0, 0, 128), (2048, 2048, 256)),
    "method.normalise": (True,),
    "views.crop.erase": (0.0, 0.5),
}
DESK = COMMON | {
    "batch_size": (32, 64, 256, 512),
    "method.label_smoothing": (0.0, 0.4, 0.9),
    "views.crop.area": ((0.1, 1.0), (0.7, 1.0), (1.0, 1.0)),
    "duration": ("10 epochs", "100 epochs"),
}
PAPER = COMMON | {
    "batch_size": (8, 16, 32, 64, 128, 512, 1024, 2048),
    "method.label_smoothing": (0.0, 0.2, 0.4, 0.6, 0.9),
    "views.crop.area": ((0.2, 1.0), (0.5, 1.0)),
    "views.crop.jitter": (0.0, 0.8),
    "views.crop.gray": (0.0, 0.5),
    "views.crop.blur": (0.0, 0.5),
    "duration": ("100 epochs", "200 epochs", "500 epochs", "2000 epochs", "5000 epochs"),
}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    fixed: Changes = {"optimizer.warmup": "10%"}
    if scale == "desk":
        fixed |= ONE_CORE | {"duration": "30 epochs", "optimizer.reference_batch": 128}
        grid = runs("configs/mnist5k.py:diet", *_each(DESK), fixed=fixed, row="DIET")
        return Study(tuple(grid), ("ablation",))
    fixed |= {"duration": "1000 epochs", "optimizer.reference_batch": 256}
    grid = runs("configs/cifar100.py:diet", *_each(PAPER), fixed=fixed, seeds=1, row="DIET")
    return Study(tuple(grid), ("ablation",), evaluations=(EVALUATION,))


def _each(axes: Axes) -> list[Changes]:
    return [{}, *({field: value} for field, values in axes.items() for value in values)]
