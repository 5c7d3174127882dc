"""What do n, q and delta do to LiDAR, and what do they cost? One seed, evaluated many times.

python reproduce.py --study=configs/studies/lidar_cost.py
python reproduce.py --study=configs/studies/lidar_cost.py:paper

From the LiDAR paper (arXiv 2312.04000): ablations of n (it advises more images than features) and
of q (10 is reported to be within 1 % of 50). Delta is nowhere given a value; public code has 1e-4
to 1e-8. All values here are our choice. No run is done twice: those of
configs/studies/lidar_vicreg.py are taken, or made where they are missing.

Data: that of lidar_vicreg.
Cost: python reproduce.py --study=configs/studies/lidar_cost.py --dry
"""

from configs.studies import lidar_vicreg
from sslx.studies.study import Study, check_scale

SIZES = ((200, 10), (500, 10), (1000, 10), (1000, 2), (1000, 5), (1000, 50))  # n and q
LARGE = ((5000, 10), (10000, 10))  # more than the 2,048 features of a ResNet-50
DELTAS = (1e-2, 1e-3, 1e-5, 1e-6)  # beside 1e-4


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    study = lidar_vicreg.get_study(scale)
    main = study.evaluations[0]
    bare = main._replace(checkpoint="last").with_settings(
        metrics=("lidar", "debiased_lidar"), probes=()
    )
    evaluations = [main]
    for n, q in SIZES if scale == "desk" else SIZES + LARGE:
        if (n, q) != (main.settings.lidar_images, main.settings.lidar_views):
            size = bare.with_settings(lidar_images=n, lidar_views=q)
            evaluations.append(size._replace(name=f"{n}x{q}"))
    for delta in DELTAS:
        evaluations.append(bare._replace(name=f"delta={delta:g}").with_settings(lidar_delta=delta))
    first = tuple(run for run in study.runs if run.changes["seed"] == 0)
    return Study(first, ("settings",), evaluations=tuple(evaluations), folder="lidar_vicreg")
