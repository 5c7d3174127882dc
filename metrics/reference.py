"""LiDAR, RankMe and alpha-ReQ as their papers define them, in plain NumPy.

Read these to learn what the metrics are. The functions of the same names in `metrics` return the
same numbers faster, from data that need not fit in memory, and check their input; the tests compare
the two. Arrays are float64."""

import numpy as np


def lidar(embeddings: np.ndarray, delta: float = 1e-4, eps: float = 1e-7) -> float:
    """Return LiDAR of embeddings [n, q, d]: n images, q views of each, d features.

    The entropy rank of the LDA matrix whose classes are the images:

        S_b = sum_i (mu_i - mu)(mu_i - mu)^T / (n - 1)
        S_w = sum_ij (e_ij - mu_i)(e_ij - mu_i)^T / (n (q - 1)) + delta I
        LiDAR = entropy rank of the d eigenvalues of S_w^(-1/2) S_b S_w^(-1/2)

    Thilak et al., ICLR 2024, arXiv 2312.04000, equations 1 to 4. The paper leaves the denominators
    and the two constants open; these are common in public code.
    """
    n, q, d = embeddings.shape
    class_means = embeddings.mean(axis=1)
    between = class_means - class_means.mean(axis=0)
    within = (embeddings - class_means[:, None]).reshape(n * q, d)
    s_b = between.T @ between / (n - 1)
    s_w = within.T @ within / (n * (q - 1)) + delta * np.eye(d)
    values, vectors = np.linalg.eigh(s_w)
    whitening = vectors @ np.diag(values**-0.5) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(whitening @ s_b @ whitening)
    # Rounding makes zeros slightly negative.
    return entropy_rank(eigenvalues.clip(min=0), eps)


def rankme(embeddings: np.ndarray, eps: float = 1e-7) -> float:
    """Return RankMe of embeddings [n, d]: the entropy rank of their min(n, d) singular values.

    The matrix is neither centred nor normalised. Garrido et al., ICML 2023, arXiv 2210.02885,
    equations 1 and 2.
    """
    return entropy_rank(np.linalg.svd(embeddings, compute_uv=False), eps)


def entropy_rank(spectrum: np.ndarray, eps: float) -> float:
    """Return exp(-sum_k p_k ln p_k), p_k = s_k / sum(s) + eps, of values s [k] >= 0.

    The p_k are not normalised again after eps is added.
    """
    p = spectrum / spectrum.sum() + eps
    p = p[p > 0]  # 0 ln 0 = 0
    return float(np.exp(-p @ np.log(p)))


def alpha_req(
    embeddings: np.ndarray, first: int = 3, last: int | None = 99, weighted: bool = True
) -> float:
    """Return alpha of the power law lambda_k ~ k^-alpha of the covariance of embeddings [n, d].

    The slope of ln lambda_k on -ln k, by least squares over the eigenvalues with 0-based indices
    `first` to `last`, with weights 1 / k. Agrawal et al., NeurIPS 2022. Defaults are those of the
    authors' program; the paper fits all eigenvalues: first=0, last=None, weighted=False.
    """
    n, d = embeddings.shape
    centred = embeddings - embeddings.mean(axis=0)
    eigenvalues = np.linalg.svd(centred, compute_uv=False)[: min(n - 1, d)] ** 2 / (n - 1)
    window = slice(first, None if last is None else last + 1)
    k = np.arange(1, len(eigenvalues) + 1)[window]
    x, y = -np.log(k), np.log(eigenvalues[window])
    weights = 1 / k if weighted else np.ones(len(k))
    x_offset = x - np.average(x, weights=weights)
    return float(np.sum(weights * x_offset * y) / np.sum(weights * x_offset**2))
