"""Does LiDAR tell which run is best when all fields change at once? SimCLR and VICReg.

python reproduce.py --study=configs/studies/lidar_random_search.py
python reproduce.py --study=configs/studies/lidar_random_search.py:paper

From the LiDAR paper (arXiv 2312.04000): that there is such a search, beside the sweeps of one
field. Ranges, numbers and budgets are our choice: 12 configurations of each method with 3 seeds for
10 epochs of mnist5k, or 24 with one seed for 100 epochs of ImageNet. Every field is uniform in its
logarithm.

Data: mnist5k, which is installed; `paper` takes imagenet2012.
Cost: python reproduce.py --study=configs/studies/lidar_random_search.py --dry
"""

import random

from configs.studies.lidar_vicreg import JOINT, TABLES
from sslx.studies.study import ONE_CORE, Changes, Run, Study, check_scale, evaluation, runs

Ranges = dict[str, tuple[float, float]]

METHODS: dict[str, Ranges] = {
    "simclr": {"method.temperature": (0.05, 1.0)},
    "vicreg": {
        "method.invariance": (5.0, 100.0),
        "method.variance": (5.0, 100.0),
        "method.covariance": (0.1, 30.0),
    },
}
DESK: Ranges = {"optimizer.learning_rate": (3e-4, 3e-2), "optimizer.weight_decay": (1e-4, 10.0)}
PAPER: Ranges = {"optimizer.learning_rate": (0.05, 1.0), "optimizer.weight_decay": (1e-7, 1e-3)}


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    if scale == "paper":
        grid = _search("imagenet", PAPER, 24, {"duration": "100 epochs"}, 1)
        main = JOINT
    else:
        fixed = ONE_CORE | {"duration": "10 epochs", "optimizer.warmup": "2 epochs"}
        grid = _search("mnist5k", DESK, 12, fixed, 3)
        main = evaluation()
    return Study(tuple(grid), TABLES, ("metric_against_probe", "regret"), (main,))


def draw(ranges: Ranges, count: int, seed: int = 0) -> list[Changes]:
    """Return `count` variants whose fields are uniform in their logarithm, in two digits."""
    rng = random.Random(seed)
    return [
        {
            field: float(f"{low * (high / low) ** rng.random():.1e}")
            for field, (low, high) in ranges.items()
        }
        for _ in range(count)
    ]


def _search(page: str, ranges: Ranges, count: int, fixed: Changes, seeds: int) -> list[Run]:
    grid = []
    for method, own in METHODS.items():
        variants = draw(ranges | own, count)
        grid += runs(f"configs/{page}.py:{method}", *variants, fixed=fixed, seeds=seeds)
    return grid
