"""The same products and eigenvalues as jitted JAX programs, for rows that lie on an accelerator.

In float64 on GPUs. TPUs have none: there the products run in float32 at the highest precision, one
block at a time, and the host adds them up and solves in float64 (`Score.settings["products"]` says
which)."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@jax.jit
def view_products(views: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means over the views [n, d] and the summed scatter within images [d, d] of views [n, q, d],
    in their dtype.
    """
    means = views.mean(axis=1)
    residuals = (views - means[:, None]).reshape(-1, views.shape[-1])
    return means, _product(residuals)


@jax.jit
def row_products(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean [d] and scatter [d, d] around it of rows [n, d]."""
    mean = rows.mean(axis=0)
    return mean, _product(rows - mean)


@functools.partial(jax.jit, static_argnames="as_rows")
def lda_eigenvalues(
    within: jax.Array, ridge: ArrayLike, between: jax.Array, *, as_rows: bool
) -> tuple[jax.Array, jax.Array]:
    """Descending eigenvalues of (within + ridge I)^-1 B, and the smallest Cholesky pivot relative
    to its diagonal.

    Of symmetric matrices only the lower triangles are read. `between` is B [d, d], or with
    `as_rows` rows [n, d] whose rows^T rows is B; then there are min(n, d) eigenvalues.
    """
    within = within + ridge * jnp.eye(len(within), dtype=within.dtype)
    factor = jax.lax.linalg.cholesky(within, symmetrize_input=False)
    smallest_pivot = (jnp.diagonal(factor) ** 2 / jnp.diagonal(within)).min()
    # L^-1 B L^-T has the spectrum of the symmetric form, so no matrix square root is needed.
    if as_rows:
        whitened = jax.scipy.linalg.solve_triangular(factor, between.T, lower=True)
        reduced = (
            _product(whitened) if between.shape[0] < between.shape[1] else _product(whitened.T)
        )
    else:
        symmetric = jnp.tril(between) + jnp.tril(between, -1).T
        half = jax.scipy.linalg.solve_triangular(factor, symmetric, lower=True)
        reduced = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
    return jnp.linalg.eigvalsh(reduced)[::-1], smallest_pivot


def _product(rows: jax.Array) -> jax.Array:
    return jnp.matmul(rows.T, rows, precision=jax.lax.Precision.HIGHEST)
