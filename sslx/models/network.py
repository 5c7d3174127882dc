"""A network as two pure functions: teachers and copies of it are plain data."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sslx.models.initialise import Rules, fill

Params = dict[str, Any]
Stats = dict[str, Any]


class Network(NamedTuple):
    """A network as data: `init`, `apply`, the `width` of its output, and its `patch`.

    `init(key, shape)` gives `params, stats`. `stats` holds the running averages of batch norm, {}
    where there is none. `apply(params, stats, x, train=, groups=1)` gives `output, stats`, new ones
    in training and the same ones otherwise. In training, batch norm treats the rows i % `groups` as
    a batch of their own, and a `key` decides which images skip a branch, where the network has
    such; with `skip=False` none does. A network of tokens (`patch` is not 0) takes what its module
    takes besides: see sslx/models/vit.py.
    """

    init: Callable[[jax.Array, tuple[int, ...]], tuple[Params, Stats]]
    apply: Callable[..., tuple[jax.Array, Stats]]
    width: int
    patch: int = 0  # pixels per side of a vision transformer's patch


def from_linen(module: nn.Module, rules: Rules, width: int, patch: int = 0) -> Network:
    """Wrap a Linen module, called as `module(x, train, groups)`, as a `Network`.

    The module's initialisers are not used: `rules` draw the values, see sslx/models/initialise.py.
    """

    def init(key: jax.Array, shape: tuple[int, ...]) -> tuple[Params, Stats]:
        x = jax.ShapeDtypeStruct(tuple(shape), np.float32)
        shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
        params, stats = shapes["params"], shapes.get("batch_stats", {})

        def draw(words: jax.Array) -> tuple[Params, Stats]:
            seed = [int(word) for word in np.ravel(words)]
            return fill(params, rules, seed), fill(stats, rules, seed)

        typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
        words = jax.random.key_data(key) if typed else key
        if isinstance(words, jax.core.Tracer):  # as under jax.eval_shape, for the shapes alone
            return jax.pure_callback(draw, (params, stats), words)
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


def require(field: str, value: Any, allowed: Collection[Any]) -> None:
    """Raise ValueError unless the value of `config.model.<field>` is one of the allowed ones."""
    if value not in allowed:
        raise ValueError(
            f"config.model.{field} is {value!r}; it takes {', '.join(map(str, allowed))}."
        )


def patches_per_side(size: int, patch: int) -> int:
    """Return the patches per side of a view of `size` pixels; ValueError unless they fill it."""
    if size % patch:
        raise ValueError(
            f"Views of {size} x {size} pixels cannot be cut into patches of {patch} x {patch}: "
            "choose --config.model.patch, or the size of the crops in config.views as a multiple "
            f"of {patch}."
        )
    return size // patch


def grid_of(encoder: Network, size: int, method: str) -> int:
    """Return `patches_per_side` of the method's encoder; ValueError for one without patches."""
    if not encoder.patch:
        raise ValueError(
            f"{method} hides patches, which a ResNet has not: give it a vision transformer, "
            'config.model = base.vit(variant="vit_small", patch=16).'
        )
    return patches_per_side(size, encoder.patch)


def chain(**networks: Network) -> Network:
    """Join networks one after another; parameters and statistics are dicts by their names.

    Options of `apply`, such as the `key`, go to the first network.
    """

    def init(key: jax.Array, shape: tuple[int, ...]) -> tuple[Params, Stats]:
        keys = jax.random.split(key, len(networks))
        params, stats = {}, {}
        for own_key, (name, network) in zip(keys, networks.items(), strict=True):
            params[name], stats[name] = network.init(own_key, shape)
            shape = (1, network.width)
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

    return Network(init, apply, list(networks.values())[-1].width)


def encode(
    encoder: Network, projector: Network, params: Params, stats: Stats, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the encoder's and the projector's output in evaluation, of parameters of a `chain`."""
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
    """Apply the network in training to each of the views [B, ...]; those of one shape as one batch.

    Batch norm sees each view by itself, split into `groups`; with 0 it sees all views of one shape
    together. The `key` is for networks whose images skip branches, unless `skip` forbids it (a
    teacher's see everything). Returns one output [B, k] per view, and the new statistics.
    """
    outputs: dict[int, jax.Array] = {}
    shapes = dict.fromkeys(view.shape for view in views)  # each once, in order
    for number, shape in enumerate(shapes):
        options: dict[str, Any] = {} if skip else {"skip": False}
        if key is not None:
            options["key"] = jax.random.fold_in(key, number)
        members = [index for index, view in enumerate(views) if view.shape == shape]
        # Image-major [B, V] -> [B V]: the views of an image stay on its device, where a
        # concatenation would move them.
        rows = jnp.stack([views[index] for index in members], axis=1).reshape(-1, *shape[1:])
        output, stats = network.apply(
            params, stats, rows, train=True, groups=len(members) * groups or 1, **options
        )
        by_view = jnp.moveaxis(output.reshape(shape[0], len(members), -1), 1, 0)
        outputs.update(zip(members, by_view, strict=True))
    return [outputs[index] for index in range(len(views))], stats
