"""Positions of patches: fixed sines and cosines, learned tables at another size, relative ones."""

import jax
import jax.numpy as jnp
import numpy as np


def sincos(width: int, grid: int) -> np.ndarray:
    """Return fixed positions float64 [grid * grid, width] of row-major patches, as I-JEPA and MAE.

    The first half of the channels is the column, the second the row; each half is [sin, cos] of the
    coordinate times 10000^(-k / (width / 4)). Raises ValueError for a width that is no multiple of
    4.
    """
    if width % 4:
        raise ValueError(
            f"The width is {width}; fixed sine and cosine positions need a multiple of 4."
        )
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width / 4))
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    across, down = np.outer(columns, frequencies), np.outer(rows, frequencies)
    return np.concatenate([np.sin(across), np.cos(across), np.sin(down), np.cos(down)], axis=1)


def interpolate(table: jax.Array, grid: int) -> jax.Array:
    """Resize positions [n * n, d] of row-major patches to [grid * grid, d], as DINO for its crops.

    Bicubic with a = -0.75 and without antialias, sampled with a step of n / (grid + 0.1): what
    torch does there.
    """
    own = round(len(table) ** 0.5)
    if own == grid:
        return table
    weights = _bicubic(own, grid).astype(table.dtype)
    square = table.reshape(own, own, -1)
    resized = jnp.einsum("im,jn,mnd->ijd", weights, weights, square, precision="highest")
    return resized.reshape(grid * grid, -1)


def relative(grid: int, class_token: bool) -> tuple[np.ndarray, int]:
    """Return the entry of each two tokens [T, T] in BEiT's table of positions, and its length.

    Patches have an entry for each distance in rows and columns; the class token comes first and has
    three more: to a patch, from a patch, to itself.
    """
    rows, columns = np.divmod(np.arange(grid * grid), grid)
    side = 2 * grid - 1
    index = (rows[:, None] - rows + grid - 1) * side + columns[:, None] - columns + grid - 1
    if not class_token:
        return index, side * side
    index = np.pad(index, ((1, 0), (1, 0)))
    index[0, :], index[:, 0], index[0, 0] = side * side, side * side + 1, side * side + 2
    return index, side * side + 3


def _bicubic(own: int, grid: int) -> np.ndarray:
    """Weights [grid, own] of the given samples in each of the new ones; the border repeats."""
    a = -0.75
    source = (np.arange(grid) + 0.5) * own / (grid + 0.1) - 0.5
    first = np.floor(source).astype(int)
    weights = np.zeros((grid, own))
    for offset in (-1, 0, 1, 2):
        x = np.abs(source - first - offset)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        sample = np.clip(first + offset, 0, own - 1)
        np.add.at(weights, (np.arange(grid), sample), np.where(x <= 1, near, far))
    return weights
