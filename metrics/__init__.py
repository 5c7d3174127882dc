"""Label-free measures of an encoder's features: arrays in, floats out.

Every function takes NumPy or JAX arrays of embeddings, computes in float64 whatever the calling program uses, and
returns plain Python numbers. Nothing here needs labels, a model or any other package of this repository.
"""

from metrics.lidar import lidar
from metrics.rankme import rankme
from metrics.spectrum import feature_std, singular_values

__all__ = ["feature_std", "lidar", "rankme", "singular_values"]
