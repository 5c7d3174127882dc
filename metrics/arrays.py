"""What the metrics accept, and where the rows of an array lie."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

ROUNDING = float(np.finfo(np.float64).eps)
BLOCK_ROWS = 4096  # at a time: enough for BLAS to run at full speed
_LARGEST = 1e70  # fourth powers, summed, stay finite

Array: TypeAlias = np.ndarray | jax.Array


def load(embeddings: ArrayLike, axes: str, metric: str) -> Array:
    """Return floating-point embeddings with the layout `axes`, such as "[n, d]"; nothing is copied
    or converted.

    Raises ValueError for another number of axes, an empty axis, and numbers that are not floating
    point."""
    array = embeddings if isinstance(embeddings, jax.Array) else np.asarray(embeddings)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        advice = (
            "Rows of different lengths do not make an array"
            if array.dtype == object
            else "Pass floating point"
        )
        raise ValueError(
            f"{metric} needs floating-point embeddings, but got dtype {array.dtype}. "
            f"{advice}, for example embeddings.astype('float32')."
        )
    if array.ndim != axes.count(",") + 1:
        raise ValueError(
            f"{metric} needs embeddings with axes {axes}, but got an array of shape {array.shape}. "
            f"Reshape it, for example with embeddings.reshape(...), so that the axes are {axes}."
        )
    if array.size == 0:
        raise ValueError(
            f"{metric} needs at least one embedding, but got an empty array of shape {array.shape}."
        )
    return array


def load_float64(embeddings: ArrayLike, axes: str, metric: str) -> np.ndarray:
    """`load`, then finite float64 values on the host.

    Raises ValueError for NaN and infinity as well.
    """
    array = np.asarray(load(embeddings, axes, metric))
    check_finite(array, metric)
    return array.astype(np.float64)


def check_finite(array: Array, metric: str) -> None:
    """Raise ValueError if there is NaN or infinity among the numbers, or one whose powers overflow
    float64.
    """
    if isinstance(array, np.ndarray) and array.flags.c_contiguous and array.dtype.char in "fd":
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if flat @ flat < _LARGEST**2:  # one pass of BLAS, and false with NaN in it
                return
    numpy = jnp if isinstance(array, jax.Array) else np
    if not (numpy.isfinite(array).all() and float(numpy.abs(array).max()) < _LARGEST):
        raise not_finite(array, metric)


def not_finite(embeddings: Any, metric: str) -> ValueError:
    """The error for embeddings with NaN or infinity in them, or so large that a square overflows."""
    array = np.asarray(embeddings)
    bad = ~np.isfinite(array)
    if not bad.any():
        return ValueError(
            f"{metric}: the embeddings reach {np.abs(array).max():.3g}, and their powers overflow "
            "float64. "
            "Divide them by a constant."
        )
    rows = int(bad.any(axis=-1).sum())
    first = tuple(int(index) for index in np.argwhere(bad)[0])
    return ValueError(
        f"{metric} needs finite embeddings, but {int(bad.sum())} of {array.size} numbers in {rows} "
        "rows are NaN or "
        f"infinity, the first at {list(first)}. Look at the checkpoint they come from, or leave "
        "those rows out."
    )


def shards(array: Array) -> list[Array]:
    """Parts of an array that lie in this process and make up its first axis: one per device, NumPy
    where that is free.

    Replicas count once. An array that is split along another axis as well comes whole.
    """
    if not isinstance(array, jax.Array):
        return [array]
    own = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    if all(shard.data.shape[1:] == array.shape[1:] for shard in own):
        parts = [shard.data for shard in sorted(own, key=lambda shard: shard.index[0].start or 0)]
    else:
        parts = [array]
    return [np.asarray(part) if _platform(part) == "cpu" else part for part in parts]


def blocks(array: Array, rows: int) -> Iterator[Array]:
    """Slices of at most `rows` entries of the first axis."""
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def has_float64(array: jax.Array) -> bool:
    """Whether the device that holds `array` computes in float64; TPUs do not."""
    return _platform(array) in ("cpu", "gpu")


def _platform(array: jax.Array) -> str:
    return next(iter(array.devices())).platform


def is_split(array: ArrayLike) -> bool:
    """Whether other processes hold parts of the array."""
    return isinstance(array, jax.Array) and not array.is_fully_addressable


def agree(metric: str, *sizes: int) -> tuple[int, ...]:
    """The sizes that all JAX processes hold that hold any, not 0.

    Raises ValueError if they differ.
    """
    from jax.experimental.multihost_utils import process_allgather

    if jax.process_count() == 1:
        return sizes
    known = {
        tuple(row)
        for row in np.asarray(process_allgather(np.array(sizes, np.int32))).tolist()
        if all(row)
    }
    if len(known) != 1:
        raise ValueError(
            f"{metric}: the processes hold embeddings of different or no sizes: {sorted(known)}."
        )
    return known.pop()


def check_constant(name: str, value: float, metric: str) -> None:
    """Raise ValueError unless a ridge or an epsilon is a finite number that is not negative."""
    if not 0 <= value < float("inf"):
        raise ValueError(
            f"{metric} needs {name} >= 0, but got {name}={value}. Leave it out for the default."
        )
