"""The joint-embedding losses against the reference implementations' numbers, and at their edges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.methods.barlow_twins import barlow_twins_loss
from sslx.methods.byol import byol_loss
from sslx.methods.moco import info_nce
from sslx.methods.simclr import nt_xent
from sslx.methods.simsiam import simsiam_loss
from sslx.methods.spectral import spectral_contrastive_loss, spectral_terms
from sslx.methods.swav import enqueue, sinkhorn, swav_loss
from sslx.methods.vicreg import vicreg_loss, vicreg_terms
from tests.methods.golden import PRECISIONS, assert_close, check, load

pytestmark = pytest.mark.usefixtures("quick_compilation")

COEFFICIENTS = {"a": (25.0, 25.0, 1.0), "b": (25.0, 25.0, 1.0), "c": (10.0, 5.0, 2.0)}


def random(*shape, seed=0):
    """Float32, or float64 under x64."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), float)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", COEFFICIENTS)
def test_vicreg_equals_the_official_code(case, precision):
    invariance, variance, covariance = COEFFICIENTS[case]
    loss = partial(vicreg_loss, invariance=invariance, variance=variance, covariance=covariance)
    check(f"vicreg_{case}", "vicreg", precision, loss, ("x", "y"))


@pytest.mark.parametrize("case", COEFFICIENTS)
def test_vicregs_terms_and_solo_learns_variant(case):
    golden = load(f"vicreg_{case}")
    invariance, variance, covariance = COEFFICIENTS[case]
    with jax.enable_x64(True):
        x, y = (jnp.asarray(golden[f"in.{name}"], jnp.float64) for name in "xy")
        terms = vicreg_terms(x, y)
        assert_close(terms.invariance, golden["lightly.f64.inv"], 1e-9)
        hinges = golden["lightly.f64.var_x"] + golden["lightly.f64.var_y"]
        assert float(terms.variance) in (
            pytest.approx(hinges, rel=1e-9),
            pytest.approx(hinges / 2, rel=1e-9),
        )
        loss = vicreg_loss(
            x,
            y,
            invariance=invariance,
            variance=variance,
            covariance=covariance,
            halve_variance=False,
        )
        assert_close(loss, golden["solo.f64.loss"], 1e-9)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("case", "weight"), [("a", 0.0051), ("b", 0.01)])
def test_barlow_twins_equals_the_official_code(case, weight, precision):
    loss = partial(barlow_twins_loss, weight=weight)
    check(f"barlow_{case}", "barlowtwins", precision, loss, ("z1", "z2"))


def test_barlow_twins_scale_is_a_factor_of_both_terms():
    z1, z2 = random(6, 4), random(6, 4, seed=1)
    scaled = barlow_twins_loss(z1, z2, weight=0.01, scale=0.25)
    assert float(scaled) == 0.25 * float(barlow_twins_loss(z1, z2, weight=0.01))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_byol_equals_the_official_code(case, precision):
    check(f"byol_{case}", "byol", precision, byol_loss, ("p1", "p2", "t1", "t2"), 2)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_simsiam_equals_the_official_code(precision):
    check("simsiam_a", "simsiam", precision, simsiam_loss, ("p1", "p2", "z1", "z2"), 2)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("case", "mu"), [("a", 1.0), ("b", 10.0)])
def test_spectral_equals_the_official_code(case, mu, precision):
    check(
        f"spectral_{case}",
        "spectral",
        precision,
        partial(spectral_contrastive_loss, mu=mu),
        ("z1", "z2"),
    )
    golden = load(f"spectral_{case}")
    with jax.enable_x64(True):
        z1, z2 = (jnp.asarray(golden[f"in.{name}"], jnp.float64) for name in ("z1", "z2"))
        for part, name in zip(spectral_terms(z1, z2, mu=mu), ("part1", "part2"), strict=True):
            assert_close(part, golden[f"spectral.f64.{name}"], 1e-9)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_info_nce_equals_solo_learns(precision):
    def loss(q, k, queue):
        return info_nce(q, k, queue.T, temperature=0.2)

    check("moco_infonce_a", "solo", precision, loss, ("q", "k", "queue"), 1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("case", "epsilon", "iterations"), [("a", 0.05, 3), ("b", 0.1, 5)])
def test_sinkhorn_equals_the_official_code(case, epsilon, iterations, precision):
    golden = load(f"sinkhorn_{case}")
    with jax.enable_x64(precision == "f64"):
        scores = jnp.asarray(
            golden["in.scores"], jnp.float64 if precision == "f64" else jnp.float32
        )
        codes = sinkhorn(scores, epsilon=epsilon, iterations=iterations)
        # A float32 exponent of 20 has an error of 1e-6 of itself, in the reference's float32 as
        # well.
        assert_close(codes, golden[f"swav.{precision}.codes"], PRECISIONS[precision])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["a", "b"])
