"""DIET with squared error and a linear encoder is the spectral contrastive loss (2106.04156).

    python -m theory.spectral

The loss is that of HaoChen et al., arXiv 2106.04156. Let there be n images with m views each. X [n
m, p] are the views, F = X E the features, W [n, d] the head and Y [n m, n] the one-hot image of
each view. x+ is any view of the image of x, and x' any view of all:

    DIET           |F W^T - Y|^2 / (n m)
    contrastive    -2 mean f(x).f(x+) + mean (f(x).f(x'))^2

Let Q project on the columns of X, Q Y = U S V^T, and A = Y Y^T / m. DIET is the regression of Y on
X with rank d, so F W^T = U_d S_d V_d^T. The contrastive loss is |Q A Q - F F^T / (n m)|^2 plus a
constant, with Q A Q = U S^2 U^T / m, so F F^T = n U_d S_d^2 U_d^T. With an isometric head (W^T W =
I) the Gram matrices thus agree up to the factor n, which is m when features are weighted by 1 /
sqrt(n m) as in that paper; with a free head the spans do, and hence linear probes.

The eigenvalues S^2 / m say what is kept: along independent axes of variance b between images and s
within one they are (b + s / m) / (b + s), for many views b / (b + s), so rank d keeps the axes of
least relative noise.
"""

import argparse

import jax
import numpy as np
import scipy.linalg

Array = np.ndarray | jax.Array


def diet_mse(views: Array, encoder: Array, head: Array) -> Array:
    """Return DIET's squared error of views [n, m, p], encoder [p, d] and head [n, d]."""
    features = views @ encoder
    own = features * head[:, None]  # summed over d: the logit of the right image
    count = views.shape[0] * views.shape[1]
    return (((features @ head.T) ** 2).sum() - 2 * own.sum()) / count + 1


def contrastive(views: Array, encoder: Array) -> Array:
    """Return the spectral contrastive loss of views [n, m, p] and encoder [p, d], of all pairs."""
    features = views @ encoder
    flat = features.reshape(-1, features.shape[-1])
    alike = (features.mean(axis=1) ** 2).sum(axis=1).mean()
    return -2 * alike + ((flat.T @ flat / len(flat)) ** 2).sum()


def diet_optimum(views: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the minimiser of `diet_mse` with an isometric head: encoder [p, d], head [n, d].

    This is reduced-rank regression. The other minimisers are (E T, W T^-T) with an invertible T, if
    the eigenvalues d and d + 1 differ. Raises ValueError unless 1 <= d <= min(n, p) and p <= n m.
    """
    n, m, p = views.shape
    _check_rank(views, d)
    basis, triangle = np.linalg.qr(views.reshape(-1, p))
    summed = basis.reshape(n, m, p).sum(axis=1)  # Y^T basis
    v, s, rotation = np.linalg.svd(summed, full_matrices=False)
    return np.linalg.solve(triangle, rotation[:d].T * s[:d]), v[:, :d]


def contrastive_optimum(views: np.ndarray, d: int) -> np.ndarray:
    """Return the minimiser of `contrastive`, encoder [p, d], unique up to a rotation.

    Raises ValueError as `diet_optimum`.
    """
    _check_rank(views, d)
    values, vectors = _eigen(views)
    return vectors[:, :d] * np.sqrt(values[:d])


def eigenvalues(views: np.ndarray) -> np.ndarray:
    """Return the eigenvalues [p] of Q A Q for views [n, m, p], the largest first.

    Each is the share of an axis that images explain. This is linear discriminant analysis:
    t / (1 - t) are the eigenvalues of LiDAR's matrix, here without its ridge and denominators, and
    with the scatter of the images around 0.
    """
    return _eigen(views)[0]


def _eigen(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q A Q in the coordinates of X: between v = t total v, with v^T total v = 1."""
    n, m, p = views.shape
    flat, means = views.reshape(-1, p), views.mean(axis=1)
    values, vectors = scipy.linalg.eigh(means.T @ means / n, flat.T @ flat / (n * m))
    return values[::-1], vectors[:, ::-1]


def _check_rank(views: np.ndarray, d: int) -> None:
    n, m, p = views.shape
    if not 1 <= d <= min(n, p) or p > n * m:
        raise ValueError(
            f"No unique optimum with d = {d} features of views [n={n}, m={m}, p={p}]: it takes "
            f"1 <= d <= {min(n, p)} and p <= n m = {n * m}."
        )


def disagreement(views: np.ndarray, d: int, rng: np.random.Generator) -> dict[str, float]:
    """Return relative errors of two statements about features of views [n, m, p], two about losses.

    `d` is the rank. The free head's T is drawn from `rng`. Raises ValueError as `diet_optimum`.
    """
    n, m, p = views.shape
    encoder, head = diet_optimum(views, d)
    theirs = contrastive_optimum(views, d)
    flat = views.reshape(-1, p)
    features, their_features = flat @ encoder, flat @ theirs
    mixed = np.linalg.qr(features @ rng.standard_normal((d, d)))[0]
    basis = np.linalg.qr(their_features)[0]
    best_head = np.linalg.lstsq(their_features, np.repeat(np.eye(n), m, axis=0))[0].T

    def error(ours: Array, reference: Array) -> float:
        return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))

    return {
        "Gram matrices, isometric head": error(
            their_features @ their_features.T / n, features @ features.T
        ),
        "spans, free head": error(mixed @ mixed.T, basis @ basis.T),
        "DIET's loss at the contrastive optimum": error(
            diet_mse(views, theirs, best_head), diet_mse(views, encoder, head)
        ),
        "contrastive loss at DIET's optimum": error(
            contrastive(views, np.sqrt(n) * encoder), contrastive(views, theirs)
        ),
    }


def noisy_views(
    rng: np.random.Generator, n: int, m: int, between: np.ndarray, within: np.ndarray
) -> np.ndarray:
    """Draw views [n, m, p] with independent axes of the variances [p] between and within images."""
    images = rng.standard_normal((n, 1, len(between))) * np.sqrt(between)
    return images + rng.standard_normal((n, m, len(within))) * np.sqrt(within)


def main() -> None:
    """Print the largest errors over 5 seeds, and eigenvalues as predicted and observed."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    rngs = [np.random.default_rng(seed) for seed in range(5)]
    errors = [disagreement(rng.standard_normal((40, 5, 12)), 4, rng) for rng in rngs]
    print("largest relative error over 5 seeds; 40 images, 5 views of each, 12 inputs, 4 features")
    for name in errors[0]:
        print(f"  {name:40}{max(error[name] for error in errors):.1e}")
    n, m = 4000, 8
    between, within = np.ones(4), np.array([0.01, 0.06, 0.14, 0.26])
    rows = {
        "b / (b + s)": between / (between + within),
        "(b + s / m) / (b + s)": (between + within / m) / (between + within),
        "observed": eigenvalues(noisy_views(rngs[0], n, m, between, within)),
    }
    print(
        f"eigenvalues; {n} images, m = {m} views of each, b = 1 and s = "
        f"{', '.join(map(str, within))}"
    )
    for name, values in rows.items():
        print(f"  {name:40}{'  '.join(f'{value:.3f}' for value in values)}")


if __name__ == "__main__":
    main()
