"""LiDAR against reference values, closed forms, invariances, limits and error texts."""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from metrics import lidar, rankme, reference
from tests.metrics.seeded import seeded_views

GOLDEN = Path(__file__).parents[1] / "golden"


def few_images(n: int, d: int):
    """Expect the advice that goes with n <= d, and nothing otherwise."""
    return (
        pytest.warns(UserWarning, match=f"more than {d} images")
        if n <= d
        else contextlib.nullcontext()
    )


def ungrouped():
    """Expect the warning that goes with views that have nothing in common."""
    return pytest.warns(UserWarning, match="no more alike than views of different images")


def hadamard_views(variances: list[float], widths: list[float]) -> np.ndarray:
    """Class means of covariance diag(variances), views at +- width on each axis: [16, 16, 8]."""
    means = scipy.linalg.hadamard(16)[:, 1:9] * np.sqrt(variances)
    offsets = np.diag(widths)
    return means[:, None] + np.concatenate([offsets, -offsets])


@pytest.mark.parametrize("case", ["lidar_a", "lidar_b", "lidar_c"])
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lidar_bessel", {}),
        ("lidar", {"unbiased": False}),
        ("lidar_eps0", {"unbiased": False, "eps": 0}),
        ("lidar_delta0.001", {"unbiased": False, "delta": 1e-3}),
        ("lidar_delta1e-06", {"unbiased": False, "delta": 1e-6}),
        ("lidar_delta1e-08", {"unbiased": False, "delta": 1e-8}),
    ],
)
def test_equals_the_reference(case, as_array, name, options):
    golden = np.load(GOLDEN / f"{case}.npz")
    embeddings = as_array(golden["in.embeddings"])
    with few_images(embeddings.shape[0], embeddings.shape[2]):
        value = lidar(embeddings, **options)
    np.testing.assert_allclose(value, golden[f"paper.f64.{name}"], rtol=1e-9)


@pytest.mark.parametrize(
    ("variances", "first_width", "expected"),
    [
        ([1] * 8, 2, 8),
        ([4, 2, 1, 1, 0.5, 0.5, 0.25, 0.25], 2, 5.299375109367333),
        ([1] * 8, 6, 7.359486343679038),
        ([4, 2, 1, 1, 0.5, 0.5, 0.25, 0.25], 6, 6.316008063717407),
    ],
)
@pytest.mark.parametrize("unbiased", [True, False])
def test_closed_form(variances, first_width, expected, unbiased):
    views = hadamard_views(variances, [first_width] + [2] * 7)
    assert lidar(views, delta=0, eps=0, unbiased=unbiased) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "d32", "d256"),
    [
        ({}, 27.069971, 112.945689),
        ({"eps": 0}, 27.069743, 112.923912),
        ({"unbiased": False}, 27.053826, 112.837484),
        ({"delta": 1e-8}, 27.143847, 114.640347),
        ({"delta": 1e-6}, 27.143753, 114.528299),
        ({"delta": 1e-2}, 23.110465, 98.514884),
        ({"delta": 1.0}, 14.563849, 55.629317),
        ({"delta": 0, "eps": 0}, 27.143619, 114.617767),
    ],
)
def test_seeded_table(options, d32, d256):
    assert lidar(seeded_views(32), **options) == pytest.approx(d32, abs=1e-6)
    with few_images(200, 256):
        assert lidar(seeded_views(256), **options) == pytest.approx(d256, abs=1e-6)


def test_wrong_grouping_shows_in_the_value_and_in_a_warning():
    views = seeded_views(32)
    shuffled = np.random.default_rng(1).permutation(views.reshape(-1, 32)).reshape(views.shape)
    with ungrouped():
        assert lidar(shuffled) == pytest.approx(29.319042, abs=1e-6)
    with ungrouped(), pytest.warns(UserWarning, match=r"If the axes are \[q, n, d\]"):
        assert lidar(views.transpose(1, 0, 2)) == pytest.approx(5.990272, abs=1e-6)


@pytest.mark.parametrize("q", [2, 10])
def test_weak_signal_is_no_wrong_grouping(q):
    rng = np.random.default_rng(0)
    signal = np.zeros((600, 1, 64))
    signal[..., :8] = rng.standard_normal((600, 1, 8)) * 0.7
    lidar(signal + rng.standard_normal((600, q, 64)))


@pytest.mark.parametrize(("n", "d"), [(60, 24), (12, 24)])
@pytest.mark.parametrize("eps", [1e-7, 1e-3])
def test_equals_the_definition_in_both_forms(n, d, eps):
    views = seeded_views(d, n=n, q=5)
    with few_images(n, d):
        value = lidar(views, eps=eps)
    assert value == pytest.approx(reference.lidar(views, eps=eps), rel=1e-10)


def test_order_of_images_and_views_and_the_origin_do_not_matter():
    views, rng = seeded_views(32), np.random.default_rng(3)
    assert lidar(rng.permutation(views)) == pytest.approx(lidar(views), rel=1e-10)
    # Another order of the views inside every image.
    order = rng.permuted(np.tile(np.arange(8), (200, 1)), axis=1)
    reordered = np.take_along_axis(views, order[:, :, None], axis=1)
    assert lidar(reordered) == pytest.approx(lidar(views), rel=1e-10)
    assert lidar(views + 10 * rng.standard_normal(32)) == pytest.approx(lidar(views), rel=1e-10)


