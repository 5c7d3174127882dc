"""Is the model that LiDAR picks also good on other data? The runs of lidar_vicreg.

python reproduce.py --study=configs/studies/lidar_ood.py
python reproduce.py --study=configs/studies/lidar_ood.py:paper

From the LiDAR paper (arXiv 2312.04000): that picks made on ImageNet are evaluated on other sets.
Which sets is known from others: CIFAR-10 and 100, EuroSAT, Food-101 and SUN397. `desk` has one set,
digits, and is our choice. No run is done twice: those of configs/studies/lidar_vicreg.py are taken,
or made where they are missing.

Data: that of lidar_vicreg; `desk` also digits, which is installed, `paper` also the five sets.
Cost: python reproduce.py --study=configs/studies/lidar_ood.py --dry
"""

from configs.studies import lidar_vicreg
from sslx.studies.study import Study, check_scale

SETS = {"desk": ("digits",), "paper": ("cifar10", "cifar100", "eurosat", "food101", "sun397")}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return evaluate_elsewhere(lidar_vicreg.get_study(scale), "lidar_vicreg", scale)


def evaluate_elsewhere(study: Study, folder: str, scale: str) -> Study:
    """Return the runs of `study` with a linear probe on each of the other sets at the end.

    `folder` is where the runs are.
    """
    main = study.evaluations[0]
    probe = main._replace(checkpoint="last").with_settings(metrics=(), probes=("linear",))
    others = (probe._replace(name=data).with_settings(probe_data=data) for data in SETS[scale])
    return Study(study.runs, ("selection", "transfer"), evaluations=(main, *others), folder=folder)
