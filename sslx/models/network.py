"""A network as two pure functions, so that methods can treat teachers and copies of it as plain
data.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sslx.models.initialise import Rules, fill

Params = dict[str, Any]
Stats = dict[str, Any]


class Network(NamedTuple):
    """`init(key, shape) -> (params, stats)`, `apply(params, stats, x, train=, groups=1) -> (output,
    stats)`, `width`.

    `width` is the output's. `stats` holds the running averages of batch norm, {} where there is
    none; `apply` returns new ones in training and the same ones otherwise. In training, batch norm
    treats the rows i % `groups` as a batch of their own, and a `key` decides which images skip a
    branch, where the network has such; with `skip=False` none does. A network of tokens (`patch` is
    not 0) takes what its module takes besides: see sslx/models/vit.py."""

    init: Callable[[jax.Array, tuple[int, ...]], tuple[Params, Stats]]
    apply: Callable[..., tuple[jax.Array, Stats]]
    width: int
    patch: int = 0  # pixels per side of a vision transformer's patch


def from_linen(module: nn.Module, rules: Rules, width: int, patch: int = 0) -> Network:
    """Wrap a Linen module that is called as `module(x, train, groups)`; `rules` say how each of its
    leaves starts.
    """

    def init(key: jax.Array, shape: tuple[int, ...]) -> tuple[Params, Stats]:
        # Compiling the module's own init takes seconds; its shapes alone take a fraction of one.
        x = jax.ShapeDtypeStruct(tuple(shape), np.float32)
        shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
        words = (
            jax.random.key_data(key)
            if jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
            else key
        )

        def draw(words: jax.Array) -> tuple[Params, Stats]:
            seed = [int(word) for word in np.ravel(words)]
            return fill(shapes["params"], rules, seed), fill(
                shapes.get("batch_stats", {}), rules, seed
            )

        if isinstance(
            words, jax.core.Tracer
        ):  # as under jax.eval_shape, when only the shapes are wanted
            return jax.pure_callback(draw, (shapes["params"], shapes.get("batch_stats", {})), words)
        return draw(words)

    def apply(
        params: Params,
        stats: Stats,
        x: jax.Array,
        *,
        train: bool,
        groups: int = 1,
        key: jax.Array | None = None,
        skip: bool = True,
        **options: Any,
    ) -> tuple[Any, Stats]:
        variables = {"params": params, "batch_stats": stats}
        rngs = None if key is None else {"drop_path": key}
        called = module if skip or not hasattr(module, "drop_path") else module.clone(drop_path=0.0)
        output, changed = called.apply(
            variables, x, train, groups, mutable=["batch_stats"], rngs=rngs, **options
        )
        return output, changed["batch_stats"] if train and stats else stats

    return Network(init, apply, width, patch)


def patches_per_side(size: int, patch: int) -> int:
    """Patches per side of a view of `size` pixels; raises ValueError unless they fill it."""
    if size % patch:
        raise ValueError(
            f"Views of {size} x {size} pixels cannot be cut into patches of {patch} x {patch}: "
            "choose "
            "--config.model.patch, or the size of the crops in config.views as a multiple of "
            f"{patch}."
        )
    return size // patch


def grid_of(encoder: Network, size: int, method: str) -> int:
    """`patches_per_side` of the method's encoder; raises ValueError also where it is no vision
    transformer.
    """
    if not encoder.patch:
        raise ValueError(
            f"{method} hides patches, which a ResNet has not: give it a vision transformer, "
            'config.model = common.vit(variant="vit_small", patch=16).'
        )
    return patches_per_side(size, encoder.patch)


def chain(**networks: Network) -> Network:
    """Networks one after another; parameters and statistics are dicts by their names, the first
    takes the `key`.
    """
    widths = [network.width for network in networks.values()]

    def init(key: jax.Array, shape: tuple[int, ...]) -> tuple[Params, Stats]:
        keys = jax.random.split(key, len(networks))
        shapes = [shape, *((1, width) for width in widths)]
        fresh = [
            network.init(*given)
            for network, *given in zip(networks.values(), keys, shapes, strict=False)
        ]
        params, stats = (
            dict(zip(networks, trees, strict=True)) for trees in zip(*fresh, strict=True)
        )
        return params, stats

    def apply(
        params: Params, stats: Stats, x: jax.Array, *, train: bool, groups: int = 1, **options: Any
    ) -> tuple[jax.Array, Stats]:
        new = {}
        for name, network in networks.items():
            x, new[name] = network.apply(
                params[name], stats[name], x, train=train, groups=groups, **options
            )
            options = {}
        return x, new

    return Network(init, apply, widths[-1])


def encode(
    encoder: Network, projector: Network, params: Params, stats: Stats, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The encoder's and the projector's output in eval mode, from the parameters of their `chain`."""
    x, _ = encoder.apply(params["encoder"], stats["encoder"], images, train=False)
    z, _ = projector.apply(params["projector"], stats["projector"], x, train=False)
    return x, z


def apply_to_views(
    network: Network,
    params: Params,
    stats: Stats,
    views: Sequence[jax.Array],
    *,
    groups: int,
    key: jax.Array | None = None,
    skip: bool = True,
) -> tuple[list[jax.Array], Stats]:
    """The network's output [B, k] in training for each of the views [B, ...]; views of one shape
    pass as one batch.

    Batch norm sees each view by itself, split into `groups`; with 0 it sees all views of one shape
    together. The `key` is for networks whose images skip branches, unless `skip` forbids it (a
    teacher's see everything)."""
    outputs: dict[int, jax.Array] = {}
    for number, shape in enumerate(dict.fromkeys(view.shape for view in views)):
        options = ({} if key is None else {"key": jax.random.fold_in(key, number)}) | (
            {} if skip else {"skip": False}
        )
        members = [number for number, view in enumerate(views) if view.shape == shape]
        # Image-major [B, V] -> [B V]: the views of an image stay on its device, where a
        # concatenation would move them.
        rows = jnp.stack([views[number] for number in members], axis=1).reshape(-1, *shape[1:])
        output, stats = network.apply(
            params, stats, rows, train=True, groups=len(members) * groups or 1, **options
        )
        by_view = jnp.moveaxis(output.reshape(shape[0], len(members), -1), 1, 0)
        outputs.update(zip(members, by_view, strict=True))
    return [outputs[number] for number in range(len(views))], stats
