"""Does DIET fill more dimensions than SimCLR and VICReg? RankMe and spectra.

python reproduce.py --study=configs/studies/diet_rank.py
python reproduce.py --study=configs/studies/diet_rank.py:paper

From the s-DIET paper (TMLR 2025): that DIET's embeddings have a higher rank than SimCLR's and
VICReg's on CIFAR-100 and TinyImageNet; its figures we could not check. RankMe is of the encoder's
output, uncentred. No run is done twice: those of configs/studies/diet_small.py are taken, or made
where they are missing.

Data: mnist5k and digits, which are installed; `paper` takes cifar100 and tiny_imagenet.
Cost: python reproduce.py --study=configs/studies/diet_rank.py --dry
"""

from configs.studies import diet_small
from sslx.studies.study import Study, check_scale

ROWS = ("DIET", "SimCLR", "VICReg")
SETS = {"desk": ("mnist5k", "digits"), "paper": ("cifar100", "tiny_imagenet")}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    study = diet_small.get_study(scale)
    kept = tuple(
        run for run in study.runs if run.row in ROWS and run.changes["data.name"] in SETS[scale]
    )
    figures = ("spectra", "over_training")
    return Study(
        kept,
        ("accuracy",),
        figures,
        study.evaluations,
        unpublished=study.unpublished,
        folder="diet_small",
    )
