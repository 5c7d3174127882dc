"""LiDAR: the entropy rank of the LDA matrix of the self-supervised task.

Thilak et al., ICLR 2024, arXiv 2312.04000. `reference.lidar` has the equations in plain lines. The
paper leaves the denominators and the two constants open; the defaults are common in public code."""

import warnings
from typing import Literal

import numpy as np
from jax.typing import ArrayLike

from metrics.arrays import ROUNDING, check_constant
from metrics.lda import Spectrum, lda_spectrum, whiten
from metrics.lidar_state import LidarState
from metrics.reference import entropy_rank
from metrics.scatter import gram_eigenvalues
from metrics.score import Score

_GROUPS = 20  # of the jackknife


def lidar(
    embeddings: ArrayLike | LidarState,
    *,
    delta: float = 1e-4,
    eps: float = 1e-7,
    unbiased: bool = True,
    ridge: Literal["absolute", "relative"] = "absolute",
    debias: bool = False,
    confidence: float | None = None,
) -> Score:
    """Return LiDAR of embeddings [n, q, d]: n images, q views of each, d features.

    - `delta`: the ridge in S_w. With `ridge="relative"` it is a multiple of trace(S_w) / d, and the
      value no longer depends on the embeddings' scale.
    - `eps`: added to each p_k.
    - `unbiased=False`: divide by n and n q instead of n - 1 and n (q - 1).
    - `debias=True`: replace S_b by S_b - S_w / q, the unbiased estimate of the scatter of the
      images' true means, and drop negative eigenvalues. Otherwise a direction of pure noise counts
      as an eigenvalue of about 1 / q.
    - `confidence=0.95`: add `settings["interval"]` and `["standard_error"]` for the choice of the n
      images, from a jackknife over 20 groups of them with S_w held fixed. A bootstrap repeats
      images, which lowers the rank itself: its intervals are too narrow
      (`python -m benchmarks.intervals`).

    Pass a `LidarState` for embeddings that do not fit in memory. Values compare only at equal n, q,
    d, delta and eps. Debiased LiDAR, the relative ridge and the interval are ours, not the paper's.

    Warns when n <= d, where the number of images limits the value, and when views of one image are
    no more alike than views of different ones. Returns 1.0 with a warning when all class means
    coincide. Raises ValueError for n < 2, q < 2, unusable options, and a within-class scatter that
    cannot be inverted.
    """
    _check_options(delta, eps, unbiased, ridge, debias, confidence)
    state = LidarState.of(embeddings, keep_means=confidence is not None)
    n, q, d = state.n, state.q, state.d
    if n < 2:
        raise ValueError(
            f"lidar needs at least 2 images, but got n={n} in embeddings [n={n}, q={q}, d={d}]. "
            "Pass more images; n > d is advised."
        )
    settings = state.settings(delta=delta, ridge=ridge, eps=eps, unbiased=unbiased, debias=debias)
    if state.means_coincide():
        warnings.warn(
            "lidar: all images have the same mean embedding, so there is no between-class scatter "
            "and LiDAR is 0/0; it is reported as 1.0. The encoder has collapsed, or one image was "
            "passed n times.",
            stacklevel=2,
        )
        return Score(1.0, **settings)
    for advice in (_sample_advice(n, q, d), state.grouping_advice()):
        if advice:
            warnings.warn(f"lidar: {advice}", stacklevel=2)
    between_count, within_count = (n - 1, n * (q - 1)) if unbiased else (n, n * q)
    absolute = delta
    if ridge == "relative":
        absolute = delta * (state.within.trace() / within_count) / d
    # The eigenproblem is solved for the plain sums:
    # (W / c + delta I)^-1 B / b = (c / b) (W + c delta I)^-1 B.
    ridge_of_sum = within_count * absolute
    bias = between_count / (within_count * q) if debias else 0.0
    spectrum = lda_spectrum(state.between, state.within, ridge=ridge_of_sum, subtract=bias)
    _check_inverse(spectrum, n, q, d, delta)
    value = _rank(spectrum.eigenvalues, d, eps)
    if confidence is not None:
        from scipy import stats  # slow to import, and needed here only

        error = _jackknife(state, ridge_of_sum, bias, eps)
        reach = error * float(stats.t.ppf((1 + confidence) / 2, min(_GROUPS, n) - 1))
        interval = (max(1.0, value - reach), value + reach)
        settings |= {"standard_error": error, "interval": interval, "confidence": confidence}
    return Score(value, **settings)


