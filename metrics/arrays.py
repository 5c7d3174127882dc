"""What the metrics accept, and where the rows of an array lie."""

from collections.abc import Iterator
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

ROUNDING = float(np.finfo(np.float64).eps)
BLOCK_ROWS = 4096  # at a time: enough for BLAS to run at full speed
_LARGEST = 1e70  # fourth powers, summed, stay finite

Array: TypeAlias = np.ndarray | jax.Array


def load(embeddings: ArrayLike, axes: str, metric: str) -> Array:
    """Return floating-point embeddings with the layout `axes`, such as "[n, d]", without a copy.

    Raises ValueError for other numbers, another number of axes, and an empty axis.
    """
    array = embeddings if isinstance(embeddings, jax.Array) else np.asarray(embeddings)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        advice = "Pass embeddings.astype('float32')."
        if array.dtype == object:
            advice = "Rows of different lengths do not make an array."
        raise ValueError(
            f"{metric} needs floating-point embeddings, but got dtype {array.dtype}. {advice}"
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


def load_float64(embeddings: ArrayLike, axes: str, metric: str) -> tuple[np.ndarray, str]:
    """Return finite embeddings in float64 on the host, and the name of the dtype they came in.

    Raises ValueError as `load` and `check_finite`.
    """
    array = np.asarray(load(embeddings, axes, metric))
    check_finite(array, metric)
    return array.astype(np.float64), array.dtype.name


def check_finite(array: Array, metric: str) -> None:
    """Raise ValueError for NaN, infinity, and numbers whose powers overflow float64."""
    for part in shards(array):
        _check_part(part, metric)


def _check_part(array: Array, metric: str) -> None:
    if isinstance(array, np.ndarray) and array.flags.c_contiguous and array.dtype.char in "fd":
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if flat @ flat < _LARGEST**2:  # one pass of BLAS, and false with NaN in it
                return
    numpy = jnp if isinstance(array, jax.Array) else np
    if numpy.isfinite(array).all() and float(numpy.abs(array).max()) < _LARGEST:
        return
    on_host = np.asarray(array)
    bad = ~np.isfinite(on_host)
    if not bad.any():
        raise ValueError(
            f"{metric}: the embeddings reach {np.abs(on_host).max():.3g}, and their powers "
            "overflow float64. Divide them by a constant."
        )
    raise ValueError(
        f"{metric} needs finite embeddings, but {bad.sum()} of {bad.size} numbers in "
        f"{bad.any(axis=-1).sum()} rows are NaN or infinity, the first at "
        f"{np.argwhere(bad)[0].tolist()}. Look at the checkpoint they come from, or leave those "
        "rows out."
    )


def local_blocks(array: Array, rows: int) -> Iterator[Array]:
    """Yield `blocks` of the parts of an array that this process holds, where they lie."""
    for part in shards(array):
        yield from blocks(part, rows)


def shards(array: Array) -> list[Array]:
    """Return the parts of an array's first axis that this process holds, one per device.

    Replicas count once. Parts that lie on a CPU are NumPy arrays without a copy. An array that is
    split along another axis comes whole.
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
    """Yield slices of at most `rows` entries of the first axis."""
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def has_float64(array: jax.Array) -> bool:
    """Return whether the device that holds `array` computes in float64; TPUs do not."""
    return _platform(array) in ("cpu", "gpu")


def _platform(array: jax.Array) -> str:
    return next(iter(array.devices())).platform


def is_split(array: ArrayLike) -> bool:
    """Return whether other processes hold parts of the array."""
    return isinstance(array, jax.Array) and not array.is_fully_addressable


def agree(metric: str, *sizes: int) -> tuple[int, ...]:
    """Return the sizes of the JAX processes that hold any rows; those without have sizes 0.

    Raises ValueError if they differ.
    """
    # slow to import, and needed with several processes only
    from jax.experimental.multihost_utils import process_allgather

    if jax.process_count() == 1:
        return sizes
    gathered = np.asarray(process_allgather(np.array(sizes, np.int32))).tolist()
    known = {tuple(row) for row in gathered if all(row)}
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