def test_swav_equals_the_official_code(case, precision):
    golden, rtol = load(f"swav_{case}"), PRECISIONS[precision]
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        embeddings = jnp.asarray(golden["in.embedding"], dtype).reshape(-1, 4, 8)
        prototypes = jnp.asarray(golden["in.prototypes"], dtype)
        prototypes /= jnp.linalg.norm(prototypes, axis=1, keepdims=True)
        queue = jnp.asarray(golden["in.queue"], dtype) if case == "b" else None
        value, gradients = jax.jit(jax.value_and_grad(swav_loss, (0, 1)))(
            embeddings, prototypes, queue
        )
        assert value.dtype == dtype
        assert_close(value, golden[f"swav.{precision}.loss"], rtol)
        expected = golden["swav.f64.grad.embedding"], golden["swav.f64.grad.prototypes_normalised"]
        if precision == "f64":
            assert_close(prototypes, golden["swav.f64.prototypes_normalised"], rtol)
            assert_close(gradients[0].reshape(-1, 8), expected[0], rtol)
            assert_close(gradients[1], expected[1], rtol)
        if precision == "f64" and queue is not None:
            assert_close(enqueue(queue, embeddings[:2]), golden["swav.f64.queue_after"], rtol)


def test_rows_that_sinkhorn_leaves_out_change_nothing():
    with jax.enable_x64(True):
        scores, used = random(9, 5) / 5, jnp.array([True] * 6 + [False] * 3)
        alone = sinkhorn(scores[:6], epsilon=0.05, iterations=3)
        among = sinkhorn(scores, epsilon=0.05, iterations=3, used=used)
        np.testing.assert_allclose(among[:6], alone, rtol=1e-10)


def test_sinkhorn_spreads_images_evenly_and_stands_scores_that_are_no_cosines():
    codes = sinkhorn(random(64, 4), epsilon=0.5, iterations=50)
    np.testing.assert_allclose(codes.sum(axis=0), 16.0, rtol=1e-3)
    np.testing.assert_allclose(codes.sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(sinkhorn(100 * random(8, 4), epsilon=0.05, iterations=3)).all()


def test_swav_leaves_a_queue_alone_until_its_last_row_is_filled():
    with jax.enable_x64(True):
        z, prototypes, queue = (
            x / jnp.linalg.norm(x, axis=-1, keepdims=True)
            for x in (random(2, 8, 4), random(5, 4, seed=1), random(2, 8, 4, seed=2))
        )
        without = float(swav_loss(z, prototypes))
        filling = swav_loss(z, prototypes, queue.at[:, -4:].set(0.0))
        assert float(filling) == pytest.approx(without, rel=1e-10)
        assert abs(float(swav_loss(z, prototypes, queue)) - without) > 1e-3


def test_byol_lies_between_zero_and_eight():
    p, t = random(6, 4), random(6, 4, seed=1)
    assert float(byol_loss(p, t, t, p)) == pytest.approx(0, abs=1e-5)
    assert float(byol_loss(p, t, -t, -p)) == pytest.approx(8, rel=1e-5)


def test_targets_keys_and_queue_get_no_gradient():
    p, z, queue = random(6, 4), random(6, 4, seed=1), random(8, 4, seed=2)
    constant = {
        "byol's targets": (lambda t: byol_loss(p, p, t, t), z),
        "simsiam's projections": (lambda z: simsiam_loss(p, p, z, z), z),
        "moco's keys": (lambda k: info_nce(p, k, queue, temperature=0.2), z),
        "moco's queue": (lambda queue: info_nce(p, z, queue, temperature=0.2), queue),
    }
    for name, (loss, argument) in constant.items():
        assert not np.any(jax.grad(loss)(argument)), name
    assert np.any(jax.grad(lambda z: simsiam_loss(p, p, z, z, stop_gradient=False))(z))


@pytest.mark.parametrize(
    "loss",
    [
        partial(nt_xent, temperature=0.5),
        vicreg_loss,
        partial(barlow_twins_loss, weight=0.01),
        partial(spectral_contrastive_loss, mu=1.0),
    ],
)
def test_a_collapsed_batch_has_a_finite_gradient(loss):
    for z in (jnp.zeros((6, 4)), jnp.ones((6, 4))):
        assert np.isfinite(jax.jit(jax.grad(loss))(z, z)).all()


def test_mistakes_are_one_clear_line():
    z, unit = random(4, 3), jnp.eye(3)
    for call in (
        lambda t: nt_xent(z, z, temperature=t),
        lambda t: info_nce(z, z, unit, temperature=t),
        lambda t: swav_loss(jnp.stack([z, z]), unit, temperature=t),
    ):
        for temperature in (0.0, -1.0):
            with pytest.raises(
                ValueError, match=f"temperature is {temperature}; it must be above 0"
            ):
                call(temperature)
    for call in (
        vicreg_loss,
        partial(barlow_twins_loss, weight=0.1),
        partial(spectral_contrastive_loss, mu=1.0),
    ):
        with pytest.raises(ValueError, match="a batch of 2 images or more"):
            call(z[:1], z[:1])
    with pytest.raises(ValueError, match="epsilon is 0; it must be above 0"):
        sinkhorn(z, epsilon=0, iterations=3)
    with pytest.raises(ValueError, match="mu is 0; it must be above 0"):
        spectral_contrastive_loss(z, z, mu=0)
    with pytest.raises(ValueError, match=r"rows have lengths from 2 to 2; they must be 1"):
        swav_loss(jnp.stack([z, z]), 2 * unit)
    with pytest.raises(ValueError, match="of two views or more"):
        swav_loss(z[None], unit)
