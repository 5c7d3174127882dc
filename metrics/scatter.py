"""Scatter matrices, accumulated over rows in float64 by BLAS on the host.

One pass, one triangle, in place: XLA's own float64 product takes several times as long on a CPU as
BLAS's symmetric one (`python -m benchmarks.metrics products`)."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from scipy.linalg import blas, lapack


class Scatter:
    """Count, mean m and sum of (x - m)(x - m)^T over rows x [d]; of x x^T if not `centred`.

    Few rows (2 count <= d, or any number with `keep_rows`) are kept as they are: that is smaller
    than a d x d matrix, and a metric may solve the smaller dual problem. Of more rows only the
    lower triangle of the sum is kept.
    """

    def __init__(self, width: int, *, centred: bool, keep_rows: bool = False) -> None:
        self.count, self.mean = 0, np.zeros(width)
        self._centred, self._keep_rows = centred, keep_rows
        self._rows: list[np.ndarray] = []
        self._matrix: np.ndarray | None = None

    def add(self, rows: np.ndarray) -> None:
        """Add float64 rows [m, d], which may be overwritten."""
        few = self._keep_rows or 2 * (self.count + len(rows)) <= len(self.mean)
        if self._matrix is None and few:
            self._rows.append(rows.copy())
            self._include(len(rows), rows.mean(axis=0))
        else:
            self.matrix()
            self._add_product(rows)

    def add_product(self, count: int, mean: np.ndarray, product: np.ndarray) -> None:
        """Add `count` rows by their mean [d] and the lower triangle of their own scatter [d, d]."""
        matrix = self.matrix()
        self._include(count, mean)
        matrix += product

    def merge(self, other: "Scatter") -> None:
        """Add the rows that `other` holds."""
        if other._matrix is None:
            for rows in other._rows:
                self.add(rows.copy())
        else:
            self._keep_rows = False
            self.add_product(other.count, other.mean, other.matrix())

    def rows(self) -> np.ndarray | None:
        """Return all rows [count, d] if they are kept, minus their mean if centred; else None."""
        if self._matrix is not None:
            return None
        rows = np.concatenate([*self._rows, np.empty((0, len(self.mean)))])
        return rows - self.mean if self._centred else rows

    def matrix(self) -> np.ndarray:
        """Return the sum in the lower triangle of a matrix [d, d] in Fortran order.

        Rows that need not stay are given up.
        """
        width = len(self.mean)
        if self._keep_rows:
            product = np.zeros((width, width), order="F")
            kept = self.rows()
            assert kept is not None
            add_product(product, kept)
            return product
        if self._matrix is None:
            self._matrix = np.zeros((width, width), order="F")
            rows, self._rows = self._rows, []
            self.count, self.mean = 0, np.zeros(width)
            while rows:
                self._add_product(rows.pop(0))
        return self._matrix

    def trace(self) -> float:
        """Return the sum of the squared entries of the (centred) rows."""
        rows = self.rows()
        return float(np.trace(self.matrix()) if rows is None else np.vdot(rows, rows))

    def sum_over_processes(self) -> None:
        """Add what the other JAX processes hold, so that all hold the same, and no rows."""
        # slow to import, and needed with several processes only
        from jax.experimental.multihost_utils import process_allgather

        if jax.process_count() == 1:
            return
        self._keep_rows = False
        matrix = self.matrix()
        with jax.enable_x64(True):
            counts, means = process_allgather((np.float64(self.count), self.mean))
            mean = counts @ means / counts.sum()
            if self._centred and self.count:
                blas.dsyr(self.count, self.mean - mean, lower=1, a=matrix, overwrite_a=1)
            # Panel by panel: gathered whole, the matrices of all processes would have to fit in
            # memory at once.
            for start in range(0, len(matrix), 256):
                panel = np.ascontiguousarray(matrix[:, start : start + 256])
                matrix[:, start : start + 256] = process_allgather(panel).sum(axis=0)
        self.count, self.mean = int(counts.sum()), mean

    def _add_product(self, rows: np.ndarray) -> None:
        assert self._matrix is not None
        # By SciPy's BLAS like the rest: NumPy brings its own, whose idle threads would take a core
        # from this one's.
        mean = blas.dgemv(1 / len(rows), rows.T, np.ones(len(rows)))
        if self._centred:
            rows -= mean
        self._include(len(rows), mean)
        add_product(self._matrix, rows)

    def _include(self, count: int, mean: np.ndarray) -> None:
        """Count rows with this mean, and move a centred sum to the new mean of all."""
        if self._centred and self._matrix is not None and self.count:
            weight = self.count * count / (self.count + count)
            blas.dsyr(weight, mean - self.mean, lower=1, a=self._matrix, overwrite_a=1)
        self.count += count
        self.mean += (mean - self.mean) * (count / self.count)


def add_product(total: np.ndarray, rows: np.ndarray) -> None:
    """Add rows^T rows of float64 rows [m, d] to the lower triangle of `total` in Fortran order."""
    blas.dsyrk(1.0, rows.T, beta=1.0, c=total, lower=1, overwrite_c=1)


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Return ascending eigenvalues [d] of the lower triangle of `matrix`, which LAPACK destroys."""
    # The least workspace would make LAPACK reduce the matrix column by column.
    workspace = 66 * len(matrix)
    values, _, failed = lapack.dsyevd(matrix, compute_v=0, lower=1, lwork=workspace, overwrite_a=1)
    return np.full_like(values, np.nan) if failed else values


def gram_eigenvalues(rows: np.ndarray) -> np.ndarray:
    """Return descending eigenvalues [min(n, d)] of rows^T rows of rows [n, d]."""
    tall = rows if rows.shape[0] >= rows.shape[1] else rows.T
    product = np.zeros((tall.shape[1], tall.shape[1]), order="F")
    add_product(product, np.ascontiguousarray(tall))
    return eigenvalues(product)[::-1]


@contextlib.contextmanager
def scratch(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Lend the lower triangle and the diagonal of `matrix` to LAPACK, and restore them afterwards.

    Without a copy: the upper triangle, which nothing else uses, holds what the lower one held.
    """
    diagonal = matrix.diagonal().copy()
    _mirror(matrix)
    try:
        yield matrix
    finally:
        _mirror(matrix.T)
        np.fill_diagonal(matrix, diagonal)


def _mirror(matrix: np.ndarray, width: int = 256) -> None:
    """Copy the lower triangle onto the upper one, in blocks so that no second matrix is needed."""
    for start in range(0, len(matrix), width):
        end = start + width
        square = matrix[start:end, start:end]
        square[...] = np.tril(square) + np.tril(square, -1).T
        matrix[start:end, end:] = matrix[end:, start:end].T
