"""Does LiDAR tell which VICReg is best? Over learning rates, weight decays, covariance weights.

python reproduce.py --study=configs/studies/lidar_vicreg.py
python reproduce.py --study=configs/studies/lidar_vicreg.py:paper

From the LiDAR paper (arXiv 2312.04000): the question, ResNet-50, 100 epochs, the linear probe. Its
grids are not known to us; those of `paper` are IdEst's (arXiv 2606.03338), complete, with one seed,
and its picks stand beside ours. We read its rates as per 256 images, VICReg's own convention, and
its weight 5 is the base here, a sixth point of its axis. For VICReg the LiDAR paper speaks of 5,000
and of 10,000 images; we take 10,000. Grids and budget of `desk` are our choice: 10 epochs of
mnist5k.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: 1.7 core hours, evaluation included (one run of all, shared x86 server beside other jobs).
Of both: python reproduce.py --study=configs/studies/lidar_vicreg.py --dry
Results, 3 seeds, favourable or not: results/lidar_vicreg and the README.
"""

from sslx.studies.study import (
    ONE_CORE,
    Published,
    Study,
    check_scale,
    evaluation,
    runs,
    sweep,
)

DESK = {"optimizer.learning_rate": 3e-3, "optimizer.weight_decay": 1e-4, "method.covariance": 1.0}
PAPER = {"optimizer.learning_rate": 0.3, "optimizer.weight_decay": 1e-6, "method.covariance": 5.0}
TABLES = ("correlation", "selection")
FIGURES = ("metric_against_probe", "over_training", "regret")
# On ImageNet: LiDAR's n and q for methods with two views, and RankMe's own number of images.
JOINT = evaluation(protocol="lidar", images=25600, lidar="5000x10")


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return _paper() if scale == "paper" else _desk()


def picks(axes: str, **accuracies: str) -> tuple[Published, ...]:
    """Return IdEst's accuracy (ImageNet, %) of the model that a metric picks on each axis.

    Axes and accuracies are separated by spaces.
    """
    source = "IdEst, arXiv 2606.03338"
    return tuple(
        Published(metric, axis, value, source)
        for metric, values in accuracies.items()
        for axis, value in zip(axes.split(), values.split(), strict=True)
    )


def _desk() -> Study:
    axes = {
        "optimizer.learning_rate": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
        "optimizer.weight_decay": (1e-4, 0.1, 1.0, 10.0),
        "method.covariance": (0.01, 0.1, 1.0, 10.0, 100.0),
    }
    fixed = ONE_CORE | {"duration": "10 epochs", "optimizer.warmup": "2 epochs"}
    grid = runs("configs/mnist5k.py:vicreg", *sweep(DESK, axes), fixed=fixed)
    return Study(tuple(grid), TABLES, FIGURES)


def _paper() -> Study:
    axes = {
        "optimizer.learning_rate": (0.1, 0.2, 0.3, 0.4, 0.5),
        "optimizer.weight_decay": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
        "method.covariance": (0.4, 0.6, 0.8, 1.0, 4.0, 16.0),
    }
    fixed = {"duration": "100 epochs", "batch_size": 2048, "method.projector": (8192, 8192, 2048)}
    published = picks(
        "learning_rate weight_decay covariance all",
        min_max="62.2-66.5 37.5-69.1 65.5-67.2 37.5-69.1",
        alpha_req="65.0 53.5 66.9 53.5",
        rankme="66.5 69.1 65.5 69.1",
        lidar="65.0 69.1 66.8 65.0",
    )
    grid = runs("configs/imagenet.py:vicreg", *sweep(PAPER, axes), fixed=fixed, seeds=1)
    main = JOINT.with_settings(lidar_images=10000)
    return Study(tuple(grid), TABLES, FIGURES, (main,), published=published)
