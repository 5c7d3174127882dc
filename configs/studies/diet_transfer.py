"""What does DIET learn from small fine-grained sets, and what does it bring to others?

python reproduce.py --study=configs/studies/diet_transfer.py
python reproduce.py --study=configs/studies/diet_transfer.py:paper

Beside SimCLR. From the s-DIET paper (TMLR 2025): the seven sets, pretraining on each of them,
ImageNet-100. Our choice: a ResNet-18 at 224 pixels, 2000 epochs of DIET and 1000 of SimCLR, and
that every encoder is probed on all seven sets. At `desk` those pretrained on mnist5k and on digits
are probed on digits. The runs on ImageNet-100, mnist5k and digits are those of
configs/studies/diet_small.py, which are taken, or made where they are missing.

Data: `desk` that of diet_small; `paper` imagenet100, fgvc_aircraft, dtd, oxford_iiit_pet,
oxford_flowers102, caltech_birds2011, food101 and cars196.
Cost: python reproduce.py --study=configs/studies/diet_transfer.py --dry
"""

from configs.studies import diet_small
from sslx.studies.study import Study, check_scale, evaluation

SETS = (
    "fgvc_aircraft",
    "dtd",
    "oxford_iiit_pet",
    "oxford_flowers102",
    "caltech_birds2011",
    "food101",
    "cars196",
)


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    if scale == "paper":
        main = diet_small.EVALUATION
        sets = [diet_small.Data(name, "imagenet100", size=224, seeds=1) for name in SETS]
        grid = [run for data in (diet_small.PAPER[-1], *sets) for run in diet_small.compare(data)]
    else:
        main, grid = evaluation(), list(diet_small.get_study("desk").runs)
    probe = main._replace(checkpoint="last").with_settings(metrics=())
    others = SETS if scale == "paper" else ("digits",)
    elsewhere = (probe._replace(name=data).with_settings(probe_data=data) for data in others)
    kept = tuple(run for run in grid if run.row in ("DIET", "SimCLR"))
    return Study(kept, ("accuracy",), evaluations=(main, *elsewhere), folder="diet_small")