def debiased_lidar(
    embeddings: ArrayLike | LidarState,
    *,
    delta: float = 1e-4,
    eps: float = 1e-7,
    ridge: Literal["absolute", "relative"] = "absolute",
) -> Score:
    """Return `lidar(..., debias=True)` of embeddings [n, q, d]."""
    return lidar(embeddings, delta=delta, eps=eps, ridge=ridge, debias=True)


def _rank(eigenvalues: np.ndarray, width: int, eps: float) -> float:
    """The entropy rank of the positive eigenvalues, padded because eps counts in all `width`."""
    padded = np.zeros(width)
    padded[: len(eigenvalues)] = eigenvalues.clip(min=0)
    return entropy_rank(padded, eps) if padded.any() else 1.0


def _jackknife(state: LidarState, ridge: float, bias: float, eps: float) -> float:
    """Standard error from the values without each of 20 groups of images (Efron & Stein 1981)."""
    rows = state.between.rows()
    if rows is None:
        raise ValueError(
            "lidar: a confidence interval needs the images' means. Accumulate with "
            "LidarState(keep_means=True), and in one process."
        )
    whitened, _ = whiten(rows, state.within, ridge)
    order = np.random.default_rng(0).permutation(len(rows))
    values = []
    for group in np.array_split(order, min(_GROUPS, len(rows))):
        kept = np.delete(whitened, group, axis=0)
        eigenvalues = gram_eigenvalues(kept - kept.mean(axis=0))
        # The bias was made for the sum over all images.
        eigenvalues *= (len(rows) - 1) / max(len(kept) - 1, 1)
        values.append(_rank(eigenvalues - bias, state.d, eps))
    return float(np.sqrt((len(values) - 1) * np.var(values)))


def _check_inverse(spectrum: Spectrum, n: int, q: int, d: int, delta: float) -> None:
    full_rank = delta > 0 or n * (q - 1) >= d
    # Comparisons with NaN are false, so this also catches a factorisation that broke down.
    regular = spectrum.smallest_pivot > d * ROUNDING and np.isfinite(spectrum.eigenvalues).all()
    if full_rank and regular:
        return
    raise ValueError(
        f"lidar cannot invert the within-class scatter of embeddings [n={n}, q={q}, d={d}] with "
        f"delta={delta}. Pass a larger ridge, for example delta={max(1e-4, 100 * delta):g}, or "
        "more views: n * (q - 1) must reach d when delta=0."
    )


def _check_options(
    delta: float, eps: float, unbiased: bool, ridge: str, debias: bool, confidence: float | None
) -> None:
    check_constant("delta", delta, "lidar")
    check_constant("eps", eps, "lidar")
    if ridge not in ("absolute", "relative"):
        raise ValueError(
            f'lidar takes ridge="absolute" or ridge="relative", but got ridge={ridge!r}.'
        )
    if debias and not unbiased:
        raise ValueError(
            "lidar(debias=True) needs the unbiased denominators; leave out unbiased=False."
        )
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(
            f"lidar needs 0 < confidence < 1, for example 0.95, but got confidence={confidence}."
        )
    if confidence is not None and debias and delta > 0:
        raise ValueError(
            "lidar has no interval for debias=True with a ridge; pass delta=0 as well."
        )


def _sample_advice(n: int, q: int, d: int) -> str:
    if n > d:
        return ""
    cause = f"n = {n} <= d = {d}: the value cannot exceed n - 1 = {n - 1}"
    if n * (q - 1) <= d:
        cause = f"n * (q - 1) = {n * (q - 1)} <= d = {d}: the ridge delta decides the value"
    advice = f"Use more than {d} images, and compare only with values at the same n, q and d."
    if n < q:
        advice += " If the axes are [q, n, d], pass embeddings.transpose(1, 0, 2)."
    return f"{cause}. {advice}"
