"""Singular values and covariance eigenvalues of an embedding matrix, and the ranks that are read
off them.
"""

from functools import cached_property

import jax
import numpy as np
from jax.typing import ArrayLike
from scipy.linalg import blas

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
    load_float64,
    shards,
)
from metrics.scatter import Scatter, add_product, eigenvalues, gram_eigenvalues, scratch
from metrics.score import Score

# singular values below this fraction of the largest are computed again when the Gram matrix loses
# them
_SMALL = 1e-4


class SpectrumState:
    """Mean and scatter of embedding rows [d]; every metric of one embedding matrix takes it in
    place of the matrix.

        state = SpectrumState()
        for rows in batches:        # [b, d]
            state.add(rows)
        rankme(state), effective_rank(state), alpha_req(state)

    Holds one d x d matrix in float64; the spectrum is computed once and shared. A Gram matrix
    squares the condition number, so very small singular values carry an absolute error of about
    1e-8 of the largest; where that moves a rank by more than its `rtol`, a call on the embeddings
    themselves computes them again, and a state cannot."""

    def __init__(self) -> None:
        self.d = 0
        self.dtype, self.products = "", "float64"
        self._scatter: Scatter
        self._source: Array | None = None  # of a call on whole embeddings: what a second look needs

    @classmethod
    def of(cls, embeddings: "ArrayLike | SpectrumState", metric: str) -> "SpectrumState":
        """The state of embeddings [n, d], or the one that was given.

        Raises ValueError as `add`, or if it is empty.
        """
        if isinstance(embeddings, SpectrumState):
            if not embeddings.n:
                raise ValueError(
                    f"{metric} needs at least one embedding, but the SpectrumState is empty."
                )
            return embeddings
        state = cls()
        state.add(embeddings, metric)
        if is_split(embeddings):
            state.sum_over_processes()
        else:
            state._source = load(embeddings, "[n, d]", metric)
        return state

    @property
    def n(self) -> int:
        """How many rows have been added."""
        return self._scatter.count if self.d else 0

    def add(self, embeddings: ArrayLike, metric: str = "SpectrumState.add") -> None:
        """Add embeddings [b, d]. Raises ValueError for another layout or width, and for NaN or
        infinity.

        Of an array that is split over devices each part is multiplied where it lies.
        """
        array = load(embeddings, "[n, d]", metric)
        if self.d and array.shape[1] != self.d:
            raise ValueError(
                f"{metric} got embeddings of width {array.shape[1]} after embeddings of width "
                f"{self.d}."
            )
        parts = shards(array)
        for part in parts:
            check_finite(part, metric)
        if not self.d:
            self.d, self._scatter = array.shape[1], Scatter(array.shape[1], centred=True)
        self._change(str(array.dtype))
        buffer = np.empty((min(BLOCK_ROWS, len(array)), self.d))
        for part in parts:
            for block in blocks(part, BLOCK_ROWS):
                if not isinstance(block, np.ndarray) and has_float64(block):
                    with jax.enable_x64(True):
                        mean, product = device.row_products(block.astype(np.float64))
                    self._scatter.add_product(len(block), np.asarray(mean), np.asarray(product))
                # a float32 product would be wrong near collapse, so a TPU's rows come to the host
                else:
                    rows = buffer[: len(block)]
                    rows[...] = block
                    self._scatter.add(rows)

    def merge(self, other: "SpectrumState") -> None:
        """Add the rows of another state of the same width."""
        if not other.d:
            return
        if not self.d:
            self.d, self._scatter = other.d, Scatter(other.d, centred=True)
        if self.d != other.d:
            raise ValueError(f"states of different width cannot be merged: {self.d} and {other.d}.")
        self._change(other.dtype)
        self._scatter.merge(other._scatter)

    def sum_over_processes(self) -> None:
        """Add the rows that the other JAX processes hold; all of them must call this, and then hold
        the same.
        """
        (width,) = agree("SpectrumState", self.d)
        if not self.d:
            self.d, self._scatter = width, Scatter(width, centred=True)
        self._change(self.dtype)
        self._scatter.sum_over_processes()

    def energy(self) -> float:
        """Mean squared norm of the rows."""
        return float(self._scatter.mean @ self._scatter.mean) + self._scatter.trace() / self.n

    def settings(self, **more: object) -> dict[str, object]:
        """What a score of this state is computed with."""
        return {"n": self.n, "d": self.d, **more, "dtype": self.dtype, "products": self.products}

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Singular values [min(n, d)] of the uncentred rows, largest first."""
        rows = self._scatter.rows()
        if rows is not None:
            return np.linalg.svd(rows + self._scatter.mean, compute_uv=False)
        with scratch(self._scatter.matrix()) as matrix:
            blas.dsyr(self.n, self._scatter.mean, lower=1, a=matrix, overwrite_a=1)
            values = eigenvalues(matrix)[::-1]
        return np.sqrt(values.clip(min=0))[: min(self.n, self.d)]

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues [min(n - 1, d)] of the covariance (denominator n - 1), largest first."""
        count = min(self.n - 1, self.d)
        rows = self._scatter.rows()
        if rows is not None:
            return gram_eigenvalues(rows)[:count].clip(min=0) / max(self.n - 1, 1)
        with scratch(self._scatter.matrix()) as matrix:
            return eigenvalues(matrix)[::-1][:count].clip(min=0) / (self.n - 1)

    def variances(self) -> np.ndarray:
        """`eigenvalues` with 0 for what is no more than rounding of the mean; never empty."""
        if self.n < 2:
            return np.zeros(1)
        floor = max((16 * ROUNDING) ** 2 * self.energy(), ROUNDING * self.eigenvalues[0])
        return np.where(self.eigenvalues > floor, self.eigenvalues, 0)

    def _change(self, dtype: str) -> None:
        self.dtype, self._source = dtype, None
        self.__dict__.pop("singular_values", None)
        self.__dict__.pop("eigenvalues", None)

    def refine(self, rtol: float) -> None:
        """Compute small singular values again from the embeddings, if they are at hand and a rank
        needs it for `rtol`.

        The embeddings are projected on the eigenvectors of the small eigenvalues; the Gram matrix
        of that projection has its own, small scale, so its eigenvalues keep their digits."""
        values = self.singular_values
        if (
            self._source is None
            or self._scatter.rows() is not None
            or values[-1] >= _SMALL * values[0]
        ):
            return
        if _gram_error(values) <= rtol:
            return
        matrix = self._scatter.matrix() + self.n * np.outer(self._scatter.mean, self._scatter.mean)
        squares, vectors = np.linalg.eigh(matrix)
        small = vectors[:, squares < _SMALL**2 * squares[-1]]
        product = np.zeros((small.shape[1], small.shape[1]), order="F")
        for part in shards(self._source):
            for block in blocks(part, BLOCK_ROWS):
                add_product(
                    product, blas.dgemm(1.0, small, np.asarray(block, np.float64).T, trans_a=1).T
                )
        tail = np.sqrt(eigenvalues(product)[::-1].clip(min=0))
        large = np.sqrt(squares[::-1][: self.d - len(tail)])
        self.__dict__["singular_values"] = np.concatenate([large, tail])[: len(values)]
        self._source = None  # done


