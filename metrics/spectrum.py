"""Singular values and covariance eigenvalues of an embedding matrix, and the ranks of spectra."""

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy.linalg import blas

from metrics import arrays, device
from metrics.arrays import BLOCK_ROWS, ROUNDING
from metrics.reference import entropy_rank
from metrics.scatter import Scatter, add_product, eigenvalues, gram_eigenvalues, scratch
from metrics.score import Score

# Singular values below this fraction of the largest are computed again when the Gram matrix loses
# them.
_SMALL = 1e-4


class SpectrumState:
    """Mean and scatter of embedding rows [d], for every metric of one embedding matrix.

        state = SpectrumState()
        for rows in batches:        # [b, d]
            state.add(rows)
        rankme(state), effective_rank(state), alpha_req(state)

    Holds one d x d matrix in float64; the spectrum is computed once and shared. A Gram matrix
    squares the condition number, so very small singular values carry an absolute error of about
    1e-8 of the largest; where that moves a rank by more than its `rtol`, a call on the embeddings
    themselves computes them again, and a state cannot.
    """

    def __init__(self) -> None:
        self.d = 0
        self.dtype, self.products = "", "float64"
        self._scatter: Scatter
        self._singular_values: np.ndarray | None = None
        self._eigenvalues: np.ndarray | None = None
        self._source: arrays.Array | None = None  # whole embeddings, for a second look

    @classmethod
    def of(cls, embeddings: "ArrayLike | SpectrumState", metric: str) -> "SpectrumState":
        """Return a state of all embeddings [n, d], or the state that was passed.

        Raises ValueError as `add`, and if the state is empty.
        """
        if isinstance(embeddings, SpectrumState):
            if not embeddings.n:
                raise ValueError(
                    f"{metric} needs at least one embedding, but the SpectrumState is empty."
                )
            return embeddings
        state = cls()
        state.add(embeddings, metric)
        if arrays.is_split(embeddings):
            state.sum_over_processes()
        else:
            state._source = arrays.load(embeddings, "[n, d]", metric)
        return state

    @property
    def n(self) -> int:
        """How many rows have been added."""
        return self._scatter.count if self.d else 0

    def settings(self, **more: object) -> dict[str, object]:
        """Return what a score of this state is computed with."""
        return {"n": self.n, "d": self.d, **more, "dtype": self.dtype, "products": self.products}

    def add(self, embeddings: ArrayLike, metric: str = "SpectrumState.add") -> None:
        """Add embeddings [b, d].

        Of an array that is split over devices each part is multiplied where it lies. Raises
        ValueError for another layout or width, and for NaN or infinity.
        """
        array = arrays.load(embeddings, "[n, d]", metric)
        if self.d and array.shape[1] != self.d:
            raise ValueError(
                f"{metric} got embeddings of width {array.shape[1]} after embeddings of width "
                f"{self.d}."
            )
        arrays.check_finite(array, metric)
        self._prepare(array.shape[1], str(array.dtype))
        buffer = np.empty((min(BLOCK_ROWS, len(array)), self.d))
        for block in arrays.local_blocks(array, BLOCK_ROWS):
            if isinstance(block, np.ndarray) or not arrays.has_float64(block):
                # A float32 product would be wrong near collapse, so a TPU's rows come to the host.
                rows = buffer[: len(block)]
                rows[...] = block
                self._scatter.add(rows)
            else:
                with jax.enable_x64(True):
                    mean, product = device.row_products(block.astype(np.float64))
                self._scatter.add_product(len(block), np.asarray(mean), np.asarray(product))

    def merge(self, other: "SpectrumState") -> None:
        """Add the rows of another state of the same width."""
        if not other.d:
            return
        if self.d not in (0, other.d):
            raise ValueError(f"states of different width cannot be merged: {self.d} and {other.d}.")
        self._prepare(other.d, other.dtype)
        self._scatter.merge(other._scatter)

    def sum_over_processes(self) -> None:
        """Add the rows of the other JAX processes, so that all hold the same; all must call it."""
        (width,) = arrays.agree("SpectrumState", self.d)
        self._prepare(width, self.dtype)
        self._scatter.sum_over_processes()

    @property
    def singular_values(self) -> np.ndarray:
        """Singular values [min(n, d)] of the uncentred rows, largest first."""
        if self._singular_values is None:
            mean, rows = self._scatter.mean, self._scatter.rows()
            if rows is not None:
                self._singular_values = np.linalg.svd(rows + mean, compute_uv=False)
            else:
                with scratch(self._scatter.matrix()) as matrix:
                    blas.dsyr(self.n, mean, lower=1, a=matrix, overwrite_a=1)
                    squares = eigenvalues(matrix)[::-1][: min(self.n, self.d)]
                self._singular_values = np.sqrt(squares.clip(min=0))
        return self._singular_values

    @property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues [min(n - 1, d)] of the covariance (denominator n - 1), largest first."""
        if self._eigenvalues is None:
            rows = self._scatter.rows()
            if rows is not None:
                squares = gram_eigenvalues(rows)
            else:
                with scratch(self._scatter.matrix()) as matrix:
                    squares = eigenvalues(matrix)[::-1]
            squares = squares[: min(self.n - 1, self.d)].clip(min=0)
            self._eigenvalues = squares / max(self.n - 1, 1)
        return self._eigenvalues

    def variances(self) -> np.ndarray:
        """Return `eigenvalues`, never empty, with 0 for what is only rounding of the mean."""
        if self.n < 2:
            return np.zeros(1)
        mean = self._scatter.mean
        energy = float(mean @ mean) + self._scatter.trace() / self.n  # mean squared norm
        floor = max((16 * ROUNDING) ** 2 * energy, ROUNDING * self.eigenvalues[0])
        return np.where(self.eigenvalues > floor, self.eigenvalues, 0)

    def refine(self, rtol: float) -> None:
        """Compute small singular values again where the error of a rank would be above `rtol`.

        That needs the embeddings. They are projected on the eigenvectors of the small eigenvalues;
        the Gram matrix of that projection has its own, small scale, so its eigenvalues keep their
        digits.
        """
        if self._source is None or self._scatter.rows() is not None:
            return
        values = self.singular_values
        if values[-1] >= _SMALL * values[0] or _gram_error(values) <= rtol:
            return
        matrix = self._scatter.matrix() + self.n * np.outer(self._scatter.mean, self._scatter.mean)
        squares, vectors = np.linalg.eigh(matrix)
        small = vectors[:, squares < _SMALL**2 * squares[-1]]
        product = np.zeros((small.shape[1], small.shape[1]), order="F")
        for block in arrays.local_blocks(self._source, BLOCK_ROWS):
            rows = np.asarray(block, np.float64)
            add_product(product, blas.dgemm(1.0, small, rows.T, trans_a=1).T)
        tail = np.sqrt(eigenvalues(product)[::-1].clip(min=0))
        large = np.sqrt(squares[::-1][: self.d - len(tail)])
        self._singular_values = np.concatenate([large, tail])[: len(values)]
        self._source = None  # done

    def _prepare(self, width: int, dtype: str) -> None:
        """Get ready for more rows: what was computed of the rows so far no longer holds."""
        if not self.d:
            self.d, self._scatter = width, Scatter(width, centred=True)
        self.dtype = dtype
        self._singular_values = self._eigenvalues = self._source = None


def singular_values(embeddings: ArrayLike | SpectrumState) -> np.ndarray:
    """Return the singular values [min(n, d)] of the uncentred embeddings [n, d], largest first.

    By a full decomposition in float64, so that each has its digits; those of a `SpectrumState` are
    exact to 1e-8 of the largest.
    """
    if isinstance(embeddings, SpectrumState):
        return SpectrumState.of(embeddings, "singular_values").singular_values
    rows, _ = arrays.load_float64(embeddings, "[n, d]", "singular_values")
    return np.linalg.svd(rows, compute_uv=False)


def _gram_error(values: np.ndarray) -> float:
    """Relative error to expect of the entropy rank of singular values [k] from a Gram matrix.

    Its eigenvalues are off by about 2 u lambda_1, independently of each other (measured on decaying
    spectra).
    """
    floor = 2 * ROUNDING * values[0] ** 2
    above = np.maximum(values, np.sqrt(floor))
    errors = np.where(values**2 > floor, floor / (2 * above), np.sqrt(floor))
    return float(np.linalg.norm(errors / values.sum() * np.log(above / values.sum())))


def effective_rank(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return the entropy rank of the singular values of the centred embeddings [n, d].

    RankMe without mean and eps: 1 for one direction, d for isotropic features. A constant offset
    does not count, so a collapse onto one point with noise around it reads as high as the noise.
    Embeddings that are all equal read 1.0. Roy & Vetterli 2007.
    """
    state = SpectrumState.of(embeddings, "effective_rank")
    deviations = np.sqrt(state.variances())
    value = entropy_rank(deviations, 0) if deviations.any() else 1.0
    return Score(value, **state.settings(eps=0, centred=True))


