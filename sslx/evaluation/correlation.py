"""Rank correlation of a metric with accuracy, with intervals over configurations and seeds."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000  # of the bootstrap
LEVEL = 0.95  # of its intervals


class Correlation(NamedTuple):
    """A rank correlation and its interval; nan where they are not defined."""

    value: float
    low: float
    high: float
    points: int

    def text(self) -> str:
        """Return "+0.40 [-0.10, +0.80]", or why there is no value."""
        if math.isnan(self.value):
            return "needs 3 runs" if self.points < 3 else "constant"
        limits = "" if math.isnan(self.low) else f" [{self.low:+z.2f}, {self.high:+z.2f}]"
        return f"{self.value:+z.2f}{limits}"


def rank_correlations(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Return Spearman's rho, ties at their average rank, and Kendall's tau-b of x [n] and y [n].

    Both are nan for n < 3, a constant column, or any nan. Raises ValueError unless both columns
    have one axis of one length.
    """
    x, y = _columns(x, y)
    if len(x) < 3 or np.isnan(x).any() or np.isnan(y).any():
        return math.nan, math.nan
    rho, tau = _weighted(x, y, np.ones((1, len(x))))[:, 0].tolist()
    return rho, tau


def intervals(
    x: ArrayLike, y: ArrayLike, configs: Sequence[Hashable]
) -> tuple[Correlation, Correlation]:
    """Return Spearman's rho and Kendall's tau-b of x [n] and y [n] with 95 % intervals.

    Intervals are those of a percentile bootstrap. Points with equal `configs` [n] are seeds of one
    configuration: a resample draws configurations, and for each of them as many of its points as it
    has, both with replacement. Points with a nan are left out first, and resamples in which a
    column is constant. The interval is nan with fewer than 3 configurations, or when fewer than
    half of the resamples remain. Raises ValueError unless x, y and configs have one length.
    """
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
        drawn = _weighted(x, y, _resample(list(members.values())))
        drawn = drawn[:, ~np.isnan(drawn[0])]  # both are nan in the same resamples
        if 2 * drawn.shape[1] >= RESAMPLES:
            limits = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1).T
    rho, tau = (
        Correlation(value, float(low), float(high), len(x))
        for value, (low, high) in zip(rank_correlations(x, y), limits, strict=True)
    )
    return rho, tau


def _resample(members: list[list[int]]) -> np.ndarray:
    """How often each point occurs [B, n]: configurations are drawn, and then points of those."""
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=RESAMPLES)
    weights = np.empty((RESAMPLES, sum(map(len, members))))
    for points, drawn in zip(members, times.T, strict=True):
        size = len(points)
        weights[:, points] = rng.multinomial(drawn * size, np.full(size, 1 / size))
    return weights


def _weighted(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho and Kendall's tau-b [2, B] of points that occur `weights` [B, n] times.

    Ranks are multiples of 1/2 and weights integers, so that all sums are exact and a constant
    column is exactly 0, which gives nan.
    """
    ranks_x, untied_x = _rank(x, weights)
    ranks_y, untied_y = _rank(y, weights)
    common = np.einsum("bi,bi,bi->b", weights, ranks_x, ranks_y)
    spread_x = np.einsum("bi,bi,bi->b", weights, ranks_x, ranks_x)
    spread_y = np.einsum("bi,bi,bi->b", weights, ranks_y, ranks_y)
    agreement = np.einsum("bi,bi->b", weights @ (_order(x) * _order(y)), weights)
    with np.errstate(invalid="ignore"):  # 0 / 0 of a constant column is the nan that is meant
        rho, tau = common / np.sqrt(spread_x * spread_y), agreement / np.sqrt(untied_x * untied_y)
    return np.stack([rho, tau])


def _rank(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average ranks [B, n] around their mean, and the number [B] of ordered pairs without a tie."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    tied = np.add.reduceat(weights[:, np.argsort(groups, kind="stable")], starts, axis=1)
    total = weights.sum(axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2 - (total[:, None] + 1) / 2
    return ranks[:, groups], total**2 - (tied**2).sum(axis=1)


def _order(values: np.ndarray) -> np.ndarray:
    """Signs [n, n] of all differences, also of infinite values."""
    return (values[:, None] > values).astype(np.float64) - (values[:, None] < values)


def _columns(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"A rank correlation is of x [n] and y [n], but got shapes {x.shape} and {y.shape}."
        )
    return x, y
