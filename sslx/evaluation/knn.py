"""k-nearest-neighbour classification on frozen features, as in DINO (arXiv 2104.14294)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

# Similarities held at one time: 64 MiB in float32, whatever the size of the training set.
_BLOCK_ENTRIES = 2**24


def knn_accuracy(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    k: int = 20,
    temperature: float = 0.07,
    weighted: bool = True,
) -> float:
    """Return the share of test rows [m, d] that their k nearest training rows [n, d] classify.

    Nearest is by cosine similarity. A neighbour votes with exp(similarity / temperature), or with 1
    if not `weighted`. Equal votes go to the smallest label, equally near neighbours are taken in
    training order, and test labels absent from training count as wrong. Raises ValueError for
    features that are not finite matrices of one width, labels [n] that are not integers, a k
    outside 1..n, and a temperature that is not positive.
    """
    train, classes, train_targets = check_split("train", train_features, train_labels)
    test, test_targets = check_test_split(train, classes, test_features, test_labels)
    if not 1 <= k <= len(train):
        raise ValueError(
            f"kNN needs 1 <= k <= {len(train)}, the number of training rows, but got k={k}. "
            f"Pass k={min(20, len(train))}, or more training rows."
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"kNN needs temperature > 0, but got {temperature}. The usual value is 0.07."
        )
    predicted = _predict(train, train_targets, test, temperature, k, len(classes), weighted)
    return float(np.mean(np.asarray(predicted) == test_targets))


def check_split(
    split: str, features: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features in float32 [n, d], the sorted classes [c], and the class index of rows [n].

    Raises ValueError if the features are not a finite, non-empty matrix or the labels are not n
    integers.
    """
    rows, label_array = np.asarray(features), np.asarray(labels)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(
            f"{split}_features must be a non-empty matrix [n, d], but got shape {rows.shape}. "
            "Pool or flatten every image's features to one row."
        )
    if label_array.shape != rows.shape[:1] or not np.issubdtype(label_array.dtype, np.integer):
        raise ValueError(
            f"{split}_labels must be one integer for each of the {len(rows)} rows of "
            f"{split}_features, but got shape {label_array.shape} and dtype {label_array.dtype}. "
            "For one-hot labels pass labels.argmax(axis=1)."
        )
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    # Squares of features must fit into float32 too, or an overflow would look like poor accuracy.
    if not np.abs(rows).max() < 1e15:
        raise ValueError(
            f"{split}_features must be finite and below 1e15 in size, but they hold NaN, infinity "
            "or larger values. Look at the checkpoint they come from, or rescale them."
        )
    classes, targets = np.unique(label_array, return_inverse=True)
    return rows, classes, targets.astype(np.int32)


def check_test_split(
    train: np.ndarray, classes: np.ndarray, features: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return features in float32 [m, d], and the index [m] of each row in the training classes [c].

    The index is -1 for a class that is not there. Raises ValueError as `check_split` does, and if
    the width differs from that of the training features.
    """
    test, test_classes, test_targets = check_split("test", features, labels)
    if test.shape[1] != train.shape[1]:
        raise ValueError(
            f"test_features have width {test.shape[1]}, but train_features have width "
            f"{train.shape[1]}. Take both from the same layer of the same checkpoint."
        )
    position = {label: index for index, label in enumerate(classes.tolist())}
    indices = [position.get(label, -1) for label in test_classes.tolist()]
    return test, np.array(indices, np.int32)[test_targets]


@partial(jax.jit, static_argnames=("k", "num_classes", "weighted"))
def _predict(
    train: jax.Array,
    targets: jax.Array,
    test: jax.Array,
    temperature: float,
    k: int,
    num_classes: int,
    weighted: bool,
) -> jax.Array:
    train, test = _unit_rows(train), _unit_rows(test)

    def predict_row(row: jax.Array) -> jax.Array:
        similarities = jnp.matmul(train, row, precision=jax.lax.Precision.HIGHEST)
        nearest, indices = jax.lax.top_k(similarities, k)
        # Only ratios of votes matter; measured from the nearest one, no temperature can overflow.
        votes = jnp.exp((nearest - nearest[0]) / temperature) if weighted else jnp.ones(k)
        return jnp.zeros(num_classes).at[targets[indices]].add(votes).argmax()

    block = max(1, min(len(test), _BLOCK_ENTRIES // len(train)))
    return jax.lax.map(predict_row, test, batch_size=block)


def _unit_rows(features: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(features, axis=1, keepdims=True)
    return features / jnp.where(norms > 0, norms, 1)
