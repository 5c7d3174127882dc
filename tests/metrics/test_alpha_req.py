"""alpha-ReQ against the authors' program, the seeded table, closed forms and error texts."""

from pathlib import Path

import numpy as np
import pytest

from metrics import SpectrumState, alpha_req
from tests.metrics.seeded import seeded_views

GOLDEN = Path(__file__).parents[1] / "golden" / "alphareq_a.npz"


def power_law(alpha: float, n: int = 300, d: int = 120) -> np.ndarray:
    """Embeddings whose covariance eigenvalues are exactly proportional to k^-alpha."""
    rng = np.random.default_rng(0)
    centred = rng.standard_normal((n, d))
    left = np.linalg.qr(centred - centred.mean(axis=0))[0]
    right = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return left * np.arange(1, d + 1) ** (-alpha / 2) @ right


def test_equals_the_reference():
    golden = np.load(GOLDEN)
    before = golden["in.activations"]
    embeddings = before.copy()
    for _ in range(2):  # the reference shifts the caller's window by one with every call
        value = alpha_req(embeddings, first=5, last=39)
        # The reference rounds its weights to float32, which alone moves alpha by 5e-10.
        np.testing.assert_allclose(value, golden["reptrix.f64.alpha"], rtol=1e-9)
        np.testing.assert_allclose(value.settings["r2"], golden["reptrix.f64.r2"], rtol=1e-9)
    unweighted = alpha_req(embeddings, first=5, last=39, weighted=False)
    np.testing.assert_allclose(unweighted, golden["paper.f64.alpha_unweighted"], rtol=1e-9)
    np.testing.assert_array_equal(embeddings, before)


@pytest.mark.parametrize(
    ("d", "first", "last", "weighted", "unweighted"),
    [
        (32, 3, 29, 2.122877, 2.621619),
        (256, 3, 99, 0.857829, 1.034891),
        (256, 5, 99, 0.913306, 1.082971),
        (256, 10, 99, 1.061434, 1.198979),
    ],
)
def test_seeded_table(d, first, last, weighted, unweighted):
    embeddings = seeded_views(d)[:, 0]
    assert alpha_req(embeddings, first=first, last=last) == pytest.approx(weighted, abs=1e-6)
    assert alpha_req(embeddings, first=first, last=last, weighted=False) == pytest.approx(
        unweighted, abs=1e-6
    )


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.3])
@pytest.mark.parametrize(
    "options", [{}, {"first": 0, "last": None, "weighted": False}, {"first": 10, "last": 40}]
)
def test_a_power_law_is_found_exactly(alpha, options):
    for embeddings in (power_law(alpha), 100 * power_law(alpha) + 7):
        value = alpha_req(embeddings, **options)
        assert value == pytest.approx(alpha, abs=1e-9)
        if alpha:
            assert value.settings["r2"] == pytest.approx(1, abs=1e-9)


def test_the_window_is_part_of_the_score():
    value = alpha_req(power_law(1.0), first=2)
    assert {k: value.settings[k] for k in ("first", "last", "weighted")} == {
        "first": 2,
        "last": 99,
        "weighted": True,
    }
    full = alpha_req(power_law(1.0), first=0, last=None)
    assert full.settings["last"] == 119
    state = SpectrumState()
    state.add(power_law(1.0))
    assert alpha_req(state, first=2) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_a_short_spectrum_ends_the_window_with_a_warning(shape):
    embeddings = np.random.default_rng(0).standard_normal(shape)
    usable = min(shape[0] - 1, shape[1])
    with pytest.warns(
        UserWarning, match=rf"ends at index {usable - 1} instead of 99.*last={usable - 1}"
    ):
        value = alpha_req(embeddings)
    assert value == alpha_req(embeddings, last=usable - 1)


@pytest.mark.parametrize(
    ("embeddings", "options", "message"),
    [
        (np.ones((40, 8)), {}, r"at least 3 eigenvalues.*only 0.*\[n=40, d=8\].*collapsed"),
        (np.outer(np.arange(40.0), np.ones(8)), {}, "only 1 of the covariance"),
        (np.eye(8), {"first": -1}, "0 <= first.*first=-1"),
        (np.eye(8), {"first": 5, "last": 6}, "last >= first.*first=5, last=6"),
        (np.ones((4, 3), int), {}, "alpha_req needs floating-point.*int64"),
        (np.full((4, 3), np.nan), {}, "12 of 12 numbers"),
    ],
)
def test_bad_input_is_refused(embeddings, options, message):
    with pytest.raises(ValueError, match=message):
        alpha_req(embeddings, **options)
