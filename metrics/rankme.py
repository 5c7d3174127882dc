"""RankMe: the entropy rank of an embedding matrix (Garrido et al., ICML 2023, arXiv 2210.02885)."""

import warnings

from jax.typing import ArrayLike

from metrics.arrays import check_constant, load
from metrics.reference import entropy_rank
from metrics.score import Score
from metrics.spectrum import SpectrumState


def rankme(
    embeddings: ArrayLike | SpectrumState, *, eps: float = 1e-7, rtol: float = 1e-9
) -> Score:
    """Return exp(-sum_k p_k ln p_k), p_k = sigma_k / sum(sigma) + eps, of embeddings [n, d].

    The sigma_k are the min(n, d) singular values of the matrix as it is: neither centred nor
    normalised. Values compare only at one n and within one method. `rtol` is the relative error
    that rounding may cause: small singular values are computed a second time where it would be
    more, and 1e-7 is then two to five times faster than 1e-9. All-zero embeddings have no spectrum:
    they give 1.0 and a warning. Raises ValueError if eps or rtol is negative. Equation 2.
    """
    return _rankme(embeddings, "rankme", eps, rtol)


def augmented_rankme(embeddings: ArrayLike, *, eps: float = 1e-7, rtol: float = 1e-9) -> Score:
    """Return RankMe over all n q rows of embeddings [n, q, d], the views that LiDAR reads.

    What it differs by from RankMe is due to the augmented data, and what LiDAR differs by from it
    to the use of the groups. Thilak et al. 2024; their exact definition is not known, this is ours.
    """
    views = load(embeddings, "[n, q, d]", "augmented_rankme")
    n, q, d = views.shape
    score = _rankme(views.reshape(n * q, d), "augmented_rankme", eps, rtol)
    return Score(score, **({"n": n, "q": q} | score.settings | {"n": n}))


def _rankme(embeddings: ArrayLike | SpectrumState, metric: str, eps: float, rtol: float) -> Score:
    check_constant("eps", eps, metric)
    check_constant("rtol", rtol, metric)
    state = SpectrumState.of(embeddings, metric)
    state.refine(rtol)
    settings = state.settings(eps=eps, centred=False)
    if not state.singular_values.any():
        warnings.warn(
            f"{metric}: all embeddings are zero; the rank is reported as 1.0.", stacklevel=3
        )
        return Score(1.0, **settings)
    return Score(entropy_rank(state.singular_values, eps), **settings)
