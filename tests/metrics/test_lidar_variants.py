"""LiDAR beyond the paper: debiasing, relative ridge, interval; the forms of its eigenproblem."""

import contextlib
import warnings

import jax
import numpy as np
import pytest

from metrics import LidarState, device, lidar
from metrics.lda import Spectrum, lda_spectrum
from metrics.scatter import Scatter
from tests.metrics.seeded import seeded_views


def planted_views(q: int, snr: float) -> np.ndarray:
    """A signal of 8 dimensions in isotropic noise of 64: [1000, q, 64]."""
    rng = np.random.default_rng(0)
    signal = np.zeros((1000, 1, 64))
    signal[:, 0, :8] = np.sqrt(snr) * rng.standard_normal((1000, 8))
    return signal + rng.standard_normal((1000, q, 64))


@contextlib.contextmanager
def any_advice():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


@pytest.mark.parametrize(
    ("options", "d32", "d256"),
    [
        ({"debias": True, "delta": 0, "eps": 0}, 26.193800, 97.655065),
        ({"debias": True, "eps": 0}, 26.124272, 95.946617),
        ({"ridge": "relative", "eps": 0}, 27.142208, 114.336248),
        ({"ridge": "relative", "delta": 1e-2, "eps": 0}, 26.229062, 111.760903),
    ],
)
def test_seeded_table(options, d32, d256):
    assert lidar(seeded_views(32), **options) == pytest.approx(d32, abs=1e-6)
    with any_advice():
        assert lidar(seeded_views(256), **options) == pytest.approx(d256, abs=1e-6)


@pytest.mark.parametrize(
    ("q", "snr", "plain", "debiased"),
    [(2, 1, 54.26, 20.49), (10, 1, 32.11, 10.85), (50, 1, 14.49, 8.65), (10, 0.1, 59.35, 21.75)],
)
def test_debiased_lidar_finds_a_planted_signal_in_noise(q, snr, plain, debiased):
    views = planted_views(q, snr)
    assert lidar(views) == pytest.approx(plain, abs=5e-3)
    assert lidar(views, debias=True, delta=0, eps=0) == pytest.approx(debiased, abs=5e-3)


def test_debiased_lidar_of_pure_noise_is_far_below_that_of_signal_and_no_eigenvalue_means_one():
    rng = np.random.default_rng(0)
    with any_advice():
        assert lidar(rng.standard_normal((1000, 10, 64)), debias=True, delta=0, eps=0) < 35
        opposed = np.tile(
            np.concatenate([np.eye(4), -np.eye(4)]), (50, 1, 1)
        ) + 1e-9 * rng.standard_normal((50, 8, 4))
        assert lidar(opposed, debias=True, delta=0, eps=0) == 1.0


def test_relative_ridge_does_not_depend_on_scale():
    views = seeded_views(32)
    value = lidar(views, ridge="relative")
    assert lidar(0.01 * views, ridge="relative") == pytest.approx(value, rel=1e-12)
    trace = float(((views - views.mean(axis=1, keepdims=True)) ** 2).sum()) / (200 * 7)
    assert lidar(views, delta=1e-4 * trace / 32) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(400, 32), (60, 64)])
def test_interval_covers_the_expected_value(n, d):
    """Most of the 95 % intervals of independent draws of the images hold the mean value."""
    k = np.arange(1, d + 1)

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        signal = rng.standard_normal((n, 1, d)) / k
        return signal + 0.3 * rng.standard_normal((n, 5, d)) * k**-0.25

    with any_advice():
        scores = [lidar(draw(seed), confidence=0.95) for seed in range(60)]
    intervals = np.array([score.settings["interval"] for score in scores])
    covered = (intervals[:, 0] <= np.mean(scores)) & (np.mean(scores) <= intervals[:, 1])
    assert covered.mean() >= 0.85
    assert (
        0.7 < np.mean([score.settings["standard_error"] for score in scores]) / np.std(scores) < 1.4
    )


