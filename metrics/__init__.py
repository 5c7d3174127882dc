"""Label-free measures of an encoder's features: arrays in, numbers out.

Every function takes NumPy or JAX arrays of embeddings, computes in float64 whatever the calling
program uses, and returns a `Score`: a float with the settings of its computation. Embeddings that
are not finite floating-point numbers in the layout that a function names raise ValueError.
`LidarState` and `SpectrumState` accumulate embeddings that do not fit in memory and go where the
array would. `METRICS` is the table of all metrics, and `metrics.reference` has the definitions in
plain NumPy. Nothing here needs labels, a model or any other package of this repository.
"""

from metrics.alpha_req import alpha_req
from metrics.directions import alignment, feature_std, mean_cosine, self_clustering, uniformity
from metrics.label_free import label_free
from metrics.lidar import debiased_lidar, lidar
from metrics.lidar_state import LidarState
from metrics.neighbours import Clid, clid, idest, intrinsic_dimension
from metrics.rankme import augmented_rankme, rankme
from metrics.score import Score
from metrics.spectrum import (
    SpectrumState,
    effective_rank,
    nesum,
    participation_ratio,
    singular_values,
    stable_rank,
)
from metrics.table import METRICS, Metric

__all__ = [
    "METRICS",
    "Clid",
    "LidarState",
    "Metric",
    "Score",
    "SpectrumState",
    "alignment",
    "alpha_req",
    "augmented_rankme",
    "clid",
    "debiased_lidar",
    "effective_rank",
    "feature_std",
    "idest",
    "intrinsic_dimension",
    "label_free",
    "lidar",
    "mean_cosine",
    "nesum",
    "participation_ratio",
    "rankme",
    "self_clustering",
    "singular_values",
    "stable_rank",
    "uniformity",
]
