"""Does LiDAR tell which I-JEPA is best? Over learning rates, scales of targets and contexts.

python reproduce.py --study=configs/studies/lidar_ijepa.py
python reproduce.py --study=configs/studies/lidar_ijepa.py:paper

From the LiDAR paper (arXiv 2312.04000): the question, a ViT-B on ImageNet, 1,000 images with 50
masks each. Its grids are not known to us; those of `paper` are IdEst's (arXiv 2606.03338),
complete, with its 300 epochs, batches of 4096 and one seed, and its picks stand beside ours. Its
mask axes have a printed rate of 1.25e-5; we take the 1.25e-4 of its other axis for a slip's
correction. Grids and budget of `desk` are our choice: 15 epochs of mnist5k on 4 x 4 patches.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: 1.4 core hours, evaluation included (one run of all, shared x86 server beside other jobs).
Of both: python reproduce.py --study=configs/studies/lidar_ijepa.py --dry
Results, 3 seeds, favourable or not: results/lidar_ijepa and the README.
"""

from configs.studies.lidar_vicreg import FIGURES, TABLES, picks
from sslx.studies.study import ONE_CORE, Study, check_scale, evaluation, runs, sweep

DESK = {
    "optimizer.learning_rate": 2e-3,
    "masks.target_scale": (0.2, 0.3),
    "masks.context_scale": (0.85, 1.0),
}
PAPER = {
    "optimizer.learning_rate": 1.25e-4,
    "masks.target_scale": (0.15, 0.2),
    "masks.context_scale": (0.85, 1.0),
}
# The paper's n and q for methods with masks.
MASKED = evaluation(protocol="lidar", lidar="1000x50")


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return _paper() if scale == "paper" else _desk()


def _desk() -> Study:
    axes = {
        "optimizer.learning_rate": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
        "masks.target_scale": ((0.1, 0.15), (0.15, 0.2), (0.2, 0.3), (0.3, 0.4)),
        "masks.context_scale": ((0.4, 1.0), (0.65, 1.0), (0.85, 1.0)),
    }
    fixed = ONE_CORE | {"duration": "15 epochs", "optimizer.warmup": "3 epochs"}
    grid = runs("configs/mnist5k.py:ijepa", *sweep(DESK, axes), fixed=fixed)
    return Study(tuple(grid), TABLES, FIGURES)


def _paper() -> Study:
    axes = {
        "optimizer.learning_rate": (4e-5, 8e-5, 9e-5, 1e-4, 1.25e-4, 2e-4, 3e-4),
        "masks.target_scale": ((0.075, 0.2), (0.1, 0.2), (0.125, 0.2), (0.2, 0.25)),
        "masks.context_scale": ((0.4, 1.0), (0.5, 1.0), (0.65, 1.0), (0.75, 1.0), (0.9, 1.0)),
    }
    published = picks(
        "learning_rate target_scale context_scale all",
        min_max="61.9-66.4 49.0-66.4 61.3-66.5 49.0-66.5",
        alpha_req="61.9 49.0 61.3 49.0",
        rankme="61.9 55.9 61.3 61.9",
        lidar="63.4 66.4 66.0 63.4",
    )
    fixed = {"duration": "300 epochs", "batch_size": 4096}
    grid = runs("configs/imagenet.py:ijepa", *sweep(PAPER, axes), fixed=fixed, seeds=1)
    return Study(tuple(grid), TABLES, FIGURES, (MASKED,), published=published)
