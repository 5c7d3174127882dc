"""Distances to neighbours: intrinsic dimension and cluster structure of embeddings."""

import math
import warnings
from numbers import Integral
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from metrics.arrays import blocks, load, load_float64
from metrics.directions import unit_rows
from metrics.score import Score

# Products of rows held at one time: 32 MiB in float64, whatever the number of embeddings.
_BLOCK_ENTRIES = 2**22
# 20,000 rows have 3.2 GB of products with each other.
_LARGEST_TREE = 20_000


class Clid(NamedTuple):
    """The two halves of CLID, which a study standardises over its models and adds."""

    learnability: Score
    dimension: Score


def intrinsic_dimension(embeddings: ArrayLike, *, fit: str = "likelihood") -> Score:
    """Return the dimension of the set that embeddings [n, d] lie on (TwoNN, Facco et al. 2017).

    The ratios mu = r2 / r1 of the distances to the two nearest neighbours follow a Pareto law whose
    exponent is the dimension: `fit="likelihood"` is (n - 1) / sum ln mu, `fit="line"` the slope
    through 0 of -ln(1 - rank / n) on ln mu over the lowest 90 % of ratios. Of exact duplicates one
    is kept; `settings["duplicates"]` counts the rest. High dimensions are read too low, the more so
    the smaller n. Raises ValueError for fewer than 3 different rows, if all ratios are 1 (a grid,
    or orthogonal rows), and for another `fit`.
    """
    if fit not in ("likelihood", "line"):
        raise ValueError(
            f"intrinsic_dimension has fit='likelihood' and fit='line', but got fit={fit!r}."
        )
    rows, dtype = load_float64(embeddings, "[n, d]", "intrinsic_dimension")
    return _two_nn(rows, fit, "intrinsic_dimension", dtype)


def clid(embeddings: ArrayLike, *, seed: int = 0) -> Clid:
    """Return cluster learnability and intrinsic dimension of the directions of embeddings [n, d].

    Learnability is the accuracy with which the nearest neighbour by cosine predicts clusters:
    floor(sqrt n) of them from one run of k-means, half of each (rounded down) predicted from the
    others, all drawn with `seed`. Dimension is `intrinsic_dimension` of the same unit-norm rows.
    CLID belongs to a pool of models: standardise both numbers over the pool and add them. Follows a
    public re-implementation of Lu et al. 2023 (TMLR), not checked against the paper. Raises
    ValueError for n < 4, for fewer directions than clusters, and where `intrinsic_dimension` does.
    """
    rng = np.random.default_rng(_integer("clid", "seed", seed, 0))
    rows, dtype = load_float64(embeddings, "[n, d]", "clid")
    n, d = rows.shape
    if n < 4:
        raise ValueError(
            f"clid needs at least 4 embeddings for 2 clusters, but got n={n}. Pass more embeddings."
        )
    # Parallel rows differ by rounding after the division, and count as one direction.
    units = unit_rows(rows).round(12)
    clusters = math.isqrt(n)
    accuracy = _cluster_accuracy(units, _cluster(units, clusters, rng), rng)
    learnability = Score(accuracy, n=n, d=d, clusters=clusters, seed=seed, dtype=dtype)
    return Clid(learnability, _two_nn(units, "likelihood", "clid", dtype))


def idest(embeddings: ArrayLike, *, smallest: int = 200, step: int = 200, seed: int = 0) -> Score:
    """Return the dimension of embeddings [n, d] from the growth of minimum spanning trees.

    The trees join random subsets of smallest, smallest + step, ... < n rows. Where their lengths
    grow as size^m, the dimension is 1 / (1 - m); m is fitted by least squares on the logarithms.
    Lower is better. High dimensions are read too low, so compare at equal n, smallest and step; a
    collapse onto a few tight clusters reads about 1. Raises ValueError for more than 20,000 rows,
    for fewer than 3 sizes, and where m leaves (0, 1). Mordacq, Kalogeiton & Oudot 2026 (ICML), who
    use 50,000 rows and name no sizes.
    """
    rng = np.random.default_rng(_integer("idest", "seed", seed, 0))
    _integer("idest", "smallest", smallest, 2)
    _integer("idest", "step", step, 1)
    n, d = load(embeddings, "[n, d]", "idest").shape
    sizes = _tree_sizes(n, smallest, step)
    rows, dtype = load_float64(embeddings, "[n, d]", "idest")
    rows = _centred(rows)
    products = rows @ rows.T
    lengths = []
    for size in sizes:
        # in order, because products are read faster that way
        subset = np.sort(rng.choice(n, size, replace=False))
        tree = _spanning_tree(products, subset)
        lengths.append(np.linalg.norm(rows[tree[:, 0]] - rows[tree[:, 1]], axis=1).sum())
    value = 1 / (1 - _growth(sizes, np.array(lengths)))
    return Score(value, n=n, d=d, smallest=smallest, step=step, seed=seed, dtype=dtype)


