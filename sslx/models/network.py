"""A network as two pure functions, so that methods can treat teachers and copies of it as plain data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn

from sslx.models.initialise import Rules, fill

Params = dict[str, Any]
Stats = dict[str, Any]


class Network(NamedTuple):
    """`init(key, input_shape) -> (params, stats)`, `apply(params, stats, x, train=bool) -> (output, stats)`, `width`.

    `width` is the output's. `stats` holds the running averages of batch norm, {} where there is none; `apply` returns
    new ones in training and the same ones otherwise.
    """

    init: Callable[[jax.Array, tuple[int, ...]], tuple[Params, Stats]]
    apply: Callable[..., tuple[jax.Array, Stats]]
    width: int


def from_linen(module: nn.Module, rules: Rules, width: int) -> Network:
    """Wrap a Linen module that is called as `module(x, train)`; `rules` say how each of its leaves starts."""

    def init(key: jax.Array, shape: tuple[int, ...]) -> tuple[Params, Stats]:
        # Compiling the module's own init takes seconds; its shapes alone take a fraction of one.
        x = jax.ShapeDtypeStruct(tuple(shape), np.float32)
        shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
        words = jax.random.key_data(key) if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) else key

        def draw(words: jax.Array) -> tuple[Params, Stats]:
            seed = [int(word) for word in np.ravel(words)]
            return fill(shapes["params"], rules, seed), fill(shapes.get("batch_stats", {}), rules, seed)

        if isinstance(words, jax.core.Tracer):  # as under jax.eval_shape, when only the shapes are wanted
            return jax.pure_callback(draw, (shapes["params"], shapes.get("batch_stats", {})), words)
        return draw(words)

    def apply(params: Params, stats: Stats, x: jax.Array, *, train: bool) -> tuple[jax.Array, Stats]:
        variables = {"params": params, "batch_stats": stats}
        output, changed = module.apply(variables, x, train, mutable=["batch_stats"])
        return output, changed["batch_stats"] if train and stats else stats

    return Network(init, apply, width)
