"""The plain definitions: equal to published programs, and to the fast code on hard inputs."""

from pathlib import Path

import numpy as np
import pytest

from metrics import alpha_req, lidar, rankme, reference

pytestmark = [
    pytest.mark.filterwarnings("ignore:lidar"),
    pytest.mark.filterwarnings("ignore:alpha_req"),
]
GOLDEN = Path(__file__).parents[1] / "golden"
# below, near and above d = 48; the fast code takes another way for each
COUNTS = [4, 20, 47, 49, 150]


def conditioned_views(n: int, condition: float, q: int = 4, d: int = 48) -> np.ndarray:
    """Views [n, q, d] with an offset, whose standard deviations fall from 1 to 1 / condition."""
    rng = np.random.default_rng(n)
    deviations = condition ** (-np.arange(d) / (d - 1))
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    isotropic = rng.standard_normal((n, 1, d)) + 0.3 * rng.standard_normal((n, q, d))
    return isotropic * deviations @ rotation + 0.5


@pytest.mark.parametrize("case", "abc")
def test_lidar_and_rankme_equal_published_programs(case):
    golden = np.load(GOLDEN / f"lidar_{case}.npz")
    expected = pytest.approx(golden["paper.f64.lidar_bessel"], rel=1e-9)
    assert reference.lidar(golden["in.embeddings"].astype(np.float64)) == expected
    golden = np.load(GOLDEN / f"rankme_{case}.npz")
    expected = pytest.approx(golden["rankme_reprod.f64.rankme"], rel=1e-9)
    assert reference.rankme(golden["in.embeddings"].astype(np.float64)) == expected


def test_alpha_req_equals_published_programs():
    golden = np.load(GOLDEN / "alphareq_a.npz")
    embeddings = golden["in.activations"].astype(np.float64)
    # Their weights are rounded to float32, which alone moves alpha by 5e-10.
    weighted = reference.alpha_req(embeddings, first=5, last=39)
    assert weighted == pytest.approx(golden["reptrix.f64.alpha"], rel=1e-9)
    unweighted = reference.alpha_req(embeddings, first=5, last=39, weighted=False)
    assert unweighted == pytest.approx(golden["paper.f64.alpha_unweighted"], rel=1e-9)


@pytest.mark.parametrize("condition", [1, 1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("n", COUNTS)
def test_the_fast_code_equals_the_definitions(n, condition):
    views = conditioned_views(n, condition)
    rows = views[:, 0]
    assert lidar(views) == pytest.approx(reference.lidar(views), rel=1e-9)
    coarse = {"delta": 1e-2, "eps": 0.0}
    assert lidar(views, **coarse) == pytest.approx(reference.lidar(views, **coarse), rel=1e-9)
    assert rankme(rows) == pytest.approx(reference.rankme(rows), rel=1e-9)
    assert rankme(rows, eps=0) == pytest.approx(reference.rankme(rows, eps=0), rel=1e-9)
    if n > 6 and condition <= 1e2:  # A covariance squares the condition number.
        assert alpha_req(rows) == pytest.approx(reference.alpha_req(rows), rel=1e-9)


@pytest.mark.parametrize("n", COUNTS[1:])
def test_alpha_req_over_the_whole_spectrum_equals_the_papers(n):
    rows = conditioned_views(n, 1e3)[:, 0]
    paper = {"first": 0, "last": None, "weighted": False}
    assert alpha_req(rows, **paper) == pytest.approx(reference.alpha_req(rows, **paper), rel=1e-9)


def test_lidar_without_ridge_equals_the_definition():
    views = conditioned_views(150, 1e2)
    bare = {"delta": 0.0, "eps": 0.0}
    assert lidar(views, **bare) == pytest.approx(reference.lidar(views, **bare), rel=1e-9)
