"""Dimensions and cluster learnability against known sets, brute force, limits and error texts."""

import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from metrics import neighbours
from metrics.neighbours import clid, idest, intrinsic_dimension
from tests.metrics.seeded import seeded_views


def seeded_rows(d: int) -> np.ndarray:
    """One view of the seeded data: [200, d]."""
    return seeded_views(d)[:, 0].copy()


def clid_dimension(rows: np.ndarray) -> float:
    return clid(rows).dimension


def tight_clusters(clusters: int, size: int, width: float, d: int = 16) -> np.ndarray:
    """Directions at random, and rows around each: [clusters * size, d]."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.standard_normal((clusters, d)), size, axis=0)
    return centres + width * rng.standard_normal(centres.shape)


@pytest.mark.parametrize(
    ("fit", "d32", "d256"), [("likelihood", 14.706961, 40.353025), ("line", 14.517646, 41.588425)]
)
def test_seeded_table(fit, d32, d256):
    assert intrinsic_dimension(seeded_rows(32), fit=fit) == pytest.approx(d32, abs=1e-6)
    assert intrinsic_dimension(seeded_rows(256), fit=fit) == pytest.approx(d256, abs=1e-6)


def test_twonn_closed_form():
    # Nearest and second distances 1, 2 / 1, 3 / 2, 3 / 3, 5.
    embeddings = np.array([[0.0], [1.0], [3.0], [6.0]])[:, [0, 0]]
    ratios = np.log([3.0, 2.0, 1.5, 5 / 3])
    assert intrinsic_dimension(embeddings) == pytest.approx(3 / ratios.sum(), rel=1e-12)
    lowest, heights = np.sort(ratios)[:3], -np.log([0.75, 0.5, 0.25])
    line = heights @ lowest / (lowest @ lowest)
    assert intrinsic_dimension(embeddings, fit="line") == pytest.approx(line, rel=1e-12)


@pytest.mark.parametrize("fit", ["likelihood", "line"])
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_twonn_reads_the_dimension_of_a_cube_in_any_space(dimension, fit):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((50, 50)))[0][:dimension]
    embeddings = rng.uniform(size=(1500, dimension)) @ rotation
    assert intrinsic_dimension(embeddings, fit=fit) == pytest.approx(dimension, rel=0.1)


def test_twonn_in_blocks_equals_all_distances(monkeypatch):
    embeddings = seeded_rows(32)[:101]
    distances = np.sort(cdist(embeddings, embeddings), axis=1)
    expected = 100 / np.log(distances[:, 2] / distances[:, 1]).sum()
    for entries in (2**22, 7 * 101, 1):
        monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", entries)
        assert intrinsic_dimension(embeddings) == pytest.approx(expected, rel=1e-12)


def test_twonn_keeps_the_digits_of_small_distances():
    rng = np.random.default_rng(0)
    # Far from their mean, rows 1e-7 apart look the same to differences of squared norms.
    near = np.concatenate([1e-7 * rng.standard_normal((150, 3)) + side for side in (-1, 1)])
    distances = np.sort(cdist(near, near), axis=1)
    expected = 299 / np.log(distances[:, 2] / distances[:, 1]).sum()
    assert intrinsic_dimension(near) == pytest.approx(expected, rel=1e-6)
    far = intrinsic_dimension(seeded_rows(32) + 1e8)
    assert far == pytest.approx(intrinsic_dimension(seeded_rows(32)), rel=1e-5)


def test_twonn_keeps_one_of_exact_duplicates():
    embeddings = seeded_rows(32)
    embeddings[0, 0] = 0.0
    repeated = np.concatenate([embeddings, embeddings[:30], embeddings[:1]])
    repeated[-1, 0] = -0.0
    value = intrinsic_dimension(repeated)
    assert value == pytest.approx(intrinsic_dimension(embeddings), rel=1e-12)
    assert value.settings == {
        "n": 231,
        "d": 32,
        "fit": "likelihood",
        "duplicates": 31,
        "dtype": "float64",
    }


@pytest.mark.parametrize("metric", [intrinsic_dimension, clid_dimension, idest])
def test_rotation_scale_and_origin_do_not_matter(metric):
    embeddings, rng = tight_clusters(100, 7, 0.3), np.random.default_rng(1)
    expected = metric(embeddings)
    rotated = embeddings @ np.linalg.qr(rng.standard_normal((16, 16)))[0]
    for same in (rotated, 1e60 * embeddings, 1e-200 * embeddings):
        assert metric(same) == pytest.approx(expected, rel=1e-7)
    if metric is not idest:  # which draws its subsets by position
        assert metric(rng.permutation(embeddings)) == pytest.approx(expected, rel=1e-7)
    if metric is not clid_dimension:  # which reads directions from the origin
        assert metric(embeddings + 5) == pytest.approx(expected, rel=1e-7)
    stretched = embeddings * np.r_[100, np.ones(15)]
    assert metric(stretched) != pytest.approx(expected, rel=0.05)


def test_orthogonal_rows_and_grids_have_no_dimension():
    grid = 0.1 * np.stack(np.meshgrid(np.arange(6), np.arange(6)), axis=-1).reshape(-1, 2)
    for embeddings, fit in itertools.product((np.eye(12), grid), ("likelihood", "line")):
        with pytest.raises(
            ValueError, match="intrinsic_dimension.*equally far.*Pass more embeddings"
        ):
            intrinsic_dimension(embeddings, fit=fit)


def test_tiny_differences_beside_large_ones_give_a_number():
    rows = seeded_rows(32)
    pair = np.zeros((2, 32))
    pair[0, 0] = 1e-200
    assert 0 < intrinsic_dimension(np.concatenate([rows, pair])) < intrinsic_dimension(rows)


def test_clid_tells_clusters_from_noise():
    # As many tight clusters as k-means looks for.
    learnable = clid(tight_clusters(20, 20, 0.01))
    noise = clid(np.random.default_rng(0).standard_normal((400, 16)))
    assert learnable.learnability > 0.95
    assert 0.1 < noise.learnability < 0.6
    assert learnable.learnability.settings == {
        "n": 400,
        "d": 16,
        "clusters": 20,
        "seed": 0,
        "dtype": "float64",
    }


def test_clid_reads_directions():
    embeddings = seeded_rows(32)
    lengths = np.random.default_rng(1).uniform(0.1, 10, (200, 1))
    first, same = clid(embeddings), clid(lengths * embeddings)
    assert same == pytest.approx(first, rel=1e-8)
    rows = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert first.dimension == pytest.approx(intrinsic_dimension(rows), rel=1e-8)
    assert first.dimension != pytest.approx(intrinsic_dimension(embeddings), rel=0.01)


def test_cluster_accuracy_by_hand(monkeypatch):
    # Two clusters that lie apart, one row of the first among the second, and a cluster of one.
    angles = np.radians([0, 1, 2, 3, 92.5, 90, 91, 92, 93, 180])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 2])
    for entries in (2**22, 1):
        monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", entries)
        for seed in range(8):
            # The split, drawn again: half of each cluster, rounded down, in a random order.
            rng = np.random.default_rng(seed)
            query = np.concatenate(
                [
                    rng.permutation(np.flatnonzero(labels == c))[: (5, 4, 1)[c] // 2]
                    for c in range(3)
                ]
            )
            reference = np.setdiff1d(np.arange(10), query)
            assert len(query) == 4
            assert 9 in reference
            nearest = [reference[np.argmax(rows[reference] @ rows[i])] for i in query]
            accuracy = neighbours._cluster_accuracy(rows, labels, np.random.default_rng(seed))
            assert accuracy == np.mean(labels[nearest] == labels[query])


@pytest.mark.parametrize("metric", [lambda rows, seed: clid(rows, seed=seed).learnability, idest])
def test_seeds_repeat_and_differ(metric):
    embeddings = np.random.default_rng(0).standard_normal((700, 6))
    first, again, other = (metric(embeddings, seed=seed) for seed in (1, 1, 2))
    assert again == first
    assert other != first
    assert other == pytest.approx(first, rel=0.3)


@pytest.mark.parametrize(
    ("dimension", "low", "high"),
    [(1, 1.0, 1.02), (2, 1.85, 2.1), (5, 4.3, 5.0), (10, 7.9, 8.9), (20, 14.0, 15.8)],
)
def test_idest_of_a_cube(dimension, low, high):
    embeddings = np.random.default_rng(0).uniform(size=(2000, dimension))
    assert low < idest(embeddings) < high


def test_idest_of_a_helix_and_of_a_plane():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 6 * np.pi, 2000)
    assert idest(np.stack([np.cos(angle), np.sin(angle), angle / 5], axis=1)) == pytest.approx(
        1.003, abs=0.01
    )
    plane = rng.uniform(size=(2000, 2)) @ rng.standard_normal((2, 50))
    assert idest(plane) == pytest.approx(1.94, abs=0.1)


def test_spanning_tree_equals_scipy():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 5))
    for size in (2, 3, 40, 60):
        subset = rng.choice(60, size, replace=False)
        edges = neighbours._spanning_tree(rows @ rows.T, subset)
        tree = minimum_spanning_tree(cdist(rows[subset], rows[subset])).tocoo()
        expected = {
            frozenset((subset[i], subset[j])) for i, j in zip(tree.row, tree.col, strict=True)
        }
        assert {frozenset(edge) for edge in edges.tolist()} == expected


def test_idest_by_definition():
    embeddings = seeded_rows(32)
    rng, sizes, lengths = np.random.default_rng(3), [50, 90, 130, 170], []
    for size in sizes:
        subset = rng.choice(200, size, replace=False)
        lengths.append(minimum_spanning_tree(cdist(embeddings[subset], embeddings[subset])).sum())
    slope = np.polyfit(np.log(sizes), np.log(lengths), 1)[0]
    value = idest(embeddings, smallest=50, step=40, seed=3)
    assert value == pytest.approx(1 / (1 - slope), rel=1e-9)
    assert value.settings == {
        "n": 200,
        "d": 32,
        "smallest": 50,
        "step": 40,
        "seed": 3,
        "dtype": "float64",
    }


def test_trees_that_do_not_grow_are_refused():
    rng = np.random.default_rng(0)
    few = rng.standard_normal((10, 5))[rng.integers(10, size=700)]
    for embeddings in (
        few,
        np.ones((700, 3)),
        np.zeros((700, 3)),
        np.tile(rng.standard_normal(5), (700, 1)),
    ):
        with pytest.raises(ValueError, match=r"0 < m < 1, but got m=.*do not grow.*collapsed"):
            idest(embeddings)


def test_trees_that_grow_too_fast_are_refused():
    # Orthogonal rows are equally far, so n of them are joined by n - 1 edges of one length.
    with pytest.raises(ValueError, match=r"0 < m < 1, but got m=1\.\d+: the trees grow as fast"):
        idest(np.eye(100), smallest=20, step=20)


def test_large_and_small_samples_are_refused_with_what_to_pass():
    with pytest.raises(
        ValueError, match=r"at most n=20000.*got n=20001.*rng\.choice\(embeddings, 20000"
    ):
        idest(np.ones((20001, 1), np.float16))
    embeddings = np.random.default_rng(0).uniform(size=(600, 2))
    with pytest.raises(
        ValueError, match="got n=600.*more than 600 embeddings.*smallest=60, step=60"
    ):
        idest(embeddings)
    assert 1.5 < idest(embeddings, smallest=60, step=60) < 2.5
    with pytest.raises(ValueError, match="smallest=2, step=1"):
        idest(embeddings[:5])
    assert idest(np.concatenate([embeddings, embeddings[:1] + 0.1])) > 1


@pytest.mark.filterwarnings("ignore")  # as in a program that does not turn warnings into errors
@pytest.mark.parametrize("row", [np.zeros(4), np.ones(4), np.linspace(-0.3, 0.7, 4)])
def test_collapsed_embeddings_are_refused(row):
    with pytest.raises(
        ValueError, match=r"intrinsic_dimension needs 3 different.*got 1 among 50.*collapsed"
    ):
        intrinsic_dimension(np.tile(row, (50, 1)))
    lengths = np.random.default_rng(0).uniform(1, 2, (50, 1))
    for embeddings in (np.tile(row, (50, 1)), lengths * row):
        with pytest.raises(ValueError, match=r"clid needs 7 clusters.*fewer directions.*collapsed"):
            clid(embeddings)


def test_too_few_embeddings_are_refused():
    with pytest.raises(ValueError, match="needs 3 different embeddings.*got 1 among 1.*Pass more"):
        intrinsic_dimension(np.ones((1, 4)))
    with pytest.raises(ValueError, match="clid needs at least 4 embeddings.*n=3"):
        clid(np.eye(3))


@pytest.mark.parametrize("metric", [intrinsic_dimension, clid, idest])
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((2, 3, 4)), r"axes \[n, d\].*shape \(2, 3, 4\)"),
        (np.ones((700, 3), int), r"floating-point.*int64"),
        (np.ones((0, 3)), r"at least one embedding"),
        (np.full((700, 2), np.nan), "finite embeddings.*NaN or infinity"),
    ],
)
def test_bad_embeddings_are_refused(metric, embeddings, message):
    with pytest.raises(ValueError, match=message) as caught:
        metric(embeddings)
    assert metric.__name__ in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "option", "value", "message"),
    [
        (intrinsic_dimension, "fit", "base", "fit='likelihood' and fit='line', but got fit='base'"),
        (clid, "seed", -1, "clid needs an integer seed >= 0, but got seed=-1"),
        (idest, "seed", 0.5, "idest needs an integer seed >= 0, but got seed=0.5"),
        (idest, "smallest", 1, "idest needs an integer smallest >= 2, but got smallest=1"),
        (idest, "step", 0, "idest needs an integer step >= 1, but got step=0"),
    ],
)
def test_bad_options_are_refused(metric, option, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metric(seeded_rows(8), **{option: value})


def test_callers_get_float64_accuracy_and_keep_their_array():
    embeddings = np.random.default_rng(0).standard_normal((700, 8)).astype(np.float32)
    before = embeddings.copy()
    for metric in (intrinsic_dimension, clid_dimension, idest):
        value = metric(jnp.asarray(embeddings))
        assert value == pytest.approx(metric(embeddings.astype(np.float64)), rel=1e-12)
        assert value == metric(embeddings)
        assert value.settings["dtype"] == "float32"
    np.testing.assert_array_equal(embeddings, before)
