"""Does LiDAR tell which SimCLR is best? Over learning rates, weight decays, temperatures.

python reproduce.py --study=configs/studies/lidar_simclr.py
python reproduce.py --study=configs/studies/lidar_simclr.py:paper

From the LiDAR paper (arXiv 2312.04000): the question and the three fields. The grids are our choice
at both scales, around the recipes configs/mnist5k.py:simclr, for 10 epochs, and
configs/imagenet.py:simclr, with one seed.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: python reproduce.py --study=configs/studies/lidar_simclr.py --dry
"""

from configs.studies.lidar_vicreg import FIGURES, JOINT, TABLES
from sslx.studies.study import ONE_CORE, Study, check_scale, runs, sweep

DESK = {"optimizer.learning_rate": 3e-3, "optimizer.weight_decay": 1e-4, "method.temperature": 0.5}
PAPER = {"optimizer.learning_rate": 0.3, "optimizer.weight_decay": 5e-5, "method.temperature": 0.1}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return _paper() if scale == "paper" else _desk()


def _desk() -> Study:
    axes = {
        "optimizer.learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "optimizer.weight_decay": (1e-4, 0.1, 1.0, 10.0),
        "method.temperature": (0.05, 0.1, 0.2, 0.5, 1.0),
    }
    fixed = ONE_CORE | {"duration": "10 epochs", "optimizer.warmup": "2 epochs"}
    grid = runs("configs/mnist5k.py:simclr", *sweep(DESK, axes), fixed=fixed)
    return Study(tuple(grid), TABLES, FIGURES)


def _paper() -> Study:
    axes = {
        "optimizer.learning_rate": (0.075, 0.15, 0.3, 0.6, 1.2),
        "optimizer.weight_decay": (5e-7, 5e-6, 5e-5, 5e-4),
        "method.temperature": (0.05, 0.07, 0.1, 0.2, 0.5),
    }
    grid = runs("configs/imagenet.py:simclr", *sweep(PAPER, axes), seeds=1)
    return Study(tuple(grid), TABLES, FIGURES, (JOINT,))
