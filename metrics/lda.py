"""Eigenvalues of S_w^-1 S_b by one Cholesky factor, without a matrix square root.

L^-1 S_b L^-T with L L^T = S_w has the eigenvalues of S_w^(-1/2) S_b S_w^(-1/2). Three forms give
the same numbers, and the smallest problem is solved: from rows of both scatters (n(q-1) < d,
nothing is d x d), from rows of S_b, and from two d x d matrices. LAPACK works in place on the host;
on a machine with a GPU the d x d work is done there."""

from typing import NamedTuple

import jax
import numpy as np
from scipy.linalg import blas, lapack

from metrics import device
from metrics.scatter import Scatter, add_product, eigenvalues, gram_eigenvalues, scratch


class Spectrum(NamedTuple):
    """Descending eigenvalues, as many as can differ from 0, and how near S_w is to singular."""

    eigenvalues: np.ndarray
    # of the Cholesky factor, relative to the diagonal; near rounding or NaN: S_w is singular, and
    # the eigenvalues mean nothing
    smallest_pivot: float


def lda_spectrum(
    between: Scatter, within: Scatter, *, ridge: float, subtract: float = 0.0
) -> Spectrum:
    """Return the eigenvalues of (W + ridge I)^-1 (B - subtract W) for accumulated sums B and W.

    Both are left as they are.
    """
    if subtract:
        difference = between.matrix() - subtract * within.matrix()
        return _from_matrices(difference, within.matrix(), ridge)
    rows = between.rows()
    if rows is None:
        with scratch(between.matrix()) as matrix:
            return _from_matrices(matrix, within.matrix(), ridge)
    within_rows = within.rows()
    if within_rows is not None and ridge > 0:
        return _from_rows(rows, within_rows, ridge)
    if jax.default_backend() == "gpu":
        return _on_device(rows, within.matrix(), ridge, as_rows=True)
    whitened, smallest_pivot = whiten(rows, within, ridge)
    return Spectrum(gram_eigenvalues(whitened), smallest_pivot)


def whiten(rows: np.ndarray, within: Scatter, ridge: float) -> tuple[np.ndarray, float]:
    """Return rows L^-1 x [n, d] with L L^T = W + ridge I, and the smallest relative pivot of L."""
    with scratch(within.matrix()) as matrix:
        smallest_pivot = _factorise(matrix, ridge)
        return blas.dtrsm(1.0, matrix, rows.T, lower=1).T, smallest_pivot


def _from_matrices(between: np.ndarray, within: np.ndarray, ridge: float) -> Spectrum:
    """From the two lower triangles; `between` is destroyed."""
    if jax.default_backend() == "gpu":
        return _on_device(between, within, ridge, as_rows=False)
    with scratch(within) as factor:
        smallest_pivot = _factorise(factor, ridge)
        reduced, _ = lapack.dsygst(between, factor, itype=1, lower=1, overwrite_a=1)
    return Spectrum(eigenvalues(reduced)[::-1], smallest_pivot)


def _from_rows(between: np.ndarray, within: np.ndarray, ridge: float) -> Spectrum:
    """Woodbury: the inverse of W + ridge I by the Gram matrix of the few rows of W."""
    count = len(within)
    gram = np.zeros((count, count), order="F")
    add_product(gram, np.ascontiguousarray(within.T))
    smallest_pivot = _factorise(gram, ridge)
    covered = blas.dtrsm(1.0, gram, (within @ between.T), lower=1)
    reduced = np.asfortranarray((between @ between.T - covered.T @ covered) / ridge)
    return Spectrum(eigenvalues(reduced)[::-1], smallest_pivot)


def _on_device(between: np.ndarray, within: np.ndarray, ridge: float, *, as_rows: bool) -> Spectrum:
    with jax.enable_x64(True):
        values, smallest_pivot = device.lda_eigenvalues(within, ridge, between, as_rows=as_rows)
        return Spectrum(np.asarray(values), float(smallest_pivot))


def _factorise(matrix: np.ndarray, ridge: float) -> float:
    """Overwrite the lower triangle by the Cholesky factor of matrix + ridge I; return its pivot."""
    diagonal = matrix.diagonal() + ridge
    np.fill_diagonal(matrix, diagonal)
    _, failed = lapack.dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
    return np.nan if failed else float((matrix.diagonal() ** 2 / diagonal).min())
