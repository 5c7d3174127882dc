"""How embeddings lie on the unit sphere: spread, cosines, uniformity, alignment, clusters."""

import itertools
import math

import numpy as np
from jax.typing import ArrayLike

from metrics.arrays import load_float64
from metrics.score import Score

# Distances held at one time: 32 MiB in float64, whatever the number of embeddings.
_BLOCK_ENTRIES = 2**22


def feature_std(embeddings: ArrayLike) -> Score:
    """Return sqrt(d) mean_j std_i(u_ij) of the unit-norm rows u_i of embeddings [n, d].

    It is 0 when all rows point one way and about 1 when they are spread evenly over the sphere; it
    does not see a collapse onto a few dimensions that the features share. The deviation is the
    population one (divided by n). Chen & He 2021 (SimSiam), section 4.1.
    """
    units, dtype = _directions(embeddings, "[n, d]", "feature_std")
    n, d = units.shape
    return Score(math.sqrt(d) * units.std(axis=0).mean(), n=n, d=d, dtype=dtype)


def mean_cosine(embeddings: ArrayLike) -> Score:
    """Return the mean cosine over all pairs of embeddings [n, d].

    It is 1 when all rows point one way, about 0 when they are spread evenly, and at least
    -1 / (n - 1). A row of zeros has cosine 1 with another one and 0 with the rest. Raises
    ValueError for n < 2.
    """
    units, dtype = _directions(embeddings, "[n, d]", "mean_cosine", at_least=2)
    n, d = units.shape
    zeros = _zero_rows(units)
    total = units.sum(axis=0)
    pairs = total @ total - (n - zeros) + zeros * (zeros - 1)
    # Rounding would put collapsed rows a few units of the last place above 1.
    return Score(min(1.0, pairs / (n * (n - 1))), n=n, d=d, dtype=dtype)


def uniformity(embeddings: ArrayLike, *, t: float = 2.0) -> Score:
    """Return log mean_{i<j} exp(-t |u_i - u_j|^2) of the unit-norm rows u_i of embeddings [n, d].

    It is 0 when all rows point one way and falls to -2 t + log 0F1(; d/2; t^2) for an even spread
    over the sphere, a limit that moves with d. Raises ValueError for n < 2 and unless t > 0.
    Wang & Isola 2020.
    """
    if not 0 < t < math.inf:
        raise ValueError(
            f"uniformity needs a finite t > 0, but got t={t}. The usual value is t=2.0."
        )
    units, dtype = _directions(embeddings, "[n, d]", "uniformity", at_least=2)
    n, d = units.shape
    return Score(_log_mean_gaussian(units, t), n=n, d=d, t=t, dtype=dtype)


def alignment(embeddings: ArrayLike, *, alpha: float = 2.0) -> Score:
    """Return the mean of |u_a - u_b|^alpha over the pairs of views of embeddings [n, q, d].

    u_a is view a of an image at unit norm. It is 0 when the views of every image point one way, and
    for alpha = 2 about 2 when they have nothing in common. Raises ValueError for q < 2 and unless
    0 < alpha <= 100. Wang & Isola 2020, there for two views.
    """
    if not 0 < alpha <= 100:
        raise ValueError(
            f"alignment needs 0 < alpha <= 100, but got alpha={alpha}. The usual value is "
            "alpha=2.0."
        )
    units, dtype = _directions(embeddings, "[n, q, d]", "alignment")
    n, q, d = units.shape
    if q < 2:
        raise ValueError(
            f"alignment needs at least 2 views of each image, but got q={q} in shape "
            f"{units.shape}. Stack them, for example with np.stack(views, axis=1)."
        )
    if alpha == 2:
        # The pairs' squared distances add up to q times those to the mean: no loop, and nothing
        # cancels.
        value = 2 * np.square(units - units.mean(axis=1, keepdims=True)).sum() / (n * (q - 1))
    else:
        pairs = itertools.combinations(range(q), 2)
        distances = (np.linalg.norm(units[:, a] - units[:, b], axis=1) for a, b in pairs)
        value = np.mean([(distance**alpha).mean() for distance in distances])
    return Score(value, n=n, q=q, d=d, alpha=alpha, dtype=dtype)


def self_clustering(embeddings: ArrayLike) -> Score:
    """Return (c - 1/d) / (1 - 1/d) with the mean squared cosine c over pairs of embeddings [n, d].

    It is 1 when all rows lie on one line, about 0 when they are spread evenly, and can be slightly
    negative. A row of zeros has cosine 1 with another one and 0 with the rest. Raises ValueError
    for n < 2 and d < 2. Tsitsulin et al. 2023.
    """
    units, dtype = _directions(embeddings, "[n, d]", "self_clustering", at_least=2)
    n, d = units.shape
    if d < 2:
        raise ValueError(
            f"self_clustering needs at least 2 features, but got d={d} in shape {units.shape}: "
            "all rows of one feature lie on one line. Pass the embeddings before they are reduced."
        )
    # Squared cosines add up to the same over the d x d second moment and over the n x n cosines.
    gram = units.T @ units if d < n else units @ units.T
    squares = np.square(gram).sum() + _zero_rows(units) ** 2
    expected = n + n * (n - 1) / d
    return Score(min(1.0, (squares - expected) / (n**2 - expected)), n=n, d=d, dtype=dtype)


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Divide the last axis of finite float64 embeddings by its Euclidean norm; zeros stay zero."""
    # Dividing by the largest entry first keeps the squares of very small and very large rows in
    # range.
    largest = np.abs(embeddings).max(axis=-1, keepdims=True)
    scaled = embeddings / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(scaled, axis=-1, keepdims=True)
    return scaled / np.where(norms > 0, norms, 1)


def _directions(
    embeddings: ArrayLike, axes: str, metric: str, at_least: int = 1
) -> tuple[np.ndarray, str]:
    rows, dtype = load_float64(embeddings, axes, metric)
    if len(rows) < at_least:
        raise ValueError(
            f"{metric} compares pairs of rows and needs at least 2 embeddings, but got "
            f"n={len(rows)} in shape {rows.shape}. Pass more embeddings."
        )
    return unit_rows(rows), dtype


def _zero_rows(units: np.ndarray) -> int:
    return len(units) - int(units.any(axis=1).sum())


def _log_mean_gaussian(units: np.ndarray, t: float) -> float:
    """log mean_{i<j} exp(-t |u_i - u_j|^2) by blocks of rows, each pair once."""
    n = len(units)
    # Distances do not change, and those of nearly collapsed rows keep their digits.
    centred = units - units.mean(axis=0)
    norms = np.einsum("id,id->i", centred, centred)
    log_sums = []
    height = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, n - 1, height):
        rows = slice(start, start + height)
        squared = norms[rows, None] + norms[start:] - 2 * centred[rows] @ centred[start:].T
        np.maximum(squared, 0, out=squared)
        squared[np.tril_indices(len(squared))] = np.inf
        # The nearest pair sets the scale, so that a large t does not turn every pair into 0.
        nearest = squared.min()
        with np.errstate(over="ignore"):
            log_sums.append(-t * float(nearest) + math.log(np.exp(-t * (squared - nearest)).sum()))
    return float(np.logaddexp.reduce(log_sums)) - math.log(n * (n - 1) / 2)
