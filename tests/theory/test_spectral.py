"""Squared-error DIET and the spectral contrastive loss have one optimum, and it is an optimum."""

import sys
from functools import partial

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
from jax.flatten_util import ravel_pytree

from theory import spectral

SHAPES = [(40, 5, 12, 4), (30, 2, 6, 5), (9, 4, 20, 3), (50, 3, 4, 4)]


def views_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape[:3])


def test_the_losses_are_their_definitions():
    rng = np.random.default_rng(0)
    views, encoder, head = (
        views_of((6, 3, 5)),
        rng.standard_normal((5, 2)),
        rng.standard_normal((6, 2)),
    )
    features = views.reshape(18, 5) @ encoder
    one_hot = np.repeat(np.eye(6), 3, axis=0)
    assert spectral.diet_mse(views, encoder, head) == pytest.approx(
        np.sum((features @ head.T - one_hot) ** 2) / 18
    )
    dots = features @ features.T
    alike = one_hot @ one_hot.T == 1
    assert spectral.contrastive(views, encoder) == pytest.approx(
        -2 * dots[alike].mean() + (dots**2).mean()
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_both_losses_have_the_same_optimum(shape, seed):
    errors = spectral.disagreement(views_of(shape, seed), shape[3], np.random.default_rng(seed))
    assert len(errors) == 4
    assert max(errors.values()) <= 1e-12, errors


@pytest.mark.parametrize("shape", SHAPES)
def test_the_minima_are_what_the_eigenvalues_say(shape):
    views, d = views_of(shape), shape[3]
    kept = spectral.eigenvalues(views)[:d]
    encoder, head = spectral.diet_optimum(views, d)
    assert np.abs(head.T @ head - np.eye(d)).max() < 1e-12
    assert spectral.diet_mse(views, encoder, head) == pytest.approx(
        1 - kept.sum() / shape[0], rel=1e-12
    )
    theirs = spectral.contrastive_optimum(views, d)
    assert spectral.contrastive(views, theirs) == pytest.approx(-np.sum(kept**2), rel=1e-12)
    mix = np.random.default_rng(1).standard_normal((d, d))
    free = spectral.diet_mse(views, encoder @ mix, head @ np.linalg.inv(mix).T)
    assert free == pytest.approx(spectral.diet_mse(views, encoder, head), rel=1e-12)


def optima(views: np.ndarray, d: int) -> list:
    """Both losses as functions of their weights alone, and the closed form of their minimisers."""
    return [
        (partial(spectral.diet_mse, views), spectral.diet_optimum(views, d)),
        (partial(spectral.contrastive, views), (spectral.contrastive_optimum(views, d),)),
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_optima_are_stationary_and_no_perturbation_is_better(shape):
    rng = np.random.default_rng(0)
    for loss, weights in optima(views_of(shape), shape[3]):
        with jax.enable_x64(True):
            gradients = jax.device_get(jax.jit(jax.grad(lambda w, loss=loss: loss(*w)))(weights))
        assert max(np.abs(gradient).max() for gradient in gradients) < 1e-12
        least = loss(*weights)
        for size in np.repeat([1e-6, 1e-3, 0.1, 1.0], 20):
            assert (
                loss(*(part + size * rng.standard_normal(part.shape) for part in weights))
                >= least - 1e-14
            )


def test_descent_from_anywhere_ends_at_the_closed_form():
    rng = np.random.default_rng(0)
    for loss, weights in optima(views_of((20, 3, 6)), 2):
        with jax.enable_x64(True):
            flat, unravel = ravel_pytree(weights)
            slope = jax.jit(
                jax.value_and_grad(lambda w, loss=loss, unravel=unravel: loss(*unravel(w)))
            )
            for _ in range(5):
                end = scipy.optimize.minimize(
                    lambda w, slope=slope: jax.device_get(slope(w)),
                    0.1 * rng.standard_normal(flat.size),
                    jac=True,
                    options={"gtol": 1e-10},
                )
                assert end.fun == pytest.approx(loss(*weights), rel=1e-9), end.message


def test_the_noisiest_axes_are_dropped():
    between, within = np.array([1.0, 4.0, 0.5, 2.0]), np.array([0.5, 0.1, 0.01, 1.5])
    views = spectral.noisy_views(np.random.default_rng(0), 4000, 8, between, within)
    predicted = np.sort((between + within / 8) / (between + within))[::-1]
    assert np.abs(spectral.eigenvalues(views) - predicted).max() < 0.005
    encoder = spectral.contrastive_optimum(views, 2)
    weights = np.linalg.norm(encoder, axis=1) * np.sqrt(between + within)
    assert min(weights[[1, 2]]) > 10 * max(weights[[0, 3]])


def test_the_eigenvalues_are_those_of_linear_discriminant_analysis():
    views = views_of((30, 4, 5)) + 2 * views_of((30, 1, 5), seed=1)
    means = views.mean(axis=1, keepdims=True)
    within, between = (views - means).reshape(-1, 5), means[:, 0]
    ratio = scipy.linalg.eigh(between.T @ between * 4, within.T @ within, eigvals_only=True)[::-1]
    t = spectral.eigenvalues(views)
    np.testing.assert_allclose(t / (1 - t), ratio, rtol=1e-10)


@pytest.mark.parametrize(
    ("shape", "d"), [((9, 2, 5), 0), ((9, 2, 5), 6), ((3, 2, 5), 4), ((2, 2, 5), 1)]
)
def test_a_rank_without_a_unique_optimum_is_refused(shape, d):
    for optimum in (spectral.diet_optimum, spectral.contrastive_optimum):
        with pytest.raises(
            ValueError,
            match=rf"d = {d} features .* it takes 1 <= d <= {min(shape[0], 5)} and p <= n m",
        ):
            optimum(views_of(shape), d)


def test_the_command_prints_the_errors_and_the_eigenvalues(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["spectral"])
    spectral.main()
    lines = {
        line[2:42].strip(): line[42:].split()
        for line in capsys.readouterr().out.splitlines()
        if line[:2] == "  "
    }
    assert float(lines["Gram matrices, isometric head"][0]) <= 1e-12
    assert (
        np.abs(
            np.array(lines["observed"], float) - np.array(lines["(b + s / m) / (b + s)"], float)
        ).max()
        < 0.006
    )