def _two_nn(rows: np.ndarray, fit: str, metric: str, dtype: str) -> Score:
    first_index: dict[bytes, int] = {}
    for index, row in enumerate(rows + 0.0):  # so that -0.0 and 0.0 are the same bytes
        first_index.setdefault(row.tobytes(), index)
    distinct = rows[list(first_index.values())]
    n = len(distinct)
    if n < 3:
        raise ValueError(
            f"{metric} needs 3 different embeddings for a dimension, but got {n} among "
            f"{len(rows)}. Pass more embeddings, or look at the checkpoint: its encoder may have "
            "collapsed."
        )
    nearest, second = _two_nearest(_centred(distinct)).T
    ratios = np.sort(np.log(second) - np.log(nearest))
    lowest = ratios[: int(0.9 * n)]
    # Rounding alone makes equal distances differ by less.
    if lowest[-1] < 1e-12:
        raise ValueError(
            f"{metric} finds the two nearest neighbours of 90 % of the embeddings equally far, as "
            "on a grid or among orthogonal rows, and has no dimension for that. Pass more "
            "embeddings."
        )
    if fit == "likelihood":
        value = (n - 1) / ratios.sum()
    else:
        heights = -np.log1p(-np.arange(1, len(lowest) + 1) / n)
        value = heights @ lowest / (lowest @ lowest)
    d, duplicates = rows.shape[1], len(rows) - n
    return Score(value, n=len(rows), d=d, fit=fit, duplicates=duplicates, dtype=dtype)


def _two_nearest(rows: np.ndarray) -> np.ndarray:
    """Distances [n, 2] of different rows around 0 to their two nearest others."""
    n = len(rows)
    norms = np.einsum("id,id->i", rows, rows)
    count = min(8, n - 1)
    nearest = np.empty((n, 2))
    height = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, n, height):
        block = rows[start : start + height]
        squared = norms - 2 * block @ rows.T
        np.fill_diagonal(squared[:, start:], np.inf)
        candidates = np.argpartition(squared, count - 1, axis=1)[:, :count].T
        # Products find the neighbours, but have lost the digits of small distances.
        distances = [np.linalg.norm(block - rows[column], axis=1) for column in candidates]
        nearest[start : start + height] = np.sort(np.stack(distances, axis=1), axis=1)[:, :2]
    # The square of a tiny difference can be 0, although no rows are the same.
    return np.maximum(nearest, np.finfo(np.float64).tiny)


def _cluster(units: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    # scikit-learn takes long to import, and no other metric needs it.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(clusters, n_init=1, random_state=int(rng.integers(2**32)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return model.fit_predict(units)
        except ConvergenceWarning:
            raise ValueError(
                f"clid needs {clusters} clusters, but there are fewer directions. Look at the "
                "checkpoint: its encoder has collapsed."
            ) from None


def _cluster_accuracy(units: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Accuracy of the nearest row's label for half of every cluster, from the other halves."""
    is_query = np.zeros(len(units), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        is_query[members[: len(members) // 2]] = True
    queries, reference = units[is_query], units[~is_query]
    parts = blocks(queries, max(1, _BLOCK_ENTRIES // len(reference)))
    nearest = np.concatenate([(part @ reference.T).argmax(axis=1) for part in parts])
    return float(np.mean(labels[~is_query][nearest] == labels[is_query]))


def _tree_sizes(n: int, smallest: int, step: int) -> np.ndarray:
    if n > _LARGEST_TREE:
        raise ValueError(
            f"idest holds 8 * n^2 bytes and takes at most n={_LARGEST_TREE} embeddings, but got "
            f"n={n}. Pass a random subset, for example "
            f"rng.choice(embeddings, {_LARGEST_TREE}, replace=False)."
        )
    sizes = np.arange(smallest, n, step)
    if len(sizes) < 3:
        smaller = max(2, n // 10), max(1, n // 10)
        raise ValueError(
            f"idest fits a line to 3 or more sizes smallest, smallest + step, ... < n, but got "
            f"n={n} with smallest={smallest}, step={step}. Pass more than {smallest + 2 * step} "
            f"embeddings, or smaller sizes, here smallest={smaller[0]}, step={smaller[1]}."
        )
    return sizes


def _spanning_tree(products: np.ndarray, subset: np.ndarray) -> np.ndarray:
    """Edges [size - 1, 2] of the minimum spanning tree of rows, from all inner products (Prim)."""
    norms, shortest = products.diagonal()[subset], np.full(len(subset), np.inf)
    outside, parents = np.ones(len(subset), bool), np.zeros(len(subset), int)
    edges = np.empty((len(subset) - 1, 2), int)
    newest = 0
    for edge in range(len(edges)):
        outside[newest], shortest[newest] = False, np.inf
        squared = norms[newest] + norms - 2 * products[subset[newest], subset]
        closer = outside & (squared < shortest)
        shortest[closer], parents[closer] = squared[closer], newest
        newest = int(shortest.argmin())
        edges[edge] = subset[parents[newest]], subset[newest]
    return edges


def _growth(sizes: np.ndarray, lengths: np.ndarray) -> float:
    """Slope m in (0, 1) of ln length on ln size."""
    slope = float(np.polyfit(np.log(sizes), np.log(lengths), 1)[0]) if lengths.min() > 0 else 0.0
    # Trees that do not grow have a slope of either sign from rounding.
    if 1e-9 < slope < 1:
        return slope
    reason = "grow as fast as the number of rows"
    if slope < 1:
        reason = "do not grow, because few rows differ"
    raise ValueError(
        f"idest has no dimension 1 / (1 - m) outside 0 < m < 1, but got m={slope:.3g}: the trees "
        f"{reason}. Look at the checkpoint, which may have collapsed, or pass more embeddings and "
        "a larger `smallest`."
    )


def _centred(rows: np.ndarray) -> np.ndarray:
    """Rows around their mean, with entries of order 1, so that no square leaves the range."""
    scaled = rows / (np.abs(rows).max() or 1)
    return scaled - scaled.mean(axis=0)


def _integer(metric: str, name: str, value: int, lowest: int) -> int:
    if not isinstance(value, Integral) or value < lowest:
        raise ValueError(f"{metric} needs an integer {name} >= {lowest}, but got {name}={value!r}.")
    return value
