"""What do DIET's head and s-DIET's rows cost in time and memory, beside SimCLR?

python reproduce.py --study=configs/studies/diet_cost.py
python reproduce.py --study=configs/studies/diet_cost.py:paper

A few steps of each. From the s-DIET paper (TMLR 2025): hours of s-DIET and SimCLR on CIFAR, and
that some method runs out of memory. We know none of its figures, and memory depends on the device:
on ImageNet DIET's full head with AdamW takes 42 GB, without the logits and the network. One step of
DIET encodes half as many images as one of SimCLR. Rows and steps are our choice.

Data: mnist5k, which is installed; `paper` takes cifar100 and imagenet2012.
Cost: python reproduce.py --study=configs/studies/diet_cost.py --dry
"""

from configs.studies import diet_small
from sslx.studies.study import ONE_CORE, Changes, Run, Study, check_scale, evaluation

ROWS: dict[str, tuple[str, Changes]] = {  # the method, and what is changed
    "DIET": ("diet", {}),
    "DIET, head by blocks": ("diet", {"method.head": "blockwise"}),
    "s-DIET, rows on the device": ("sdiet", {}),
    "s-DIET, rows on the host": ("sdiet", {"method.rows": "host"}),
    "SimCLR": ("simclr", {}),
}
SHORT: Changes = {
    "optimizer.warmup": "0 steps",
    "monitor.every": "0 steps",
    "checkpoint.every": "100%",
}
DESK: Changes = ONE_CORE | SHORT | {"duration": "200 steps", "log.every": "20 steps"}
PAPER: Changes = SHORT | {"duration": "500 steps", "log.every": "50 steps"}
RESNET50: Changes = {"model.variant": "resnet50", "model.zero_init_residual": True}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    if scale == "desk":
        grid = _measure(diet_small.compare_small("mnist5k", "mnist5k", 1), DESK)
    else:
        large = diet_small.PAPER[-1]._replace(name="imagenet2012")
        grid = _measure(diet_small.compare(diet_small.PAPER[1]), PAPER)
        grid += _measure(diet_small.compare(large), PAPER | RESNET50)
    # So few steps are not worth more.
    last = evaluation(checkpoint="last", metrics=(), probes=("knn",))
    return Study(tuple(grid), ("cost",), evaluations=(last,), target="knn")


def _measure(methods: list[Run], length: Changes) -> list[Run]:
    """Each row as a run of `length`, with the recipe and the fields of its method's first run."""
    grid = []
    for row, (method, changes) in ROWS.items():
        run = next(run for run in methods if run.recipe.endswith(f":{method}"))
        name = run.name.replace(f"-{method}-", f"-{row.replace(', ', '-').replace(' ', '_')}-")
        grid.append(Run(name, run.recipe, run.changes | length | changes, row))
    return grid
