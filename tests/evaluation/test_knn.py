"""The kNN classifier against a loop over rows, its tie rules, its limits and its error texts."""

import jax.numpy as jnp
import numpy as np
import pytest

from sslx.evaluation import knn
from sslx.evaluation.knn import Labelled


def knn_accuracy(train, labels, test, test_labels, **options) -> float:
    return knn.knn_accuracy(Labelled(train, labels), Labelled(test, test_labels), **options)


def blobs(n: int, seed: int, classes: int = 5, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(0).standard_normal((classes, d))
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    return (centres[labels] + 1.2 * rng.standard_normal((n, d))).astype(np.float32), labels


def naive_accuracy(train, train_labels, test, test_labels, k, temperature, weighted):
    correct = 0
    for row, label in zip(test.astype(np.float64), test_labels, strict=True):
        rows = train.astype(np.float64)
        similarities = rows @ row / np.linalg.norm(rows, axis=1) / np.linalg.norm(row)
        nearest = np.argsort(-similarities, kind="stable")[:k]
        votes = {}
        for index in nearest:
            vote = np.exp(similarities[index] / temperature) if weighted else 1
            votes[train_labels[index]] = votes.get(train_labels[index], 0) + vote
        correct += min(votes, key=lambda candidate: (-votes[candidate], candidate)) == label
    return correct / len(test)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5), (150, 0.07)])
def test_equals_a_loop_over_rows(weighted, k, temperature):
    data = *blobs(150, seed=1), *blobs(83, seed=2)
    expected = naive_accuracy(*data, k, temperature, weighted)
    value = knn_accuracy(*data, k=k, temperature=temperature, weighted=weighted)
    assert type(value) is float
    assert value == pytest.approx(expected, abs=1e-12)


def test_weights_and_temperature_matter():
    data = *blobs(150, seed=1), *blobs(83, seed=2)
    sharp, soft = (
        knn_accuracy(*data, k=150, temperature=temperature) for temperature in (0.07, 1e6)
    )
    # With all training rows as neighbours and flat votes the largest class wins everywhere.
    assert sharp > soft + 0.3
    assert soft == pytest.approx(knn_accuracy(*data, k=150, weighted=False))


def test_default_is_twenty_neighbours_at_temperature_007():
    data = *blobs(150, seed=1), *blobs(83, seed=2)
    assert knn_accuracy(*data) == naive_accuracy(*data, 20, 0.07, True)


def test_length_of_a_row_does_not_matter():
    train, train_labels, test, test_labels = *blobs(150, seed=1), *blobs(83, seed=2)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (150, 1))
    assert knn_accuracy(train * lengths, train_labels, test / 3, test_labels) == pytest.approx(
        knn_accuracy(train, train_labels, test, test_labels)
    )


@pytest.mark.parametrize("weighted", [True, False])
def test_equal_votes_go_to_the_smallest_label(weighted):
    train = np.array([[1, 0], [1, 0]], np.float32)
    for labels in ([9, 4], [4, 9]):
        assert (
            knn_accuracy(train, np.array(labels), train[:1], np.array([4]), k=2, weighted=weighted)
            == 1
        )
    # The first of two equally near rows is the only neighbour.
    assert (
        knn_accuracy(train, np.array([9, 4]), train[:1], np.array([9]), k=1, weighted=weighted) == 1
    )


def test_labels_may_have_gaps_and_unseen_ones_count_as_wrong():
    train, labels = blobs(60, seed=1)
    renamed = np.array([-7, 3, 100, 2**40, 5])[labels]
    assert knn_accuracy(train, renamed, train, renamed, k=1) == 1
    unseen = renamed.copy()
    unseen[:15] = 77
    assert knn_accuracy(train, renamed, train, unseen, k=1) == 0.75


def test_low_temperature_and_zero_rows_do_not_overflow():
    train, labels = blobs(60, seed=1)
    train[0] = 0
    # At temperature 1e-4, exp(similarity / temperature) itself is far beyond float32.
    expected = knn_accuracy(train, labels, train[1:], labels[1:], k=1)
    assert (
        knn_accuracy(train, labels, train[1:], labels[1:], k=20, temperature=1e-4) == expected == 1
    )


def test_blocks_do_not_change_the_result(monkeypatch):
    data = *blobs(90, seed=1), *blobs(41, seed=2)
    whole = knn_accuracy(*data, k=5)
    monkeypatch.setattr(knn, "_BLOCK_ENTRIES", 90 * 7)
    knn._predict.clear_cache()
    assert knn_accuracy(*data, k=5) == whole
    knn._predict.clear_cache()


def test_jax_arrays_and_half_precision_are_accepted():
    train, labels = blobs(60, seed=1)
    half = jnp.asarray(train, jnp.bfloat16)
    assert knn_accuracy(half, jnp.asarray(labels), train, labels.astype(np.uint8), k=1) > 0.9


TRAIN, LABELS = blobs(30, seed=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 31}, r"1 <= k <= 30.*k=31.*k=20"),
        ({"k": 0}, r"1 <= k <= 30.*k=0"),
        ({"temperature": 0.0}, "temperature > 0.*0.07"),
        ({"train": TRAIN[0]}, r"train features must be a non-empty matrix \[n, d\].*\(12,\)"),
        ({"test": TRAIN[:, :3]}, "width 3.*width 12.*same layer"),
        ({"test": TRAIN * np.nan}, "test features must be finite.*NaN"),
        ({"train": TRAIN.astype(np.float64) * 1e300}, "train features must be finite.*rescale"),
        ({"labels": LABELS[:9]}, r"train labels.*30 rows.*shape \(9,\)"),
        ({"test_labels": LABELS.astype(float)}, "test labels must be one integer.*float64"),
        ({"labels": np.eye(5, dtype=int)[LABELS]}, r"shape \(30, 5\).*labels\.argmax\(axis=1\)"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"train": TRAIN, "labels": LABELS, "test": TRAIN, "test_labels": LABELS, "k": 5}
    with pytest.raises(ValueError, match=message):
        knn_accuracy(**arguments | change)
