"""Products and eigenvalues as jitted JAX programs, for rows that lie on an accelerator.

In float64 on GPUs. TPUs have none: there the products run in float32 at the highest precision, one
block at a time, and the host adds them up and solves in float64. `Score.settings["products"]` is
the precision of the products."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@jax.jit
def view_products(views: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the means [n, d] and the summed within-image scatter [d, d] of views [n, q, d]."""
    means = views.mean(axis=1)
    residuals = (views - means[:, None]).reshape(-1, views.shape[-1])
    return means, _product(residuals)


@jax.jit
def row_products(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the mean [d] of rows [n, d] and their scatter [d, d] around it."""
    mean = rows.mean(axis=0)
    return mean, _product(rows - mean)


@functools.partial(jax.jit, static_argnames="as_rows")
def lda_eigenvalues(
    within: jax.Array, ridge: ArrayLike, between: jax.Array, *, as_rows: bool
) -> tuple[jax.Array, jax.Array]:
    """Return descending eigenvalues of (within + ridge I)^-1 B, and the smallest relative pivot.

    Of symmetric matrices only the lower triangles are read. `between` is B [d, d], or with
    `as_rows` rows [n, d] whose rows^T rows is B; then there are min(n, d) eigenvalues. Pivots are
    those of the Cholesky factor, relative to the diagonal.
    """
    within = within + ridge * jnp.eye(len(within), dtype=within.dtype)
    factor = jax.lax.linalg.cholesky(within, symmetrize_input=False)
    smallest_pivot = (jnp.diagonal(factor) ** 2 / jnp.diagonal(within)).min()
    # L^-1 B L^-T has the spectrum of the symmetric form, so no matrix square root is needed.
    if as_rows:
        whitened = jax.scipy.linalg.solve_triangular(factor, between.T, lower=True)
        few = between.shape[0] < between.shape[1]
        reduced = _product(whitened) if few else _product(whitened.T)
    else:
        symmetric = jnp.tril(between) + jnp.tril(between, -1).T
        half = jax.scipy.linalg.solve_triangular(factor, symmetric, lower=True)
        reduced = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
    return jnp.linalg.eigvalsh(reduced)[::-1], smallest_pivot


def _product(rows: jax.Array) -> jax.Array:
    return jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
