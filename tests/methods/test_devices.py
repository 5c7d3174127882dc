"""Every file in sslx/methods/ on 1, 2 and 4 devices: one result, in float64."""

from typing import Any

import jax
import numpy as np
import pytest

from tests.methods.harness import METHODS, VARIANTS, advance, recipe, set_up_float64

# Also in float64 on two devices: what splits or gathers arrays by itself.
OWN_COLLECTIVES = ("diet/blockwise", "moco", "sdiet", "sdiet/file", "swav")


@pytest.fixture(params=[*METHODS, *VARIANTS])
def name(request):
    return request.param


def test_one_two_and_four_devices_give_the_same_losses_in_float64(name):
    config = recipe(name)
    config.flat = True  # tests/models/test_resnet.py has the ResNet on several devices
    losses, optimizers, params = [], [], []
    for devices in (1, 2, 4) if name in OWN_COLLECTIVES else (1, 4):
        run = set_up_float64(config, devices, steps=8)
        state, first = advance(run, run.state, 1)
        optimizers.append(jax.device_get(state.optimizer))
        state, rest = advance(run, state, 7)
        losses.append(first + rest)
        params.append(jax.device_get(state.params))
    for several in losses[1:]:
        np.testing.assert_allclose(several, losses[0], rtol=1e-9, atol=1e-10)
    # After one step the optimizer's moments are the gradient, up to a factor.
    assert_close(optimizers, 1e-9)
    # A gradient that is 0 but for rounding, as of a bias before batch norm, is divided by AdamW's
    # epsilon of 1e-8.
    assert_close(params, 1e-6)


def assert_close(trees: list[Any], tolerance: float) -> None:
    """Equal to the first up to `tolerance` of the largest value, and float64."""
    arrays = [[leaf for leaf in jax.tree.leaves(tree) if np.ndim(leaf)] for tree in trees]
    largest = max(np.abs(array).max() for array in arrays[0])
    for several in arrays[1:]:
        for x, y in zip(several, arrays[0], strict=True):
            assert x.dtype == np.float64
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * largest)
