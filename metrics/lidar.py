"""LiDAR: the entropy rank of the LDA matrix of the self-supervised task (Thilak et al., ICLR 2024, arXiv 2312.04000).

Every image is a class and its q views are the members. With the class means mu_i and their mean mu,

    S_b = sum_i (mu_i - mu)(mu_i - mu)^T / (n - 1)
    S_w = sum_ij (e_ij - mu_i)(e_ij - mu_i)^T / (n (q - 1)) + delta I
    lambda = eigenvalues of S_w^(-1/2) S_b S_w^(-1/2)
    LiDAR = exp(-sum_k p_k ln p_k),  p_k = lambda_k / sum(lambda) + eps,  k = 1..d

The paper leaves the denominators and the two constants open; the defaults here are the ones common in public code.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from metrics.precision import check_constant, float64, load
from metrics.spectrum import entropy_rank

_ROUNDING = float(np.finfo(np.float64).eps)


def lidar(embeddings: ArrayLike, *, delta: float = 1e-4, eps: float = 1e-7, unbiased: bool = True) -> float:
    """Return LiDAR of embeddings [n, q, d]: n images, q views of each, d features (equations 1 to 4).

    `delta` is the absolute ridge in S_w, `unbiased=False` divides by n and n q instead of n - 1 and n (q - 1).
    Values compare only at equal n, q, d, delta and eps. Warns when n <= d, where the number of images limits the
    value, and returns 1.0 with a warning when all class means coincide. Raises ValueError for another layout, n < 2,
    q < 2, input that is not finite floating point, and a within-class scatter that cannot be inverted.
    """
    check_constant("delta", delta, "lidar")
    check_constant("eps", eps, "lidar")
    with float64():
        views = load(embeddings, "[n, q, d]", "lidar")
        n, q, d = views.shape
        _check_layout(n, q, d)
        means, residual_gram = class_scatter(views)
        if _means_coincide(views, means):
            warnings.warn(
                "lidar: all images have the same mean embedding, so there is no between-class scatter and LiDAR "
                "is 0/0; it is reported as 1.0. The encoder has collapsed, or one image was passed n times.",
                stacklevel=2,
            )
            return 1.0
        if advice := _sample_advice(n, q, d):
            warnings.warn(advice, stacklevel=2)
        denominators = (n - 1, n * (q - 1)) if unbiased else (n, n * q)
        eigenvalues, smallest_pivot = lda_spectrum(means, residual_gram, delta, *denominators)
        # Comparisons with NaN are false, so this also catches a factorisation that broke down.
        rank_is_full = delta > 0 or n * (q - 1) >= d
        if not (rank_is_full and smallest_pivot > d * _ROUNDING):
            raise ValueError(
                f"lidar cannot invert the within-class scatter of embeddings [n={n}, q={q}, d={d}] with delta={delta}. "
                f"Pass a larger ridge, for example delta={max(1e-4, 100 * delta):g}, or more views: n * (q - 1) must "
                "reach d when delta=0."
            )
        return float(entropy_rank(eigenvalues, eps))


@jax.jit
def class_scatter(embeddings: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Class means [n, d] and the summed within-class scatter [d, d] of embeddings [n, q, d].

    Images are independent: over parts of a data set the means are stacked and the scatters added.
    """
    means = embeddings.mean(axis=1)
    residuals = (embeddings - means[:, None]).reshape(-1, embeddings.shape[-1])
    return means, residuals.T @ residuals


@jax.jit
def lda_spectrum(
    means: jax.Array, residual_gram: jax.Array, delta: ArrayLike, between_count: ArrayLike, within_count: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues [d] of S_w^(-1/2) S_b S_w^(-1/2) from class means [n, d] and the summed scatter [d, d].

    The second value is the smallest Cholesky pivot relative to its diagonal entry. Where that is near rounding, or
    NaN, S_w is singular and the eigenvalues mean nothing.
    """
    n, d = means.shape
    within = residual_gram / within_count + delta * jnp.eye(d)
    factor = jnp.linalg.cholesky(within)
    pivots = jnp.diagonal(factor) ** 2 / jnp.diagonal(within)
    centred = (means - means.mean(axis=0)) / jnp.sqrt(between_count)
    # L^-1 S_b L^-T has the spectrum of the symmetric form, so no matrix square root is needed.
    whitened = jax.scipy.linalg.solve_triangular(factor, centred.T, lower=True)
    gram = whitened @ whitened.T if d <= n else whitened.T @ whitened
    eigenvalues = jnp.clip(jnp.linalg.eigvalsh(gram), min=0)
    # eps counts once for each of the d eigenvalues, also for those that the smaller Gram matrix does not carry.
    padded = jnp.pad(eigenvalues, (0, d - eigenvalues.size))
    return padded, jnp.where(jnp.isfinite(padded).all(), pivots.min(), jnp.nan)


@jax.jit
def _means_coincide(embeddings: jax.Array, means: jax.Array) -> jax.Array:
    return jnp.ptp(means, axis=0).max() <= 16 * _ROUNDING * jnp.abs(embeddings).max()


def _check_layout(n: int, q: int, d: int) -> None:
    if n < 2:
        raise ValueError(
            f"lidar needs at least 2 images, but got n={n} in embeddings [n={n}, q={q}, d={d}]. "
            "Pass more images; n > d is advised."
        )
    if q < 2:
        raise ValueError(
            f"lidar needs at least 2 views of each image, but got q={q} in embeddings [n={n}, q={q}, d={d}]. "
            "Encode every image under several views and stack them: np.stack(views, axis=1); q=10 is advised."
        )


def _sample_advice(n: int, q: int, d: int) -> str:
    if n > d:
        return ""
    if n * (q - 1) <= d:
        cause = f"n * (q - 1) = {n * (q - 1)} <= d = {d}: the ridge delta decides the value"
    else:
        cause = f"n = {n} <= d = {d}: the value cannot exceed n - 1 = {n - 1}"
    transposed = " If the axes are [q, n, d], pass embeddings.transpose(1, 0, 2)." if n < q else ""
    return f"lidar: {cause}. Use more than {d} images, and compare only with values at the same n, q and d.{transposed}"
