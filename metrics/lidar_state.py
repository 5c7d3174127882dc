"""What LiDAR needs of embeddings, accumulated batch by batch: two scatter matrices, never the rows."""

import jax
import numpy as np
from jax.typing import ArrayLike

from metrics import device
from metrics.arrays import (
    BLOCK_ROWS,
    ROUNDING,
    Array,
    agree,
    blocks,
    check_finite,
    has_float64,
    is_split,
    load,
    shards,
)
from metrics.scatter import Scatter


class LidarState:
    """The between-image and within-image scatter of embeddings [n, q, d], for `lidar`.

        state = LidarState()
        for views in batches:       # [b, q, d]; all views of an image in one batch
            state.add(views)
        lidar(state)

    Holds at most two d x d matrices in float64. `keep_means=True` keeps the images' means [n, d] as
    well, for `lidar(..., confidence=0.95)`. The value is that of one call on all embeddings,
    whatever the batches."""

    def __init__(self, *, keep_means: bool = False) -> None:
        self.q = self.d = 0
        self.dtype, self.products = "", "float64"
        self._keep_means = keep_means
        self.between: Scatter
        self.within: Scatter

    @classmethod
    def of(cls, embeddings: ArrayLike, *, keep_means: bool = False) -> "LidarState":
        """The state of all embeddings [n, q, d]; raises ValueError as `add`."""
        state = cls(keep_means=keep_means)
        state.add(embeddings)
        if is_split(embeddings):
            state.sum_over_processes()
        return state

    @property
    def n(self) -> int:
        """How many images have been added."""
        return self.between.count if self.d else 0

    def add(self, views: ArrayLike) -> None:
        """Add embeddings [b, q, d] of b images. Raises ValueError for another layout, q < 2, and
        NaN or infinity.

        Of an array that is split over devices each part is multiplied where it lies; in a program
        of several processes each adds its own part, and `sum_over_processes` joins them."""
        array = load(views, "[n, q, d]", "lidar")
        self._check(array)
        parts = shards(array)
        for part in parts:
            check_finite(part, "lidar")
        self._prepare(*array.shape[1:])
        self.dtype = str(array.dtype)
        size = max(1, BLOCK_ROWS // self.q)
        buffer = np.empty((min(size, len(array)), self.q - 1, self.d))
        for block in (block for part in parts for block in blocks(part, size)):
            if isinstance(block, np.ndarray):
                contrasts = buffer[: len(block)]
                means = _split(block, contrasts)
                self.within.add(contrasts.reshape(-1, self.d))
            else:
                means, product = self._multiply(block)
                self.within.add_product(len(means) * (self.q - 1), np.zeros(self.d), product)
            self.between.add(means)

    def merge(self, other: "LidarState") -> None:
        """Add the images of another state, which must have the same q and d."""
        if not other.d:
            return
        self._prepare(other.q, other.d)
        if (self.q, self.d) != (other.q, other.d):
            raise ValueError(
                f"lidar cannot merge states of different layout: q={self.q}, d={self.d} and "
                f"q={other.q}, d={other.d}."
            )
        self.dtype = other.dtype
        if other.products == "float32":
            self.products = "float32"
        self.between.merge(other.between)
        self.within.merge(other.within)

    def sum_over_processes(self) -> None:
        """Add the images that the other JAX processes hold; all of them must call this, and then
        hold the same.

        Raises ValueError unless all that hold images agree on q and d.
        """
        self._prepare(*agree("lidar", self.q, self.d))
        self.between.sum_over_processes()
        self.within.sum_over_processes()

    def means_coincide(self) -> bool:
        """Whether the images' means differ by no more than rounding."""
        energy = float(self.between.mean @ self.between.mean) + self.within.trace() / (
            self.n * self.q
        )
        return self.between.trace() / self.n <= (16 * ROUNDING) ** 2 * energy

    def grouping_advice(self) -> str:
        """What to check if views of one image are no more alike than views of different images,
        else "".
        """
        n, q = self.n, self.q
        within = self.within.trace() / (n * (q - 1))
        ratio = q * self.between.trace() / (n - 1) / within if within else np.inf
        # Analysis of variance: without groups the ratio is 1 up to this, for features of
        # independent normal draws.
        spread = np.sqrt(2 / (n - 1) + 2 / (n * (q - 1)))
        if ratio > 1 + 4 * spread or ratio > 1 + 4 * spread * _concentration(self.within):
            return ""
        return (
            "views of one image are no more alike than views of different images (variance ratio "
            f"{ratio:.3f}, 1 is "
            "chance), and noise alone scores almost d. Check that the axes are [n, q, d] and that "
            "each row holds the "
            "views of one image."
        )

    def _check(self, array: Array) -> None:
        _, q, d = array.shape
        if q < 2:
            raise ValueError(
                f"lidar needs at least 2 views of each image, but got q={q} in embeddings of shape "
                f"{array.shape}. "
                "Encode every image under several views and stack them: np.stack(views, axis=1); "
                "q=10 is advised."
            )
        if self.d and (q, d) != (self.q, self.d):
            raise ValueError(
                f"lidar got a batch with q={q}, d={d} after batches with q={self.q}, d={self.d}. "
                "Use a state for each."
            )

    def _prepare(self, q: int, d: int) -> None:
        if self.d:
            return
        self.q, self.d = q, d
        self.between = Scatter(d, centred=True, keep_rows=self._keep_means)
        self.within = Scatter(d, centred=False)

    def _multiply(self, block: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        if has_float64(block):
            with jax.enable_x64(True):
                means, product = device.view_products(block.astype(np.float64))
        else:
            self.products = "float32"
            means, product = device.view_products(block.astype(np.float32))
        return np.array(means, np.float64), np.asarray(product, np.float64)


def _split(views: np.ndarray, contrasts: np.ndarray) -> np.ndarray:
    """Return means [n, d]; write contrasts [n, q-1, d] whose sum of products is the scatter around
    the means.

    A reflection of the q views that takes their mean's direction to the first view: the other q - 1
    rows hold all of the scatter, so the product is by 1/q smaller than that of the q residuals."""
    q = views.shape[1]
    means = []
    for few, part in zip(
        blocks(views, 8), blocks(contrasts, 8), strict=True
    ):  # few enough for the cache
        part[...] = few[:, 1:]
        means.append((part.sum(axis=1) + few[:, 0]) / q)
        part -= ((np.sqrt(q) * means[-1] - few[:, 0]) / (np.sqrt(q) - 1))[:, None]
    return np.concatenate(means)


def _concentration(scatter: Scatter) -> float:
    """sqrt(sum lambda^2) / sum lambda of the eigenvalues: 1 for one direction, 1 / sqrt(d) for d
    equal ones.
    """
    rows = scatter.rows()
    if rows is not None:
        return float(np.linalg.norm(rows @ rows.T)) / scatter.trace()
    matrix = scatter.matrix()
    squares = sum(
        2 * (column := matrix[k:, k]) @ column - column[0] ** 2 for k in range(len(matrix))
    )
    return float(np.sqrt(squares)) / scatter.trace()
