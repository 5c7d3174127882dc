"""RankMe and the ranks of spectra against known values, closed forms, limits and error texts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metrics import (
    augmented_rankme,
    effective_rank,
    nesum,
    participation_ratio,
    rankme,
    reference,
    singular_values,
    stable_rank,
)
from tests.metrics.seeded import seeded_views

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("case", ["rankme_a", "rankme_b", "rankme_c"])
@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_equals_the_reference(case, as_array):
    golden = np.load(GOLDEN / f"{case}.npz")
    embeddings = as_array(golden["in.embeddings"])
    np.testing.assert_allclose(rankme(embeddings), golden["paper.f64.rankme"], rtol=1e-9)
    np.testing.assert_allclose(
        singular_values(embeddings), golden["paper.f64.singular_values"], rtol=1e-9
    )


@pytest.mark.parametrize(
    ("d", "one_view", "all_views"), [(32, 23.316696, 23.646550), (256, 139.120141, 181.751374)]
)
def test_seeded_table(d, one_view, all_views):
    views = seeded_views(d)
    assert rankme(views[:, 0]) == pytest.approx(one_view, abs=1e-6)
    assert rankme(views.reshape(-1, d)) == pytest.approx(all_views, abs=1e-6)


@pytest.mark.parametrize("shape", [(40, 16), (16, 40)])
def test_rank_of_orthogonal_directions_is_their_number(shape):
    embeddings = np.zeros(shape)
    embeddings[:5, :5] = 3 * np.eye(5)
    assert rankme(embeddings, eps=0) == pytest.approx(5, rel=1e-12)
    # eps enters once for each of the min(n, d) singular values, and nothing is renormalised
    # afterwards.
    p = np.array([0.2] * 5 + [0.0] * 11) + 1e-3
    assert rankme(embeddings, eps=1e-3) == pytest.approx(np.exp(-np.sum(p * np.log(p))), rel=1e-12)


def decaying(shape: tuple[int, int], spectrum: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, len(spectrum))))[0] for size in shape)
    return (left * spectrum) @ right.T


SPECTRA = {
    "geometric": lambda k, condition: condition ** (-k / (len(k) - 1)),
    "power law": lambda k, condition: (k + 1) ** (-np.log(condition) / np.log(len(k))),
    "two levels": lambda k, condition: np.where(k < len(k) // 2, 1, 1 / condition),
    "one direction": lambda k, condition: np.where(k < 1, 1, 1 / condition),
}


@pytest.mark.parametrize("shape", SPECTRA)
@pytest.mark.parametrize("condition", [1e2, 1e5, 1e6, 1e7, 1e8, 1e10])
@pytest.mark.parametrize("n", [900, 160, 60])
def test_decaying_spectra_keep_nine_digits(shape, condition, n):
    spectrum = SPECTRA[shape](np.arange(min(n, 160)), condition)
    embeddings = decaying((n, 160), spectrum)
    exact = reference.rankme(embeddings)
    assert rankme(embeddings) == pytest.approx(exact, rel=1e-9)
    assert rankme(jnp.asarray(embeddings, jnp.float32)) == pytest.approx(exact, rel=1e-4)
    if condition <= 1e8:
        assert rankme(embeddings, rtol=1e-7) == pytest.approx(exact, rel=1e-7)


def test_small_singular_values_survive():
    expected = 10.0 ** -np.arange(12)
    embeddings = decaying((300, 20), expected)
    # The Gram matrix alone would lose everything below 1e-8 of the largest value.
    np.testing.assert_allclose(singular_values(embeddings)[:12], expected, rtol=1e-3, atol=1e-15)


@pytest.mark.parametrize(
    ("metric", "d32", "d256"),
    [
        (nesum, 5.080183, 9.866735),
        (stable_rank, 5.080432, 9.892524),
        (participation_ratio, 10.399777, 38.090177),
    ],
)
def test_relatives_in_the_seeded_table(metric, d32, d256):
    assert metric(seeded_views(32)[:, 0]) == pytest.approx(d32, abs=1e-6)
    assert metric(seeded_views(256)[:, 0]) == pytest.approx(d256, abs=1e-6)


def test_effective_rank_is_that_of_the_centred_matrix():
    embeddings = seeded_views(32)[:, 0] + 50
    centred = embeddings - embeddings.mean(axis=0)
    assert effective_rank(embeddings) == pytest.approx(rankme(centred, eps=0), rel=1e-9)
    assert rankme(embeddings) < 3
    assert stable_rank(centred) == pytest.approx(nesum(embeddings), rel=1e-9)


@pytest.mark.parametrize("metric", [effective_rank, nesum, participation_ratio, stable_rank])
@pytest.mark.parametrize("offset", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("shape", [(50, 8), (3, 8), (1, 8)])
def test_equal_rows_read_one(metric, offset, shape):
    assert metric(np.full(shape, offset)) == pytest.approx(1, rel=1e-12)


def test_augmented_rankme_takes_all_views():
    views = seeded_views(32)
    value = augmented_rankme(views)
    assert value == pytest.approx(23.646550, abs=1e-6)
    assert (value.settings["n"], value.settings["q"], value.settings["d"]) == (200, 8, 32)
    with pytest.raises(ValueError, match=r"augmented_rankme.*\[n, q, d\]"):
        augmented_rankme(views[:, 0])


def test_mean_offset_counts_because_nothing_is_centred():
    embeddings = np.random.default_rng(0).standard_normal((256, 32))
    assert rankme(embeddings) > 30
    assert rankme(embeddings + 1000.0) < 2
    collapsed = 1 + 1e-6 * np.random.default_rng(1).standard_normal((256, 32))
    assert rankme(collapsed) == pytest.approx(1.0, abs=0.01)


def test_scale_and_order_do_not_matter():
    embeddings = np.random.default_rng(0).standard_normal((64, 24))
    shuffled = np.random.default_rng(1).permutation(embeddings)
    rotated = embeddings @ np.linalg.qr(np.random.default_rng(2).standard_normal((24, 24)))[0]
    for same in (1e-6 * embeddings, 1e6 * embeddings, shuffled, rotated):
        assert rankme(same) == pytest.approx(rankme(embeddings), rel=1e-12)


def test_zero_embeddings_warn_and_read_one():
    with pytest.warns(UserWarning, match="all embeddings are zero"):
        assert rankme(np.zeros((8, 4))) == 1.0


@pytest.mark.parametrize(
    "metric", [rankme, effective_rank, nesum, stable_rank, participation_ratio, singular_values]
)
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


@pytest.mark.parametrize("eps", [-1e-7, float("nan"), float("inf")])
def test_bad_eps_is_refused(eps):
    with pytest.raises(ValueError, match="eps >= 0.*eps="):
        rankme(np.eye(3), eps=eps)


@pytest.mark.parametrize("metric", [rankme, effective_rank])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_callers_keep_their_precision(metric, dtype):
    embeddings = jax.random.normal(jax.random.key(0), (32, 8)).astype(dtype)
    value = metric(embeddings)
    assert isinstance(value, float)
    assert value.settings["dtype"] == jnp.dtype(dtype).name
    assert value == pytest.approx(metric(np.asarray(embeddings, np.float64)), rel=1e-12)
    assert embeddings.dtype == dtype
    assert jnp.ones(3).dtype == jnp.float32
    assert jax.jit(lambda x: x * 2)(np.ones(3)).dtype == jnp.float32
    assert not jax.config.jax_enable_x64


def test_sharded_embeddings_give_the_same_value():
    embeddings = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(embeddings, jax.NamedSharding(mesh, jax.P("data")))
    assert rankme(sharded) == pytest.approx(rankme(embeddings), rel=1e-12)