def nesum(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return sum(lambda) / lambda_1 of the covariance eigenvalues of embeddings [n, d].

    Between 1 and d; embeddings that are all equal read 1.0. He & Ozay 2022.
    """
    state = SpectrumState.of(embeddings, "nesum")
    variances = state.variances()
    value = float(variances.sum() / variances[0]) if variances.any() else 1.0
    return Score(value, **state.settings(centred=True))


def stable_rank(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return sum(sigma^2) / sigma_1^2 of the singular values of the uncentred embeddings [n, d].

    Between 1 and min(n, d); embeddings that are all zero read 1.0. On centred embeddings it equals
    `nesum`. Tsitsulin et al. 2023.
    """
    state = SpectrumState.of(embeddings, "stable_rank")
    values = state.singular_values
    ratios = values / values[0] if values[0] else np.ones(1)
    return Score(float(ratios @ ratios), **state.settings(centred=False))


def participation_ratio(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return (sum lambda)^2 / sum(lambda^2) of the covariance eigenvalues of embeddings [n, d].

    Between 1 and d, and too low by about its square / n; embeddings that are all equal read 1.0.
    """
    state = SpectrumState.of(embeddings, "participation_ratio")
    shares = state.variances() / (state.eigenvalues.sum() or 1)
    value = float(1 / (shares @ shares)) if shares.any() else 1.0
    return Score(value, **state.settings(centred=True))
