"""Does LiDAR tell which data2vec is best? Over learning rates and numbers of hidden patches.

python reproduce.py --study=configs/studies/lidar_data2vec.py
python reproduce.py --study=configs/studies/lidar_data2vec.py:paper

From the LiDAR paper (arXiv 2312.04000): the question, both fields, a ViT-B for 800 epochs, 1,000
images with 50 masks each. The grids are our choice at both scales: around
configs/mnist5k.py:data2vec (9 of 16 patches hidden), for 15 epochs, and around
configs/imagenet.py:data2vec (120 of 196), with one seed.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: python reproduce.py --study=configs/studies/lidar_data2vec.py --dry
"""

from configs.studies.lidar_ijepa import MASKED
from configs.studies.lidar_vicreg import FIGURES, TABLES
from sslx.studies.study import ONE_CORE, Study, check_scale, runs, sweep

DESK = {"optimizer.learning_rate": 2e-3, "masks.count": 9}
PAPER = {"optimizer.learning_rate": 2e-3, "masks.count": 120}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return _paper() if scale == "paper" else _desk()


def _desk() -> Study:
    axes = {
        "optimizer.learning_rate": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
        "masks.count": (4, 6, 9, 11, 13),
    }
    fixed = ONE_CORE | {"duration": "15 epochs", "optimizer.warmup": "3 epochs"}
    grid = runs("configs/mnist5k.py:data2vec", *sweep(DESK, axes), fixed=fixed)
    return Study(tuple(grid), TABLES, FIGURES)


def _paper() -> Study:
    axes = {
        "optimizer.learning_rate": (5e-4, 1e-3, 2e-3, 4e-3),
        "masks.count": (60, 80, 100, 120, 140, 160),
    }
    grid = runs("configs/imagenet.py:data2vec", *sweep(PAPER, axes), seeds=1)
    return Study(tuple(grid), TABLES, FIGURES, (MASKED,))
