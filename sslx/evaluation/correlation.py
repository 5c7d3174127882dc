"""Rank correlation of a metric with accuracy, and how certain it is: over configurations, and over
their seeds.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Correlation(NamedTuple):
    """A rank correlation and its interval; nan where they are not defined."""

    value: float
    low: float
    high: float
    count: int  # type: ignore[assignment]  # points it is of


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho of x [n] and y [n], ties at their average rank; nan for n < 3, a constant
    column, or any nan.

    Raises ValueError unless both have one axis of one length.
    """
    return _plain(*_columns(x, y))[0]


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b of x [n] and y [n], which allows for ties; nan for n < 3, a constant column,
    or any nan.

    Raises ValueError unless both have one axis of one length.
    """
    return _plain(*_columns(x, y))[1]


def intervals(
    x: ArrayLike,
    y: ArrayLike,
    configs: Sequence[Hashable],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Correlation, Correlation]:
    """Spearman's rho and Kendall's tau-b of x [n] and y [n] with percentile bootstrap intervals at
    `level`.

    Points with equal `configs` [n] are seeds of one configuration: a resample draws configurations,
    and for each of them as many of its points as it has, both with replacement. Points with a nan
    are left out first, and resamples in which a column is constant. The interval is nan with fewer
    than 3 configurations, or when fewer than half of the resamples remain. Raises ValueError unless
    x, y and configs have one axis of one length."""
    x, y = _columns(x, y)
    if len(configs) != len(x):
        raise ValueError(
            f"{len(x)} points need {len(x)} configs, one for each, but got {len(configs)}."
        )
    known = np.flatnonzero(~(np.isnan(x) | np.isnan(y))).tolist()
    x, y = x[known], y[known]
    members: dict[Hashable, list[int]] = {}
    for point, index in enumerate(known):
        members.setdefault(configs[index], []).append(point)
    limits = np.full((2, 2), np.nan)
    if len(members) >= 3:
        drawn = _weighted(
            x, y, _resample(list(members.values()), resamples, np.random.default_rng(seed))
        )
        drawn = drawn[:, ~np.isnan(drawn[0])]  # both are nan in the same resamples
        if 2 * drawn.shape[1] >= resamples:
            limits = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1).T
    rho, tau = (
        Correlation(value, float(low), float(high), len(x))
        for value, (low, high) in zip(_plain(x, y), limits, strict=True)
    )
    return rho, tau


def _resample(members: list[list[int]], resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each point occurs [B, n], when configurations are drawn, and then points of those
    drawn.
    """
    times = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=resamples)
    weights = np.empty((resamples, sum(map(len, members))))
    for points, drawn in zip(members, times.T, strict=True):
        size = len(points)
        weights[:, points] = (
            rng.multinomial(drawn * size, np.full(size, 1 / size)) if size > 1 else drawn[:, None]
        )
    return weights


def _weighted(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho and Kendall's tau-b [2, B] of points that occur `weights` [B, n] times; nan
    where one is constant.

    Ranks are multiples of 1/2 and weights integers, so that all sums are exact and a constant
    column is exactly 0."""
    (ranks_x, untied_x), (ranks_y, untied_y) = _rank(x, weights), _rank(y, weights)
    common = np.einsum("bi,bi,bi->b", weights, ranks_x, ranks_y)
    spread_x, spread_y = (
        np.einsum("bi,bi,bi->b", weights, ranks, ranks) for ranks in (ranks_x, ranks_y)
    )
    agreement = np.einsum("bi,bi->b", weights @ (_order(x) * _order(y)), weights)
    with np.errstate(invalid="ignore"):  # 0 / 0 of a constant column is the nan that is meant
        return np.stack(
            [common / np.sqrt(spread_x * spread_y), agreement / np.sqrt(untied_x * untied_y)]
        )


def _rank(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average ranks [B, n] around their mean, and the number [B] of ordered pairs that are no ties."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    tied = np.add.reduceat(weights[:, np.argsort(groups, kind="stable")], starts, axis=1)
    total = weights.sum(axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2 - (total[:, None] + 1) / 2
    return ranks[:, groups], total**2 - (tied**2).sum(axis=1)


def _order(values: np.ndarray) -> np.ndarray:
    """Signs [n, n] of all differences, also of infinite values."""
    return (values[:, None] > values).astype(np.float64) - (values[:, None] < values)


def _plain(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    if len(x) < 3 or np.isnan(x).any() or np.isnan(y).any():
        return float("nan"), float("nan")
    rho, tau = _weighted(x, y, np.ones((1, len(x))))[:, 0].tolist()
    return rho, tau


def _columns(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"A rank correlation is of x [n] and y [n], but got shapes {x.shape} and {y.shape}."
        )
    return x, y