def test_without_ridge_any_linear_map_and_either_denominator_is_the_same():
    views = seeded_views(32)
    mapped = views @ np.random.default_rng(4).standard_normal((32, 32))
    plain = lidar(views, delta=0)
    assert lidar(mapped, delta=0) == pytest.approx(plain, rel=1e-9)
    assert lidar(views, delta=0, unbiased=False) == pytest.approx(plain, rel=1e-12)
    assert abs(lidar(0.01 * views) - lidar(views)) > 10


def test_bounds():
    with few_images(20, 32):
        assert lidar(np.repeat(np.eye(20, 32)[:, None], 5, axis=1), eps=0) == pytest.approx(
            19, rel=1e-12
        )
    isotropic = np.random.default_rng(0).standard_normal((200, 8, 32))
    with ungrouped():
        noise = lidar(isotropic, eps=0)
    assert 28 < noise <= 32 + 1e-9
    one_direction = 1e-9 * isotropic
    one_direction[..., 0] += np.arange(200)[:, None]
    assert lidar(one_direction, eps=0) == pytest.approx(1, abs=1e-6)


def test_noise_coordinates_move_rankme_but_not_lidar():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((1000, 16))
    clean = signal[:, None] + 0.1 * rng.standard_normal((1000, 10, 16))
    noisy = np.concatenate([clean, rng.standard_normal((1000, 10, 64))], axis=-1)
    assert lidar(clean) == pytest.approx(15.848, abs=1e-3)
    assert lidar(noisy) == pytest.approx(16.357, abs=1e-3)
    assert rankme(noisy[:, 0]) - rankme(clean[:, 0]) > 60


def test_zero_within_class_scatter_rests_on_the_ridge():
    means = scipy.linalg.hadamard(16)[:, 1:9].astype(float)
    assert lidar(np.repeat(means[:, None], 3, axis=1), eps=0) == pytest.approx(8, rel=1e-12)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
def test_zero_between_class_scatter_reads_one_with_a_warning(offset):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((5, 8)) + offset
    # The same five views in another order: equal class means up to rounding.
    reordered = np.stack([rng.permutation(image) for _ in range(40)])
    for embeddings in (reordered, np.full((40, 5, 8), offset)):
        with pytest.warns(UserWarning, match="no between-class scatter"):
            assert lidar(embeddings) == 1.0


def test_scatter_that_cannot_be_inverted_is_refused_without_ridge():
    rng = np.random.default_rng(0)
    views = rng.standard_normal((40, 5, 8))
    views[..., 7] = views[..., 6]
    views += 3 * views.mean(axis=1, keepdims=True)
    with pytest.raises(ValueError, match=r"cannot invert.*delta=0.*delta=0\.0001"):
        lidar(views, delta=0)
    assert lidar(views) > 1
    with (
        pytest.warns(UserWarning, match="delta decides"),
        ungrouped(),
        pytest.raises(ValueError, match="more views"),
    ):
        lidar(rng.standard_normal((5, 2, 8)), delta=0)


spoilt = np.ones((8, 2, 4))
spoilt[1, 0, 2:], spoilt[5, 1, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((8, 4)), r"axes \[n, q, d\].*shape \(8, 4\).*[Rr]eshape"),
        (np.ones((8, 2, 4), int), r"floating-point.*int64.*astype\('float32'\)"),
        (spoilt, r"finite embeddings.*3 of 64 numbers in 2 rows.*first at \[1, 0, 2\]"),
        (np.full((8, 2, 4), 1e200), r"reach 1e\+200.*overflow float64.*Divide"),
        (np.array([[1.0], [2.0, 3.0]], object), "floating-point.*object.*different lengths"),
        (np.ones((1, 2, 4)), "at least 2 images.*n=1.*Pass more images"),
        (np.ones((8, 1, 4)), r"at least 2 views.*q=1.*np\.stack\(views, axis=1\)"),
    ],
)
def test_bad_embeddings_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        lidar(embeddings)


@pytest.mark.parametrize("name", ["delta", "eps"])
def test_bad_constants_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} >= 0.*{name}=-1"):
        lidar(np.ones((8, 2, 4)), **{name: -1})


@pytest.mark.parametrize(
    ("n", "q", "advice"),
    [(8, 3, "cannot exceed n - 1 = 7"), (6, 2, r"n \* \(q - 1\) = 6 <= d = 8")],
)
def test_too_few_images_warn_and_say_what_to_do(n, q, advice):
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match=f"{advice}.*more than 8 images"):
        lidar(rng.standard_normal((n, 1, 8)) + 0.1 * rng.standard_normal((n, q, 8)))


def test_float32_callers_get_float64_accuracy_and_keep_float32():
    views = seeded_views(32).astype(np.float32)
    value = lidar(jnp.asarray(views))
    assert isinstance(value, float)
    assert (value.settings["dtype"], value.settings["products"]) == ("float32", "float64")
    assert value == pytest.approx(lidar(views.astype(np.float64)), rel=1e-12)
    assert value == pytest.approx(lidar(seeded_views(32)), rel=1e-5)
    assert jnp.ones(3).dtype == jnp.float32
    assert not jax.config.jax_enable_x64


def test_the_callers_array_is_not_changed():
    views = seeded_views(8)
    before = views.copy()
    lidar(views)
    np.testing.assert_array_equal(views, before)
