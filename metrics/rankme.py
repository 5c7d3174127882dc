"""RankMe: the entropy rank of an embedding matrix (Garrido et al., ICML 2023, arXiv 2210.02885)."""

import warnings

import jax
from jax.typing import ArrayLike

from metrics.precision import check_constant, float64, load
from metrics.spectrum import entropy_rank, uncentred_singular_values


def rankme(embeddings: ArrayLike, *, eps: float = 1e-7) -> float:
    """Return RankMe = exp(-sum_k p_k ln p_k), p_k = sigma_k / sum(sigma) + eps, of embeddings [n, d] (equation 2).

    The sigma_k are the min(n, d) singular values of the matrix as it is: neither centred nor normalised. Values
    compare only at one n and within one method. All-zero embeddings have no spectrum: they give 1.0 and a warning.
    Raises ValueError if the embeddings are not a finite floating-point matrix, or if eps is negative.
    """
    check_constant("eps", eps, "rankme")
    with float64():
        matrix = load(embeddings, "[n, d]", "rankme")
        if not matrix.any():
            warnings.warn("rankme: all embeddings are zero; the rank is reported as 1.0.", stacklevel=2)
            return 1.0
        return float(_rankme(matrix, eps))


@jax.jit
def _rankme(embeddings: jax.Array, eps: ArrayLike) -> jax.Array:
    return entropy_rank(uncentred_singular_values(embeddings), eps)
