"""What do DIET's head and s-DIET's rows cost in time and memory, beside SimCLR? A few steps of
each.

python reproduce.py --study=configs/studies/diet_cost.py
python reproduce.py --study=configs/studies/diet_cost.py:paper

From the s-DIET paper (TMLR 2025): hours of s-DIET and SimCLR on CIFAR, and that some method runs
out of memory. We know none of its figures, and memory depends on the device: on ImageNet DIET's
full head with AdamW takes 42 GB, without the logits and the network. One step of DIET encodes half
as many images as one of SimCLR. Rows and steps are our choice.

Data: mnist5k, which is installed; `paper` takes cifar100 and imagenet2012.
Cost: python reproduce.py --study=configs/studies/diet_cost.py --dry
"""

from pathlib import Path

from configs.studies import diet_small
from sslx.studies.study import ONE_CORE, Changes, Judgement, Run, Study, check_scale

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
    """The study at the given scale."""
    check_scale(scale)
    if scale == "desk":
        found = _measure(diet_small.compare_small("mnist5k", "mnist5k", 1), DESK)
    else:
        large = diet_small.PAPER[-1]._replace(name="imagenet2012")
        found = _measure(diet_small.compare(diet_small.PAPER[1]), PAPER)
        found += _measure(diet_small.compare(large), PAPER | RESNET50)
    judgement = Judgement(
        checkpoint="last", metrics=(), probe=("knn",)
    )  # so few steps are not worth more
    return Study(tuple(found), ("cost",), judgements=(judgement,), target="knn")


def _measure(methods: list[Run], length: Changes) -> list[Run]:
    """Each row as a run of `length`, with the recipe and the fields of its method's first run."""
    found = []
    for row, (method, changes) in ROWS.items():
        run = next(run for run in methods if Path(run.recipe).stem == method)
        name = run.name.replace(f"-{method}-", f"-{row.replace(', ', '-').replace(' ', '_')}-")
        found.append(Run(name, run.recipe, run.changes | length | changes, row))
    return found
