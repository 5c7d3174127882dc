"""The forms of LARS: a tensor's step is as long as its trust ratio, trust * |p| / |g|, says.

They differ in what the norm of g holds, in the place of the rate, and in what a norm of 0 switches
off. `mask` gives the tensors that decay; the others are not adapted either.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Array = jax.Array
EPSILON = 1e-8  # of larc's ratio


class AdaptState(NamedTuple):
    """The state of `larc`'s adaptation."""

    step: Array  # updates done, int32


def lars(
    rate: optax.Schedule,
    decay: optax.Schedule | float,
    mask: Callable[[Any], Any],
    *,
    trust: float,
    momentum: float,
    nesterov: bool,
) -> optax.GradientTransformation:
    """LARS of VICReg, Barlow Twins and BYOL: the decay is in the ratio, the rate outside the
    momentum.
    """
    return optax.chain(
        optax.add_decayed_weights(decay, mask),
        optax.masked(optax.scale_by_trust_ratio(trust_coefficient=trust), mask),
        optax.trace(momentum, nesterov),
        optax.scale_by_learning_rate(rate),
    )


def larc(
    rate: optax.Schedule,
    decay: optax.Schedule | float,
    mask: Callable[[Any], Any],
    *,
    trust: float,
    clip: bool,
    momentum: float,
    nesterov: bool,
) -> optax.GradientTransformation:
    """LARC of apex (SwAV's), which solo-learn and lightly call LARS: ratio trust * |p| / (|g| +
    decay * |p| + 1e-8).

    With `clip` no tensor's rate exceeds `rate`: the ratio is min(ratio / rate, 1), as in
    solo-learn's CIFAR recipes."""
    return optax.chain(
        optax.masked(_adapt(rate, decay, trust, clip), mask),
        optax.trace(momentum, nesterov),
        optax.scale_by_learning_rate(rate),
    )


def _adapt(
    rate: optax.Schedule, decay: optax.Schedule | float, trust: float, clip: bool
) -> optax.GradientTransformation:
    def init(params: Any) -> AdaptState:
        return AdaptState(jnp.zeros([], jnp.int32))

    def update(updates: Any, state: AdaptState, params: Any = None) -> tuple[Any, AdaptState]:
        now = decay(state.step) if callable(decay) else decay

        def adapt(gradient: Array, param: Array) -> Array:
            size, length = optax.tree.norm(gradient), optax.tree.norm(param)
            ratio = trust * length / (size + now * length + EPSILON)
            if clip:
                ratio = jnp.minimum(ratio / rate(state.step), 1)
            # A norm of 0 switches off the decay too.
            adapted = jnp.where(
                (size > 0) & (length > 0), ratio * (gradient + now * param), gradient
            )
            return adapted.astype(gradient.dtype)

        return jax.tree.map(adapt, updates, params), AdaptState(state.step + 1)

    return optax.GradientTransformation(init, update)
