"""What do n, q and delta do to LiDAR, and what do they cost? The runs of lidar_vicreg with one
seed, judged many times.

python reproduce.py --study=configs/studies/lidar_cost.py
python reproduce.py --study=configs/studies/lidar_cost.py:paper

From the LiDAR paper (arXiv 2312.04000): ablations of n (it advises more images than features) and
of q (10 is said to be within 1 % of 50). Delta is nowhere given a value; public code has 1e-4 to
1e-8. All values here are our choice. No run is done twice: those of configs/studies/lidar_vicreg.py
are taken, or made where they are missing.

Data: that of lidar_vicreg.
Cost: python reproduce.py --study=configs/studies/lidar_cost.py --dry
"""

from configs.studies import lidar_vicreg
from sslx.studies.study import Study, check_scale

SIZES = ("200x10", "500x10", "1000x10", "1000x2", "1000x5", "1000x50")
LARGE = ("5000x10", "10000x10")  # more than the 2,048 features of a ResNet-50
DELTAS = (1e-2, 1e-3, 1e-5, 1e-6)  # beside 1e-4


def get_study(scale: str = "desk") -> Study:
    """The study at the given scale."""
    check_scale(scale)
    study = lidar_vicreg.get_study(scale)
    main = study.judgements[0]
    bare = main._replace(checkpoint="last", metrics=("lidar", "debiased_lidar"), probe=())
    sizes = SIZES if scale == "desk" else SIZES + LARGE
    judgements = [main]
    judgements += [bare._replace(name=size, lidar=size) for size in sizes if size != main.lidar]
    judgements += [bare._replace(name=f"delta={delta:g}", delta=delta) for delta in DELTAS]
    first = tuple(run for run in study.runs if run.changes["seed"] == 0)
    return Study(first, ("settings",), judgements=tuple(judgements), folder="lidar_vicreg")
