"""alpha-ReQ: the power-law exponent of the covariance spectrum (Agrawal et al., NeurIPS 2022)."""

import warnings

import numpy as np
from jax.typing import ArrayLike

from metrics.score import Score
from metrics.spectrum import SpectrumState


def alpha_req(
    embeddings: ArrayLike | SpectrumState,
    *,
    first: int = 3,
    last: int | None = 99,
    weighted: bool = True,
) -> Score:
    """Return the decay exponent alpha of the covariance eigenvalues of embeddings [n, d].

    The least-squares fit of ln(lambda_k) = c - alpha ln(k). The defaults are those of the authors'
    program, which goes back to Stringer et al. (2019) and gave the published values; the paper is
    `alpha_req(embeddings, first=0, last=None, weighted=False)`.

    - `first`, `last`: 0-based indices of eigenvalues, both included; `last=None` is the end of the
      spectrum. A window that is longer than the spectrum ends with it, and a warning gives its end.
    - `weighted`: weigh eigenvalue k = 1, 2, ... by 1/k.

    `settings["r2"]` is computed as in the authors' program: from one index after `first` to the
    eleventh from the end of the spectrum, or to 499, not over the window; None where that is empty.
    The authors find alpha near 1 in good encoders; to rank encoders by |alpha - 1| is common
    practice, not theirs. Values compare only at one window. Raises ValueError if fewer than 3
    eigenvalues above rounding are in the window.
    """
    state = SpectrumState.of(embeddings, "alpha_req")
    if first < 0 or (last is not None and last < first + 2):
        raise ValueError(
            f"alpha_req needs 0 <= first and last >= first + 2, but got first={first}, "
            f"last={last}. The authors' window is first=3, last=99."
        )
    spectrum = state.variances()
    usable = int(np.count_nonzero(spectrum))
    end = usable - 1 if last is None else min(last, usable - 1)
    if end < first + 2:
        raise ValueError(
            f"alpha_req needs at least 3 eigenvalues from index {first} on, but only {usable} of "
            f"the covariance of embeddings [n={state.n}, d={state.d}] are above rounding: too few "
            "images, or a collapsed encoder."
        )
    if last is not None and end < last:
        warnings.warn(
            f"alpha_req: the window ends at index {end} instead of {last}, where the spectrum of "
            f"embeddings [n={state.n}, d={state.d}] ends; pass last={end} to avoid this warning.",
            stacklevel=2,
        )
    rank = np.arange(1, usable + 1)
    x, y = -np.log(rank), np.log(spectrum[:usable] / spectrum.sum())
    window = slice(first, end + 1)
    # polyfit multiplies the residuals by w, so w is the square root of the weight.
    weights = rank[window] ** -0.5 if weighted else np.ones(end + 1 - first)
    alpha, intercept = np.polyfit(x[window], y[window], 1, w=weights)
    scored = slice(first + 1, 500 if usable > 500 else usable - 10)
    r2 = _r2(y[scored], alpha * x[scored] + intercept)
    settings = state.settings(first=first, last=end, weighted=weighted, r2=r2, centred=True)
    return Score(alpha, **settings)


def _r2(values: np.ndarray, fitted: np.ndarray) -> float | None:
    spread = ((values - values.mean()) ** 2).sum() if len(values) else 0.0
    return float(1 - ((values - fitted) ** 2).sum() / spread) if spread > 0 else None
