"""The table of metrics: what each is called, what it reads, and which direction is good."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from metrics.alpha_req import alpha_req
from metrics.directions import alignment, feature_std, mean_cosine, self_clustering, uniformity
from metrics.lidar import debiased_lidar, lidar
from metrics.neighbours import clid, idest, intrinsic_dimension
from metrics.rankme import augmented_rankme, rankme
from metrics.spectrum import effective_rank, nesum, participation_ratio, stable_rank


class Metric(NamedTuple):
    """A label-free metric: its function, and how programs and tables treat it."""

    compute: Callable[..., Any]
    title: str
    # rows [n, d], or views [n, q, d]
    needs: Literal["rows", "views"]
    # "" where no direction is known to be good
    better: Literal["higher", "lower", "near 1", ""]
    digits: int
    # The LDA scatters and the spectrum are computed once for all metrics that read them. "pairs"
    # compares every row with every other one, so `label_free` passes a subset.
    reads: Literal["lda", "spectrum", "rows", "pairs"]


METRICS: dict[str, Metric] = {
    "lidar": Metric(lidar, "LiDAR", "views", "higher", 2, "lda"),
    "debiased_lidar": Metric(debiased_lidar, "debiased LiDAR", "views", "higher", 2, "lda"),
    "rankme": Metric(rankme, "RankMe", "rows", "higher", 2, "spectrum"),
    "augmented_rankme": Metric(augmented_rankme, "aug. RankMe", "views", "higher", 2, "rows"),
    "effective_rank": Metric(effective_rank, "effective rank", "rows", "higher", 2, "spectrum"),
    "nesum": Metric(nesum, "nesum", "rows", "higher", 2, "spectrum"),
    "stable_rank": Metric(stable_rank, "stable rank", "rows", "higher", 2, "spectrum"),
    "participation_ratio": Metric(
        participation_ratio, "participation ratio", "rows", "higher", 2, "spectrum"
    ),
    "alpha_req": Metric(alpha_req, "alpha-ReQ", "rows", "near 1", 3, "spectrum"),
    "clid": Metric(clid, "CLID", "rows", "higher", 3, "pairs"),
    "idest": Metric(idest, "IdEst", "rows", "lower", 2, "pairs"),
    "uniformity": Metric(uniformity, "uniformity", "rows", "lower", 3, "pairs"),
    "alignment": Metric(alignment, "alignment", "views", "lower", 3, "rows"),
    "self_clustering": Metric(self_clustering, "self clustering", "rows", "lower", 3, "rows"),
    "mean_cosine": Metric(mean_cosine, "mean cosine", "rows", "lower", 3, "rows"),
    "feature_std": Metric(feature_std, "std", "rows", "", 3, "rows"),
    "intrinsic_dimension": Metric(
        intrinsic_dimension, "intrinsic dimension", "rows", "", 2, "pairs"
    ),
}
