"""What is measured, and on how much: one type for the flags of eval.py, studies and eval.jsonl."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from metrics import METRICS
from sslx.evaluation.linear_probe import PROTOCOLS
from sslx.hints import check_choice

DEFAULT_METRICS = ("lidar", "rankme", "feature_std")
PROBES = ("linear", "knn")
# n x q by kind of method: I-JEPA and data2vec, and those that compare views (arXiv 2312.04000).
LIDAR_PROTOCOLS = {"masking": (1000, 50), "joint_embedding": (5000, 10)}


class Settings(NamedTuple):
    """How checkpoints are evaluated; numbers compare only where every field is equal."""

    metrics: tuple[str, ...] = DEFAULT_METRICS
    probes: tuple[str, ...] = PROBES
    protocol: str = "lbfgs"  # of the linear probe
    images: int = 10000  # for metrics of images without views, such as RankMe
    lidar_images: int = 1000  # n, for metrics of views
    lidar_views: int = 10  # q
    seed: int = 0  # of the draws of images, of the views and of the linear probe
    lidar_delta: float = 1e-4
    probe_data: str = ""  # another data set for the probes; empty: the run's own
    features_of: str = ""  # which network, as config.method.features_of; empty: as the config
    pool: str = ""  # how patches become features, as config.method.pool; empty: as the config

    def check(self) -> None:
        """Raise ValueError for an unknown metric, probe or protocol, and for n or q below 2."""
        for metric in self.metrics:
            check_choice("--metrics", metric, METRICS)
        for probe in self.probes:
            check_choice("--probe", probe, PROBES)
        check_choice("--protocol", self.protocol, PROTOCOLS)
        if self.needs_views():
            check_lidar(self.lidar_images, self.lidar_views, "--lidar_images, --lidar_views")

    def needs_views(self) -> bool:
        """Return whether a metric needs several views of each image."""
        return any(METRICS[name].needs == "views" for name in self.metrics)


def settings_from_json(fields: Mapping[str, Any]) -> Settings | None:
    """Return settings as JSON gives them back; None when they have other fields than today's."""
    if set(fields) != set(Settings._fields):
        return None
    values: Any = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
    return Settings(**values)


def parse_lidar(text: str) -> tuple[int, int]:
    """Return n and q of a text such as 1000x50, or of a protocol's name, else raise ValueError."""
    if text in LIDAR_PROTOCOLS:
        return LIDAR_PROTOCOLS[text]
    n, _, q = text.partition("x")
    if not (n.isdigit() and q.isdigit()):
        raise ValueError(
            f"--lidar is {text!r}; it takes n x q such as 1000x50, or {', '.join(LIDAR_PROTOCOLS)}."
        )
    return int(n), int(q)


def check_lidar(images: int, views: int, fields: str) -> None:
    """Raise ValueError when LiDAR is not defined; `fields` is where the numbers were set."""
    if min(images, views) < 2:
        raise ValueError(
            f"LiDAR of {images} images with {views} views is not defined: both must be at least 2, "
            f"and 1000 images with 10 views or more are better: {fields}"
        )
