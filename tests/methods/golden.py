"""Values and gradients of a loss against a reference implementation's, in float64 and float32."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PRECISIONS = {"f64": 1e-9, "f32": 1e-5}


def load(case: str) -> Any:
    """The stored arrays of `tests/golden/<case>.npz`."""
    return np.load(f"tests/golden/{case}.npz", allow_pickle=False)


def assert_close(got: Any, expected: Any, rtol: float) -> None:
    """Equal up to `rtol` of each value, or of the largest for values near 0."""
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def check(
    case: str,
    who: str,
    precision: str,
    loss: Callable[..., Any],
    inputs: tuple[str, ...],
    differentiated: int | None = None,
) -> None:
    """`loss(*inputs)`, jitted, has the value of `who` and its gradients by the first
    `differentiated` inputs.
    """
    arrays, rtol = load(case), PRECISIONS[precision]
    count = len(inputs) if differentiated is None else differentiated
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        values = [jnp.asarray(arrays[f"in.{name}"], dtype) for name in inputs]
        value, gradients = jax.jit(jax.value_and_grad(loss, tuple(range(count))))(*values)
        assert value.dtype == dtype
        assert_close(value, arrays[f"{who}.{precision}.loss"], rtol)
        for name, gradient in zip(inputs, gradients, strict=False):
            key = f"{who}.{precision}.grad.{name}"
            if precision == "f64" or key in arrays:
                assert_close(gradient, arrays[key], rtol)