def test_interval_widens_with_confidence_and_leaves_the_value_alone():
    views = seeded_views(32)
    narrow, wide = lidar(views, confidence=0.5), lidar(views, confidence=0.99)
    assert narrow == wide == pytest.approx(lidar(views), rel=1e-12)
    assert wide.settings["interval"][0] < narrow.settings["interval"][0] < narrow
    debiased = lidar(views, debias=True, delta=0, eps=0, confidence=0.9)
    assert debiased.settings["interval"][0] < debiased < debiased.settings["interval"][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": "rel"}, "absolute.*relative.*'rel'"),
        ({"debias": True, "unbiased": False}, "unbiased denominators"),
        ({"confidence": 95}, "0 < confidence < 1.*confidence=95"),
        ({"confidence": 0.9, "debias": True}, "delta=0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        lidar(seeded_views(8), **options)


def test_a_state_without_means_has_no_interval():
    state = LidarState()
    state.add(seeded_views(8))
    with pytest.raises(ValueError, match="keep_means=True"):
        lidar(state, confidence=0.9)
    keeping = LidarState(keep_means=True)
    keeping.add(seeded_views(8))
    whole = lidar(seeded_views(8), confidence=0.9)
    assert lidar(keeping, confidence=0.9).settings["interval"] == whole.settings["interval"]
    keeping.merge(state)
    assert keeping.n == 400
    with pytest.raises(ValueError, match="keep_means=True"):
        lidar(keeping, confidence=0.9)


def scatters(
    n: int, m: int, d: int, *, keep_between: bool = False
) -> tuple[Scatter, Scatter, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, d))
    noise = rng.standard_normal((m, d)) * np.arange(1, d + 1) ** -0.5
    between = Scatter(d, centred=True, keep_rows=keep_between)
    within = Scatter(d, centred=False)
    between.add(rows.copy())
    within.add(noise.copy())
    centred = rows - rows.mean(axis=0)
    return between, within, centred.T @ centred, noise.T @ noise


def dense(b: np.ndarray, w: np.ndarray, ridge: float) -> np.ndarray:
    """By an inverse matrix square root, descending."""
    values, vectors = np.linalg.eigh(w + ridge * np.eye(len(w)))
    root = vectors * values**-0.5 @ vectors.T
    return np.linalg.eigvalsh(root @ b @ root)[::-1]


@pytest.mark.parametrize(
    ("n", "m", "kept"),
    [(8, 16, False), (8, 100, False), (40, 100, True), (90, 100, False), (90, 16, False)],
    ids=["few rows", "dual", "dual with n > d/2", "primal", "primal, singular within"],
)
def test_all_forms_give_the_eigenvalues_of_the_definition(n, m, kept):
    between, within, b, w = scatters(n, m, 40, keep_between=kept)
    expected = dense(b, w, 0.1)
    values, pivot = lda_spectrum(between, within, ridge=0.1)
    np.testing.assert_allclose(
        values, expected[: len(values)], rtol=1e-11, atol=1e-11 * expected[0]
    )
    assert len(values) == min(n, 40)
    assert 0 < pivot <= 1
    again = lda_spectrum(between, within, ridge=0.1)
    np.testing.assert_array_equal(
        again.eigenvalues, values, err_msg="the sums must survive the solution"
    )
    shifted = lda_spectrum(between, within, ridge=0.1, subtract=0.05).eigenvalues
    np.testing.assert_allclose(
        shifted, dense(b - 0.05 * w, w, 0.1), rtol=1e-10, atol=1e-11 * expected[0]
    )


@pytest.mark.parametrize(("precision", "rtol"), [(np.float64, 1e-11), (np.float32, 1e-4)])
@pytest.mark.parametrize(("n", "as_rows"), [(8, True), (90, True), (40, True), (90, False)])
def test_the_jitted_solver_gives_the_same(precision, rtol, n, as_rows):
    between, within, b, w = scatters(n, 100, 40, keep_between=True)
    rows = between.rows()
    given = rows if as_rows else np.tril(b)
    lower, given = np.tril(w).astype(precision), given.astype(precision)
    with jax.enable_x64(precision is np.float64):
        values, pivot = device.lda_eigenvalues(lower, 0.1, given, as_rows=as_rows)
    expected = dense(b, w, 0.1)
    assert values.dtype == precision
    np.testing.assert_allclose(values, expected[: len(values)], rtol=rtol, atol=rtol * expected[0])
    assert pivot == pytest.approx(lda_spectrum(between, within, ridge=0.1).smallest_pivot, rel=1e-3)


def test_on_a_gpu_machine_the_jitted_solver_is_used(monkeypatch):
    values = {d: lidar(seeded_views(d)) for d in (32, 64)}
    used = []
    solver = device.lda_eigenvalues

    def watched(*args, **kwargs):
        used.append(kwargs["as_rows"])
        return solver(*args, **kwargs)

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(device, "lda_eigenvalues", watched)
    for d, value in values.items():
        assert lidar(seeded_views(d)) == pytest.approx(value, rel=1e-12)
    with any_advice():
        lidar(seeded_views(128, n=20))
    assert used == [False, False, True]


def test_a_factorisation_that_fails_is_told():
    between, within, *_ = scatters(30, 4, 12)
    assert isinstance(lda_spectrum(between, within, ridge=0.0), Spectrum)
    pivot = lda_spectrum(between, within, ridge=0.0).smallest_pivot
    assert not pivot > 1e-12
