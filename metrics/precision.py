"""Where and in which precision the metrics compute, and what they accept."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Run the block with 64-bit types, and leave the caller's precision as it was."""
    with jax.enable_x64(True), contextlib.ExitStack() as stack:
        if not _backend_has_float64():
            stack.enter_context(jax.default_device(jax.devices("cpu")[0]))
        yield


def load(embeddings: ArrayLike, axes: str, metric: str) -> jax.Array:
    """Return finite floating-point embeddings as a float64 array; call it inside `float64()`.

    `axes` names the layout, as in "[n, d]". Raises ValueError for another number of axes, for an empty axis, for
    numbers that are not floating point, and for NaN or infinity.
    """
    array = embeddings if isinstance(embeddings, jax.Array) else np.asarray(embeddings)
    if array.ndim != axes.count(",") + 1:
        raise ValueError(
            f"{metric} needs embeddings with axes {axes}, but got an array of shape {array.shape}. "
            f"Reshape it, for example with embeddings.reshape(...), so that the axes are {axes}."
        )
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"{metric} needs floating-point embeddings, but got dtype {array.dtype}. Pass embeddings.astype('float32')."
        )
    if array.size == 0:
        raise ValueError(f"{metric} needs at least one embedding, but got an empty array of shape {array.shape}.")
    if isinstance(array, jax.Array) and not _backend_has_float64():
        array = jax.device_put(array, jax.devices("cpu")[0])
    array = jnp.asarray(array, jnp.float64)
    if not _all_finite(array):
        raise ValueError(
            f"{metric} needs finite embeddings, but got NaN or infinity among them. "
            "Look at the checkpoint they come from, or keep the finite ones: embeddings[np.isfinite(embeddings)...]."
        )
    return array


def check_constant(name: str, value: float, metric: str) -> None:
    """Raise ValueError unless a ridge or an epsilon is a finite number that is not negative."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{metric} needs {name} >= 0, but got {name}={value}. Leave it out for the default.")


def _backend_has_float64() -> bool:
    return jax.default_backend() in ("cpu", "gpu")


@jax.jit
def _all_finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()
