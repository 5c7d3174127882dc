"""Measures on the unit sphere against closed forms, brute force, limits and error texts."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from metrics import directions
from metrics.directions import alignment, feature_std, mean_cosine, self_clustering, uniformity
from tests.metrics.seeded import seeded_views

SINGLE_VIEW = [feature_std, mean_cosine, uniformity, self_clustering]


def units(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def metric_and_data(metric, embeddings: np.ndarray) -> float:
    """The metric of views [n, q, d], or of the first view for a metric of one view."""
    return metric(embeddings if metric is alignment else embeddings[:, 0])


@pytest.mark.parametrize(
    ("metric", "d32", "d256"),
    [
        (uniformity, -3.404622, -3.858815),
        (alignment, 0.863576, 1.126092),
        (self_clustering, 0.049465, 0.014462),
    ],
)
def test_seeded_table(metric, d32, d256):
    assert metric_and_data(metric, seeded_views(32)) == pytest.approx(d32, abs=1e-6)
    assert metric_and_data(metric, seeded_views(256)) == pytest.approx(d256, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(40, 8), (8, 40)])
def test_equals_brute_force(n, d):
    views = seeded_views(d, n=n, q=3)
    rows = units(views[:, 0])
    pairs = list(itertools.combinations(range(n), 2))
    cosines = np.array([rows[i] @ rows[j] for i, j in pairs])
    distances = np.array([np.linalg.norm(rows[i] - rows[j]) for i, j in pairs])
    assert mean_cosine(views[:, 0]) == pytest.approx(cosines.mean(), abs=1e-14)
    assert self_clustering(views[:, 0]) == pytest.approx(
        (np.mean(cosines**2) - 1 / d) / (1 - 1 / d), abs=1e-14
    )
    for t in (0.5, 2, 10):
        expected = np.log(np.mean(np.exp(-t * distances**2)))
        assert uniformity(views[:, 0], t=t) == pytest.approx(expected, rel=1e-12)
    for alpha in (0.5, 1, 2, 3):
        powers = [
            np.linalg.norm(units(x[a]) - units(x[b])) ** alpha
            for x in views
            for a, b in [(0, 1), (0, 2), (1, 2)]
        ]
        assert alignment(views, alpha=alpha) == pytest.approx(np.mean(powers), rel=1e-12)


def test_blocks_do_not_change_uniformity(monkeypatch):
    embeddings = seeded_views(16, n=101)[:, 0]
    expected = uniformity(embeddings)
    # Heights of 7 rows, of one row, and one row although it has more entries than a block.
    for entries in (7 * 101, 101, 1):
        monkeypatch.setattr(directions, "_BLOCK_ENTRIES", entries)
        assert uniformity(embeddings) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("d", [2, 16])
def test_closed_forms_of_both_signs_of_every_axis(d):
    embeddings = np.concatenate([np.eye(d), -np.eye(d)])
    # Of the 2d - 1 partners of a row, one is opposite (distance 2) and the others orthogonal.
    gaussian = (math.exp(-8) + (2 * d - 2) * math.exp(-4)) / (2 * d - 1)
    assert uniformity(embeddings) == pytest.approx(math.log(gaussian), rel=1e-12)
    assert mean_cosine(embeddings) == pytest.approx(-1 / (2 * d - 1), rel=1e-12)
    assert self_clustering(embeddings) == pytest.approx(
        (1 / (2 * d - 1) - 1 / d) / (1 - 1 / d), rel=1e-12
    )
    assert feature_std(embeddings) == pytest.approx(1, rel=1e-12)


def test_even_spread_over_the_sphere():
    embeddings = np.random.default_rng(0).standard_normal((3000, 16))
    # The expectation over independent uniform directions.
    limit = -4 + math.log(scipy.special.hyp0f1(8, 4))
    assert uniformity(embeddings) == pytest.approx(limit, abs=0.01)
    assert mean_cosine(embeddings) == pytest.approx(0, abs=0.002)
    assert self_clustering(embeddings) == pytest.approx(0, abs=0.002)
    assert feature_std(embeddings) == pytest.approx(1, abs=0.01)


def test_feature_std_tells_spread_from_collapse():
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((4000, 64))
    assert feature_std(embeddings) == pytest.approx(
        8 * units(embeddings).std(axis=0).mean(), rel=1e-12
    )
    assert feature_std(embeddings) == pytest.approx(1, abs=0.01)
    assert feature_std(np.outer(rng.uniform(1, 2, 50), rng.standard_normal(8))) == pytest.approx(
        0, abs=1e-12
    )
    # Two distant rows in one dimension of many: the metric does not see which features they share.
    assert feature_std(np.outer([1.0, -1.0], np.ones(8))) == pytest.approx(1, rel=1e-12)


def test_self_clustering_counts_clusters():
    rng = np.random.default_rng(0)
    line = np.outer(rng.standard_normal(60), rng.standard_normal(8))
    assert self_clustering(line) == pytest.approx(1, rel=1e-12)
    # Two orthogonal clusters of 30: a row shares its direction with 29 of 59 others.
    clusters = np.repeat(np.eye(2, 8), 30, axis=0)
    assert self_clustering(clusters) == pytest.approx((29 / 59 - 1 / 8) / (7 / 8), rel=1e-12)


@pytest.mark.parametrize("metric", [*SINGLE_VIEW, alignment])
def test_rotation_scale_and_order_do_not_matter(metric):
    views, rng = seeded_views(24, n=60, q=3), np.random.default_rng(2)
    expected = metric_and_data(metric, views)
    lengths = rng.uniform(0.1, 10, (60, 3, 1))
    rotated = views @ np.linalg.qr(rng.standard_normal((24, 24)))[0]
    for same in (lengths * views, 1e-200 * views, 1e60 * views, rng.permutation(views)):
        assert metric_and_data(metric, same) == pytest.approx(expected, rel=1e-11)
    if metric is not feature_std:  # which reads the features one by one
        assert metric_and_data(metric, rotated) == pytest.approx(expected, rel=1e-11)
    assert metric_and_data(metric, views + 1) != pytest.approx(expected, rel=0.01)


def test_order_of_views_does_not_matter_but_their_image_does():
    views, rng = seeded_views(24, n=60), np.random.default_rng(3)
    order = rng.permuted(np.tile(np.arange(8), (60, 1)), axis=1)
    reordered = np.take_along_axis(views, order[:, :, None], axis=1)
    shuffled = rng.permutation(views.reshape(-1, 24)).reshape(views.shape)
    for alpha in (2.0, 1.0):
        assert alignment(reordered, alpha=alpha) == pytest.approx(
            alignment(views, alpha=alpha), rel=1e-12
        )
    assert alignment(shuffled) > 1.5 * alignment(views)


@pytest.mark.parametrize(
    "row", [np.zeros(7), np.ones(7), np.linspace(-0.3, 0.7, 7), np.full(7, 1e-300)]
)
def test_collapsed_embeddings_read_the_limit(row):
    views = np.tile(row, (30, 4, 1))
    limits = {feature_std: 0, mean_cosine: 1, uniformity: 0, self_clustering: 1, alignment: 0}
    for metric, limit in limits.items():
        assert metric_and_data(metric, views) == pytest.approx(limit, abs=1e-14)
    assert alignment(views, alpha=0.5) == pytest.approx(0, abs=1e-7)
    assert mean_cosine(views[:, 0]) <= 1
    assert self_clustering(views[:, 0]) <= 1


def test_zero_rows_among_others():
    embeddings = np.concatenate([np.zeros((2, 3)), np.eye(3)])
    # The pair of zero rows has cosine 1, and no other pair has one.
    assert mean_cosine(embeddings) == pytest.approx(1 / 10, rel=1e-12)
    assert self_clustering(embeddings) == pytest.approx((1 / 10 - 1 / 3) / (2 / 3), rel=1e-12)
    # Zero rows lie at distance 0 from each other and 1 from the unit rows.
    expected = math.log((1 + 6 * math.exp(-2) + 3 * math.exp(-4)) / 10)
    assert uniformity(embeddings) == pytest.approx(expected, rel=1e-12)
    assert alignment(np.array([[[0.0, 0.0], [0.0, 5.0]]])) == pytest.approx(1, rel=1e-12)


def test_nearly_collapsed_embeddings_keep_their_digits():
    row, rng = np.linspace(1, 2, 9), np.random.default_rng(0)
    tangents = rng.standard_normal((40, 2, 9))
    tangents -= tangents @ row[:, None] * row / (row @ row)
    views = row + 1e-6 * tangents
    apart = 1e-12 / (row @ row)
    between = np.square(tangents[:, None, 0] - tangents[None, :, 0]).sum() / (40 * 39)
    within = np.square(tangents[:, 0] - tangents[:, 1]).sum() / 40
    assert uniformity(views[:, 0]) == pytest.approx(-2 * apart * between, rel=1e-3)
    assert alignment(views) == pytest.approx(apart * within, rel=1e-6)
    rows = units(views[:, 0])
    distances = np.array(
        [np.sum((rows[i] - rows[j]) ** 2) for i, j in itertools.combinations(range(40), 2)]
    )
    assert uniformity(views[:, 0], t=1e12) == pytest.approx(
        np.log(np.mean(np.exp(-1e12 * distances))), rel=1e-6
    )


def test_large_t_reads_the_nearest_pair():
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]])
    rows = units(embeddings)
    nearest = min(np.sum((rows[i] - rows[j]) ** 2) for i, j in [(0, 1), (0, 2), (1, 2)])
    for t in (1e4, 1e15, 1e300):
        assert uniformity(embeddings, t=t) == pytest.approx(-t * nearest - math.log(3), rel=1e-12)


@pytest.mark.parametrize("metric", [*SINGLE_VIEW, alignment])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_callers_get_float64_accuracy_and_keep_their_precision(metric, dtype):
    shape, axes = ((16, 3, 8), "nqd") if metric is alignment else ((32, 8), "nd")
    embeddings = jax.random.normal(jax.random.key(0), shape).astype(dtype)
    value = metric(embeddings)
    assert value == pytest.approx(metric(np.asarray(embeddings, np.float64)), rel=1e-14)
    assert {axis: value.settings[axis] for axis in axes} == dict(zip(axes, shape, strict=True))
    assert value.settings["dtype"] == embeddings.dtype.name
    assert embeddings.dtype == dtype
    assert not jax.config.jax_enable_x64


def test_options_are_settings():
    views = seeded_views(8, n=10)
    assert uniformity(views[:, 0], t=3).settings == {"n": 10, "d": 8, "t": 3, "dtype": "float64"}
    assert alignment(views, alpha=1).settings == {
        "n": 10,
        "q": 8,
        "d": 8,
        "alpha": 1,
        "dtype": "float64",
    }


@pytest.mark.parametrize("metric", [*SINGLE_VIEW, alignment])
def test_the_callers_array_is_not_changed(metric):
    views = seeded_views(8, n=20)
    before = views.copy()
    metric_and_data(metric, views)
    np.testing.assert_array_equal(views, before)


@pytest.mark.parametrize("metric", SINGLE_VIEW)
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((2, 3, 4)), r"axes \[n, d\].*shape \(2, 3, 4\).*[Rr]eshape"),
        (np.ones(4), r"axes \[n, d\].*shape \(4,\)"),
        (np.ones((4, 3), int), r"floating-point.*int64.*astype\('float32'\)"),
        (np.ones((0, 3)), r"at least one embedding.*\(0, 3\)"),
        (np.array([[1.0, np.nan]]), "finite embeddings.*NaN or infinity"),
        (np.array([[1.0, -np.inf]]), "finite embeddings.*NaN or infinity"),
    ],
)
def test_bad_embeddings_are_refused(metric, embeddings, message):
    with pytest.raises(ValueError, match=message) as caught:
        metric(embeddings)
    assert metric.__name__ in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((8, 4)), r"alignment.*axes \[n, q, d\].*shape \(8, 4\)"),
        (np.ones((8, 2, 4), int), "alignment.*floating-point.*int64"),
        (np.full((8, 2, 4), np.inf), "alignment.*finite embeddings"),
        (np.ones((8, 1, 4)), r"alignment.*at least 2 views.*q=1.*np\.stack\(views, axis=1\)"),
    ],
)
def test_bad_views_are_refused(embeddings, message):
    with pytest.raises(ValueError, match=message):
        alignment(embeddings)


@pytest.mark.parametrize("metric", [mean_cosine, uniformity, self_clustering])
def test_one_row_has_no_pairs(metric):
    with pytest.raises(
        ValueError, match=rf"{metric.__name__}.*at least 2.*n=1.*\(1, 4\).*more embeddings"
    ):
        metric(np.ones((1, 4)))
    assert feature_std(np.ones((1, 4))) == 0


def test_one_feature_has_no_clusters_to_tell():
    with pytest.raises(ValueError, match=r"self_clustering.*at least 2 features.*d=1.*\(5, 1\)"):
        self_clustering(np.ones((5, 1)))


@pytest.mark.parametrize("t", [0, -1.0, math.inf, math.nan])
def test_bad_t_is_refused(t):
    with pytest.raises(ValueError, match=re.escape(f"finite t > 0, but got t={t}") + ".*t=2.0"):
        uniformity(np.eye(3), t=t)


@pytest.mark.parametrize("alpha", [0, -1.0, 101, math.inf, math.nan])
def test_bad_alpha_is_refused(alpha):
    with pytest.raises(
        ValueError, match=re.escape(f"0 < alpha <= 100, but got alpha={alpha}") + ".*alpha=2.0"
    ):
        alignment(np.ones((3, 2, 4)), alpha=alpha)
