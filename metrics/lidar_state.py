"""What LiDAR needs of embeddings, accumulated batch by batch: two scatter matrices, no rows."""

import jax
import numpy as np
from jax.typing import ArrayLike

from metrics import arrays, device
from metrics.scatter import Scatter


class LidarState:
    """The between-image and within-image scatter of embeddings [n, q, d], for `lidar`.

        state = LidarState()
        for views in batches:       # [b, q, d]; all views of an image in one batch
            state.add(views)
        lidar(state)

    Holds at most two d x d matrices in float64. `keep_means=True` keeps the images' means [n, d] as
    well, for `lidar(..., confidence=0.95)`. The value is that of one call on all embeddings,
    whatever the batches.
    """

    def __init__(self, *, keep_means: bool = False) -> None:
        self.q = self.d = 0
        self.dtype, self.products = "", "float64"
        self._keep_means = keep_means
        self.between: Scatter
        self.within: Scatter

    @classmethod
    def of(cls, embeddings: "ArrayLike | LidarState", *, keep_means: bool = False) -> "LidarState":
        """Return a state of all embeddings [n, q, d], or the state that was passed.

        Raises ValueError as `add`.
        """
        if isinstance(embeddings, LidarState):
            return embeddings
        state = cls(keep_means=keep_means)
        state.add(embeddings)
        if arrays.is_split(embeddings):
            state.sum_over_processes()
        return state

    @property
    def n(self) -> int:
        """How many images have been added."""
        return self.between.count if self.d else 0

    def settings(self, **more: object) -> dict[str, object]:
        """Return what a score of this state is computed with."""
        shape = {"n": self.n, "q": self.q, "d": self.d}
        return {**shape, **more, "dtype": self.dtype, "products": self.products}

    def add(self, views: ArrayLike) -> None:
        """Add embeddings [b, q, d] of b images.

        Of an array that is split over devices each part is multiplied where it lies; in a program
        of several processes each adds its own part, and `sum_over_processes` joins them. Raises
        ValueError for another layout, q < 2, and NaN or infinity.
        """
        array = arrays.load(views, "[n, q, d]", "lidar")
        _, q, d = array.shape
        if q < 2:
            raise ValueError(
                f"lidar needs at least 2 views of each image, but got q={q} in embeddings of shape "
                f"{array.shape}. Encode every image under several views and stack them: "
                "np.stack(views, axis=1); q=10 is advised."
            )
        if self.d and (q, d) != (self.q, self.d):
            raise ValueError(
                f"lidar got a batch with q={q}, d={d} after batches with q={self.q}, d={self.d}. "
                "Use a state for each."
            )
        arrays.check_finite(array, "lidar")
        self._prepare(q, d)
        self.dtype = str(array.dtype)
        size = max(1, arrays.BLOCK_ROWS // q)
        buffer = np.empty((min(size, len(array)), q - 1, d))
        for block in arrays.local_blocks(array, size):
            if isinstance(block, np.ndarray):
                means, contrasts = _means_and_contrasts(block, buffer)
                self.within.add(contrasts.reshape(-1, d))
            else:
                means, product = self._multiply(block)
                self.within.add_product(len(means) * (q - 1), np.zeros(d), product)
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
        """Add the images of the other JAX processes, so that all hold the same; all must call it.

        Raises ValueError unless all that hold images agree on q and d.
        """
        self._prepare(*arrays.agree("lidar", self.q, self.d))
        self.between.sum_over_processes()
        self.within.sum_over_processes()

    def means_coincide(self) -> bool:
        """Return whether the images' means differ by no more than rounding."""
        mean = self.between.mean
        energy = float(mean @ mean) + self.within.trace() / (self.n * self.q)
        return self.between.trace() / self.n <= (16 * arrays.ROUNDING) ** 2 * energy

    def grouping_advice(self) -> str:
        """Return what to check if views of one image are no more alike than others, else ""."""
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
            f"{ratio:.3f}, 1 is chance), and noise alone scores almost d. Check that the axes are "
            "[n, q, d] and that each row holds the views of one image."
        )

    def _prepare(self, q: int, d: int) -> None:
        if self.d:
            return
        self.q, self.d = q, d
        self.between = Scatter(d, centred=True, keep_rows=self._keep_means)
        self.within = Scatter(d, centred=False)

    def _multiply(self, block: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        if arrays.has_float64(block):
            with jax.enable_x64(True):
                means, product = device.view_products(block.astype(np.float64))
        else:
            self.products = "float32"
            means, product = device.view_products(block.astype(np.float32))
        return np.array(means, np.float64), np.asarray(product, np.float64)


def _means_and_contrasts(views: np.ndarray, buffer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means [n, d] and contrasts [n, q-1, d], in `buffer`, of views [n, q, d].

    The contrasts' sum of products is the scatter around the means. They come from a reflection of
    the q views that takes their mean's direction to the first view: the other q - 1 rows hold all
    of the scatter, so the product is by 1/q smaller than that of the q residuals.
    """
    q = views.shape[1]
    contrasts = buffer[: len(views)]
    means = []
    # few images at a time, so that they stay in the cache
    for few, part in zip(arrays.blocks(views, 8), arrays.blocks(contrasts, 8), strict=True):
        part[...] = few[:, 1:]
        means.append((part.sum(axis=1) + few[:, 0]) / q)
        part -= ((np.sqrt(q) * means[-1] - few[:, 0]) / (np.sqrt(q) - 1))[:, None]
    return np.concatenate(means), contrasts


def _concentration(scatter: Scatter) -> float:
    """sqrt(sum lambda^2) / sum lambda of the eigenvalues: 1 for one, 1 / sqrt(d) for d equal."""
    rows = scatter.rows()
    if rows is not None:
        return float(np.linalg.norm(rows @ rows.T)) / scatter.trace()
    matrix = scatter.matrix()
    squares = 0.0
    for k in range(len(matrix)):
        column = matrix[k:, k]  # of the lower triangle, whose entries count twice
        squares += 2 * column @ column - column[0] ** 2
    return float(np.sqrt(squares)) / scatter.trace()
