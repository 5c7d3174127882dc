from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.methods.simclr import nt_xent

pytestmark = pytest.mark.usefixtures("quick_compilation")

CASES = {"a": 0.5, "b": 0.1, "c": 0.2}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("precision", "rtol"), [("f64", 1e-9), ("f32", 1e-5)])
def test_value_and_gradient_equal_the_reference(case, precision, rtol):
    golden = np.load(f"tests/golden/ntxent_{case}.npz", allow_pickle=False)
    with jax.enable_x64(precision == "f64"):
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        z1, z2 = (jnp.asarray(golden[f"in.{name}"], dtype) for name in ("z1", "z2"))
        loss, gradients = jax.jit(
            jax.value_and_grad(partial(nt_xent, temperature=CASES[case]), (0, 1))
        )(z1, z2)
        assert loss.dtype == dtype
        np.testing.assert_allclose(loss, golden[f"lightly.{precision}.loss"], rtol=rtol)
        np.testing.assert_allclose(2 * loss, golden[f"simclr.{precision}.loss"], rtol=rtol)
        for name, gradient in zip(("z1", "z2"), gradients, strict=True):
            expected = golden[f"lightly.{precision}.grad.{name}"]
            np.testing.assert_allclose(
                gradient, expected, rtol=rtol, atol=rtol * np.abs(expected).max()
            )


def test_a_zero_vector_has_a_finite_gradient():
    z = jnp.eye(4).at[1].set(0.0)
    assert np.isfinite(jax.jit(jax.grad(partial(nt_xent, temperature=0.5)))(z, jnp.eye(4))).all()


def test_equal_views_of_all_images_give_chance():
    z = jnp.ones((8, 3))
    assert float(nt_xent(z, z, temperature=0.1)) == pytest.approx(np.log(15), rel=1e-5)
