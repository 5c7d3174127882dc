"""Singular values of an embedding matrix, the entropy rank of a spectrum, and the spread of single features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from metrics.precision import float64, load


def singular_values(embeddings: ArrayLike) -> np.ndarray:
    """Return the singular values [min(n, d)] of the uncentred embeddings [n, d], largest first, in float64.

    Raises ValueError if the embeddings are not a finite floating-point matrix.
    """
    with float64():
        return np.asarray(uncentred_singular_values(load(embeddings, "[n, d]", "singular_values")))


def feature_std(embeddings: ArrayLike) -> float:
    """Return sqrt(d) * mean_j std_i(u_ij) of the unit-norm rows u_i = z_i / |z_i| of embeddings [n, d].

    It is 0 when all rows point one way and about 1 when they are spread evenly over the sphere; it does not see
    a collapse onto a few dimensions that the features share. The deviation is the population one (divided by n), and
    a row of zeros stays zero. Raises ValueError if the embeddings are not a finite floating-point matrix.
    Chen & He 2021 (SimSiam), section 4.1.
    """
    with float64():
        return float(_feature_std(load(embeddings, "[n, d]", "feature_std")))


@jax.jit
def uncentred_singular_values(embeddings: jax.Array) -> jax.Array:
    """Singular values [min(n, d)] of embeddings [n, d], largest first."""
    n, d = embeddings.shape
    tall = embeddings if n >= d else embeddings.T
    # The Gram matrix would be cheaper still, but squares the condition number: singular values below 1e-8 of the
    # largest one would be rounding errors, and a collapsed encoder has many of those.
    return jnp.linalg.svd(jnp.linalg.qr(tall, mode="r"), compute_uv=False)


@jax.jit
def entropy_rank(spectrum: jax.Array, eps: ArrayLike) -> jax.Array:
    """Return exp(-sum_k p_k ln p_k) with p_k = s_k / sum(s) + eps, for a spectrum [k] of values >= 0 that has a sum.

    The p_k are not renormalised after eps is added (Garrido et al. 2023, equations 1 and 2).
    """
    probabilities = spectrum / spectrum.sum() + eps
    return jnp.exp(jax.scipy.special.entr(probabilities).sum())


@jax.jit
def _feature_std(embeddings: jax.Array) -> jax.Array:
    # Dividing by the largest entry first keeps the squares of very small and very large rows in range.
    largest = jnp.abs(embeddings).max(axis=1, keepdims=True)
    scaled = embeddings / jnp.where(largest > 0, largest, 1)
    norms = jnp.linalg.norm(scaled, axis=1, keepdims=True)
    directions = scaled / jnp.where(norms > 0, norms, 1)
    return jnp.sqrt(embeddings.shape[1]) * directions.std(axis=0).mean()
