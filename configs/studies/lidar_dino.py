"""Does LiDAR tell which DINO is best? Over learning rates and both temperatures.

python reproduce.py --study=configs/studies/lidar_dino.py
python reproduce.py --study=configs/studies/lidar_dino.py:paper

From the LiDAR paper (arXiv 2312.04000): the question and the three fields. Its grids are not known
to us; those of `paper` are IdEst's for a ViT-S (arXiv 2606.03338), complete, with its 100 epochs,
batches of 2048 and one seed, and its picks stand beside ours. We take its rates as they are and its
head 8192-8192-32768 as two hidden layers and 32,768 prototypes; the bottleneck of 256 and all else
are configs/imagenet.py:dino's, but for a teacher's temperature that is constant. Grids and budget
of `desk` are our choice: 10 epochs of mnist5k with a small ResNet.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: python reproduce.py --study=configs/studies/lidar_dino.py --dry
"""

from configs.studies.lidar_vicreg import FIGURES, JOINT, TABLES, picks
from sslx.studies.study import ONE_CORE, Study, check_scale, runs, sweep

DESK = {
    "optimizer.learning_rate": 3e-3,
    "method.student_temperature": 0.1,
    "method.teacher_temperature": 0.04,
}
PAPER = {
    "optimizer.learning_rate": 2e-3,
    "method.student_temperature": 0.07,
    "method.teacher_temperature": 0.04,
}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return _paper() if scale == "paper" else _desk()


def _desk() -> Study:
    axes = {
        "optimizer.learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "method.student_temperature": (0.07, 0.1, 0.2, 0.3, 0.4),
        "method.teacher_temperature": (0.01, 0.02, 0.04, 0.07),
    }
    fixed = ONE_CORE | {"duration": "10 epochs", "optimizer.warmup": "2 epochs"}
    grid = runs("configs/mnist5k.py:dino", *sweep(DESK, axes), fixed=fixed)
    return Study(tuple(grid), TABLES, FIGURES)


def _paper() -> Study:
    axes = {
        "optimizer.learning_rate": (1.25e-4, 2.25e-4, 2.5e-3, 2e-3, 7.5e-3),
        "method.student_temperature": (0.07, 0.1, 0.2, 0.3, 0.4),
        "method.teacher_temperature": (0.01, 0.02, 0.03, 0.04, 0.05),
    }
    fixed = {"duration": "100 epochs", "batch_size": 2048, "optimizer.reference_batch": 0}
    fixed |= {
        "method.teacher_warmup": "0 epochs",
        "method.projector": (8192, 8192, 256),
        "method.prototypes": 32768,
    }
    published = picks(
        "learning_rate student_temperature teacher_temperature all",
        min_max="63.6-69.1 48.4-67.8 61.2-67.5 48.4-69.1",
        alpha_req="63.6 58.6 61.2 58.6",
        rankme="63.6 67.8 67.5 63.6",
        lidar="68.2 65.6 65.0 65.5",
    )
    grid = runs("configs/imagenet.py:dino", *sweep(PAPER, axes), fixed=fixed, seeds=1)
    return Study(tuple(grid), TABLES, FIGURES, (JOINT,), published=published)
