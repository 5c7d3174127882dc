"""k-nearest-neighbour classification on frozen features, as in DINO (arXiv 2104.14294)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Similarities held at one time: 64 MiB in float32, whatever the size of the training set.
_BLOCK_ENTRIES = 2**24


class Labelled(NamedTuple):
    """A split's features [n, d] with a label [n] for each row."""

    features: Any
    labels: Any


def knn_accuracy(
    train: Labelled, test: Labelled, k: int = 20, temperature: float = 0.07, weighted: bool = True
) -> float:
    """Return the share of test rows [m, d] that their k nearest training rows [n, d] classify.

    Nearest is by cosine similarity. A neighbour votes with exp(similarity / temperature), or with 1
    if not `weighted`. Equal votes go to the smallest label, equally near neighbours are taken in
    training order, and test labels absent from training count as wrong. Raises ValueError as
    `check_splits` does, for a k outside 1..n, and for a temperature that is not positive.
    """
    train, test = check_splits(train, test)
    rows = len(train.labels)
    if not 1 <= k <= rows:
        raise ValueError(
            f"kNN needs 1 <= k <= {rows}, the number of training rows, but got k={k}. "
            f"Pass k={min(20, rows)}, or more training rows."
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(f"kNN needs temperature > 0, but got {temperature}; usual is 0.07.")
    num_classes = int(train.labels.max()) + 1
    predicted = _predict(train, test.features, temperature, k, num_classes, weighted)
    return float(np.mean(np.asarray(predicted) == test.labels))


def check_splits(train: Labelled, test: Labelled) -> tuple[Labelled, Labelled]:
    """Return both splits with features in float32, and the class index of each row for its label.

    Classes are the sorted labels of training; the index of any other label is -1. Raises ValueError
    for features that are not finite, non-empty matrices of one width, and for labels that are not
    an integer for each row.
    """
    rows, labels = _check("train", train)
    queries, query_labels = _check("test", test)
    if queries.shape[1] != rows.shape[1]:
        raise ValueError(
            f"The test features have width {queries.shape[1]}, but the train features have width "
            f"{rows.shape[1]}. Take both from the same layer of the same checkpoint."
        )
    classes, targets = np.unique(labels, return_inverse=True)
    nearest = np.minimum(np.searchsorted(classes, query_labels), len(classes) - 1)
    query_targets = np.where(classes[nearest] == query_labels, nearest, -1).astype(np.int32)
    return Labelled(rows, targets.astype(np.int32)), Labelled(queries, query_targets)


def _check(name: str, split: Labelled) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = map(np.asarray, split)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(
            f"The {name} features must be a non-empty matrix [n, d], but have shape {rows.shape}. "
            "Pool or flatten every image's features to one row."
        )
    if labels.shape != rows.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The {name} labels must be one integer for each of {len(rows)} rows, but have shape "
            f"{labels.shape} and dtype {labels.dtype}. For one-hot labels: labels.argmax(axis=1)."
        )
    with np.errstate(over="ignore"):
        rows = rows.astype(np.float32)
    # Squares of features must fit into float32 too, or an overflow would look like poor accuracy.
    if not np.abs(rows).max() < 1e15:
        raise ValueError(
            f"The {name} features must be finite and below 1e15 in size, but have NaN, infinity or "
            "larger values. Look at the checkpoint they come from, or rescale them."
        )
    return rows, labels


@partial(jax.jit, static_argnames=("k", "num_classes", "weighted"))
def _predict(
    train: Labelled, test: jax.Array, temperature: float, k: int, num_classes: int, weighted: bool
) -> jax.Array:
    def unit_rows(features: jax.Array) -> jax.Array:
        norms = jnp.linalg.norm(features, axis=1, keepdims=True)
        return features / jnp.where(norms > 0, norms, 1)

    rows = unit_rows(train.features)

    def predict_row(query: jax.Array) -> jax.Array:
        similarities = jnp.matmul(rows, query, precision=jax.lax.Precision.HIGHEST)
        nearest, indices = jax.lax.top_k(similarities, k)
        # Only ratios of votes matter; measured from the nearest one, no temperature can overflow.
        votes = jnp.exp((nearest - nearest[0]) / temperature) if weighted else jnp.ones(k)
        return jnp.zeros(num_classes).at[train.labels[indices]].add(votes).argmax()

    block = max(1, min(len(test), _BLOCK_ENTRIES // len(rows)))
    return jax.lax.map(predict_row, unit_rows(test), batch_size=block)
