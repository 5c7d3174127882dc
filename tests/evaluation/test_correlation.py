import math

import numpy as np
import pytest
from scipy import stats

from sslx.evaluation.correlation import Correlation, intervals, rank_correlations

NAN = float("nan")


def columns(case):
    """Two columns with many ties in some cases, few in others, and infinite values now and then."""
    rng = np.random.default_rng(case)
    n, levels = int(rng.integers(3, 40)), int(rng.integers(2, 30))
    x, y = rng.integers(0, levels, (2, n)) / 7
    y = np.where(rng.random(n) < rng.random(), x, y)
    if case % 5 == 0:
        x[0] = np.inf
    return (x, y) if len(set(x)) > 1 and len(set(y)) > 1 else columns(case + 1000)


@pytest.mark.parametrize("case", range(60))
def test_both_equal_scipys_with_ties(case):
    x, y = columns(case)
    expected = stats.spearmanr(x, y).statistic, stats.kendalltau(x, y).statistic
    assert rank_correlations(x, y) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_values_by_hand():
    assert rank_correlations([1, 2, 3], [3, 5, 9]) == (1.0, 1.0)
    assert rank_correlations([1, 2, 3], [9, 5, 3]) == (-1.0, -1.0)
    # Ranks 1 2 3 4 and 1.5 1.5 3 4; of 6 pairs 5 agree and 1 is a tie of y: 5 / sqrt(6 * 5).
    rho, tau = rank_correlations([1, 2, 3, 4], [0, 0, 1, 2])
    assert rho == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    assert tau == pytest.approx(5 / math.sqrt(30))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([1, 2], [1, 2]),
        ([], []),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 2, 3], [0.1, 0.1, 0.1]),
        ([1, 2, NAN, 3], [1, 2, 3, 4]),
    ],
)
def test_what_is_not_defined_is_nan(x, y):
    rho, tau = rank_correlations(x, y)
    assert math.isnan(rho)
    assert math.isnan(tau)


def test_intervals_are_those_of_a_plain_two_level_bootstrap():
    rng = np.random.default_rng(1)
    configs = [f"config {i // 3}" for i in range(24)]
    level = np.repeat(rng.normal(size=8), 3)
    x, y = np.round(level + 0.7 * rng.normal(size=(2, 24)), 1)
    points = 3 * rng.integers(8, size=(2000, 8)).repeat(3, axis=1) + rng.integers(
        3, size=(2000, 24)
    )
    # Spearman's rho correlates ranks, tau-b the signs of all differences.
    ranks = [stats.rankdata(values[points], axis=1) for values in (x, y)]
    centred = [of - of.mean(axis=1, keepdims=True) for of in ranks]
    signs = [np.sign(of[:, :, None] - of[:, None]).reshape(2000, -1) for of in ranks]
    drawn = [
        (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        for a, b in (centred, signs)
    ]
    first = x[points[0]], y[points[0]]
    wanted = stats.spearmanr(*first).statistic, stats.kendalltau(*first).statistic
    assert (drawn[0][0], drawn[1][0]) == pytest.approx(wanted)
    expected = np.quantile(drawn, [0.025, 0.975], axis=1).T
    found = intervals(x, y, configs)
    np.testing.assert_allclose([(c.low, c.high) for c in found], expected, atol=0.05)
    assert [c.value for c in found] == list(rank_correlations(x, y))
    assert [c.points for c in found] == [24, 24]


def test_seeds_of_one_configuration_are_not_independent():
    rng = np.random.default_rng(2)
    level = rng.normal(size=(2, 8))
    x, y = np.repeat(level, 5, axis=1)  # five seeds that agree say no more than one
    clustered, single = (
        intervals(x, y, configs)[0] for configs in (np.arange(40) // 5, np.arange(40))
    )
    assert clustered.value == single.value
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_the_order_of_a_perfect_agreement_has_no_spread():
    rho, tau = intervals(np.arange(10), np.arange(10) ** 3, range(10))
    assert rho == tau == (1.0, 1.0, 1.0, 10)


def test_points_that_are_nan_are_left_out():
    x, y, configs = [1, NAN, 2, 3, 4, 9], [2, 1, 5, 4, 8, NAN], list("abcdef")
    assert intervals(x, y, configs) == intervals([1, 2, 3, 4], [2, 5, 4, 8], list("acde"))
    assert intervals(x, y, configs)[0].points == 4


@pytest.mark.parametrize(
    ("x", "configs", "has_value"),
    [
        ([1, 2, 3, 4, 5, 7], [(0,), (0,), (0,), (1,), (1,), (1,)], True),  # two configurations
        ([1, 1, 1, 1, 1, 2], "abcdef", True),  # constant in a third of the resamples
        ([3, 3, 3, 3, 3, 3], "abcdef", False),
        ([NAN, NAN, NAN, NAN, 1, 2], "abcdef", False),
        ([NAN] * 6, "abcdef", False),
    ],
)
def test_intervals_that_are_not_defined_are_nan(x, configs, has_value):
    for found in intervals(x, [1, 3, 2, 4, 6, 5], configs):
        assert math.isnan(found.value) != has_value
        if len(set(configs)) < 3 or not has_value:
            assert math.isnan(found.low)
            assert math.isnan(found.high)
        else:
            assert -1 <= found.low <= found.value <= found.high <= 1


def test_constant_resamples_are_left_out_until_fewer_than_half_remain():
    # x is constant in 9 of the 27 resamples: those without c, and the one of c alone.
    assert intervals([0, 0, 1], [0, 0, 1], "abc")[0] == (1.0, 1.0, 1.0, 3)
    # Neither is constant in 12 of 27: those with both b and c.
    rho, tau = intervals([0, 0, 1], [0, 1, 0], "abc")
    assert (rho.value, tau.value) == pytest.approx((-0.5, -0.5))
    assert all(math.isnan(limit) for limit in (rho.low, rho.high, tau.low, tau.high))


def test_the_text_has_the_interval_or_the_reason_why_there_is_no_value():
    assert Correlation(0.4, -0.104, 0.8, 9).text() == "+0.40 [-0.10, +0.80]"
    assert Correlation(-0.001, NAN, NAN, 4).text() == "+0.00"
    assert Correlation(NAN, NAN, NAN, 2).text() == "needs 3 runs"
    assert Correlation(NAN, NAN, NAN, 3).text() == "constant"


def test_columns_of_different_lengths_are_refused():
    message = r"x \[n\] and y \[n\], but got shapes \(3,\) and \(2,\)"
    with pytest.raises(ValueError, match=message):
        rank_correlations([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=message):
        intervals([1, 2, 3], [1, 2], "abc")
    with pytest.raises(ValueError, match="3 points need 3 configs, one for each, but got 2"):
        intervals([1, 2, 3], [1, 2, 3], "ab")


def test_intervals_of_fifty_points_repeat_themselves():
    x, y = np.random.default_rng(0).normal(size=(2, 50))
    first = intervals(x, y, np.arange(50) // 2)
    assert first == intervals(x, y, np.arange(50) // 2)