def singular_values(embeddings: ArrayLike | SpectrumState) -> np.ndarray:
    """Return the singular values [min(n, d)] of the uncentred embeddings [n, d], largest first, in
    float64.

    By a full decomposition, so that each has its digits; those of a `SpectrumState` are exact to
    1e-8 of the largest. Raises ValueError if the embeddings are not a finite floating-point matrix.
    """
    if isinstance(embeddings, SpectrumState):
        return SpectrumState.of(embeddings, "singular_values").singular_values
    return np.linalg.svd(load_float64(embeddings, "[n, d]", "singular_values"), compute_uv=False)


def _gram_error(values: np.ndarray) -> float:
    """Relative error to expect of the entropy rank of singular values [k] that come from a Gram
    matrix.

    Its eigenvalues are off by about 2 u lambda_1, independently of each other (measured on decaying
    spectra)."""
    floor = 2 * ROUNDING * values[0] ** 2
    errors = np.where(
        values**2 > floor, floor / (2 * np.maximum(values, np.sqrt(floor))), np.sqrt(floor)
    )
    shares = np.maximum(values, np.sqrt(floor)) / values.sum()
    return float(np.linalg.norm(errors / values.sum() * np.log(shares)))


def entropy_rank(spectrum: np.ndarray, eps: float) -> float:
    """Return exp(-sum_k p_k ln p_k) with p_k = s_k / sum(s) + eps, for a spectrum [k] of values >=
    0 that has a sum.

    The p_k are not renormalised after eps is added (Garrido et al. 2023, equations 1 and 2).
    """
    probabilities = spectrum / spectrum.sum() + eps
    probabilities = probabilities[probabilities > 0]
    return float(np.exp(-probabilities @ np.log(probabilities)))


def effective_rank(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return the entropy rank of the singular values of the centred embeddings [n, d] (Roy &
    Vetterli 2007).

    RankMe with the mean taken off and without eps: 1 for one direction, d for isotropic features. A
    constant offset does not count, so a collapse onto one point with noise around it reads as high
    as the noise. Embeddings that are all equal read 1.0.
    """
    state = SpectrumState.of(embeddings, "effective_rank")
    values = np.sqrt(state.variances())
    return Score(
        entropy_rank(values, 0) if values.any() else 1.0, **state.settings(eps=0, centred=True)
    )


def nesum(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return sum(lambda) / lambda_1 of the covariance eigenvalues of embeddings [n, d] (NESum, He &
    Ozay 2022).

    Between 1 and d; 1.0 as well for embeddings that are all equal.
    """
    state = SpectrumState.of(embeddings, "nesum")
    variances = state.variances()
    return Score(
        float(variances.sum() / variances[0]) if variances.any() else 1.0,
        **state.settings(centred=True),
    )


def stable_rank(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return sum(sigma^2) / sigma_1^2 of the uncentred embeddings [n, d] (Tsitsulin et al. 2023).

    Between 1 and min(n, d); 1.0 as well for embeddings that are all zero. On centred embeddings it
    equals `nesum`."""
    state = SpectrumState.of(embeddings, "stable_rank")
    values = state.singular_values
    ratios = values / values[0] if values[0] else np.ones(1)
    return Score(float(ratios @ ratios), **state.settings(centred=False))


def participation_ratio(embeddings: ArrayLike | SpectrumState) -> Score:
    """Return (sum lambda)^2 / sum(lambda^2) of the covariance eigenvalues of embeddings [n, d].

    Between 1 and d, and too low by about its square / n; 1.0 as well for embeddings that are all
    equal."""
    state = SpectrumState.of(embeddings, "participation_ratio")
    shares = state.variances() / (state.eigenvalues.sum() or 1)
    return Score(
        float(1 / (shares @ shares)) if shares.any() else 1.0, **state.settings(centred=True)
    )
