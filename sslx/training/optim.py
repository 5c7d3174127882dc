"""The optimizer of a config, its groups of parameters, and which parameters decay."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sslx.hints import check_choice, check_fields
from sslx.training.schedules import Durations, learning_rate, peak_rate, weight_decay

OPTIMIZERS = ("adamw", "sgd", "lars", "lars_simclr", "larc")
REST = "rest"  # the parameters of no group


class Group(NamedTuple):
    """Parameters with a learning rate of their own, for `config.optimizer.groups`."""

    paths: str  # regular expression; a parameter whose path (encoder/conv1/kernel) has a match
    rate: float = 1.0  # factor of the learning rate
    constant: bool = False  # the rate stays at its peak: no warm-up, no schedule
    frozen: str = "0 steps"  # until then nothing moves: no update, no decay, no moments


def make_optimizer(
    config: Any,
    durations: Durations,
    *,
    rate: optax.Schedule | None = None,
    decay: optax.Schedule | float | None = None,
) -> optax.GradientTransformation:
    """Make the optax transformation of `config.optimizer`.

    Weight decay follows `decays`, groups follow `parameter_groups`. adamw is torch's; sgd adds the
    decay to the gradient (coupled), as torch's; lars is VICReg's, Barlow Twins' and BYOL's;
    lars_simclr keeps the learning rate inside the momentum; larc is apex's. `rate` and `decay` by
    step stand in for the config's own. Raises ValueError for an unknown name and a wrong group;
    `init` raises it for a group without parameters.
    """
    check_choice("config.optimizer.name", config.name, OPTIMIZERS)
    groups = parameter_groups(config)
    peak = peak_rate(config, durations.batch_size)
    rate = rate or learning_rate(config, durations)
    decay = weight_decay(config, durations) if decay is None else decay

    def group_update(group: Group) -> optax.GradientTransformation:
        first = durations.steps(group.frozen)
        base = optax.constant_schedule(peak) if group.constant else rate
        # The counts of what is frozen stand still, but the schedules are the run's.
        later = (lambda count: decay(count + first)) if callable(decay) else decay
        update = _update(config, lambda count: group.rate * base(count + first), later)
        return optax.conditionally_mask(update, lambda step: step >= first) if first else update

    if groups:
        updates = {name: group_update(group) for name, group in groups.items()}
        updates[REST] = group_update(Group(""))
        update = optax.partition(updates, lambda params: labels(params, groups))
    else:
        update = _update(config, rate, decay)
    clips = []
    if config.clip_tensor_norm:
        clips.append(clip_by_tensor_norm(config.clip_tensor_norm))
    if config.clip_norm:
        clips.append(optax.clip_by_global_norm(config.clip_norm))
    return optax.chain(*clips, update)


def clip_by_tensor_norm(limit: float) -> optax.GradientTransformation:
    """Shorten each tensor's gradient by limit / (norm + 1e-6) if that is below 1, as in DINO."""

    def clip(gradient: jax.Array) -> jax.Array:
        return gradient * jnp.minimum(limit / (optax.tree.norm(gradient) + 1e-6), 1)

    return optax.stateless(lambda updates, _: jax.tree.map(clip, updates))


def parameter_groups(config: Any) -> dict[str, Group]:
    """Return the groups of `config.optimizer` by name; raises ValueError for a wrong field."""
    groups = {}
    for name, fields in config.groups.items():
        where = f"config.optimizer.groups.{name}"
        check_fields(where, fields, Group._fields)
        if name == REST:
            raise ValueError(
                f"{where} must be called something else: {REST!r} is what no group matches."
            )
        if not fields.get("paths"):
            raise ValueError(
                f"{where}.paths is empty; it takes a regular expression such as '(bias|scale)$'."
            )
        groups[name] = group = Group(**fields)
        _pattern(f"groups.{name}.paths", group.paths)
        if group.rate < 0:
            raise ValueError(
                f"{where}.rate is {group.rate:g}; a factor of the learning rate is at least 0."
            )
    return groups


def labels(params: Any, groups: dict[str, Group]) -> Any:
    """Return each parameter's group, or `REST`; raises ValueError for a group without any."""
    names = jax.tree_util.tree_map_with_path(
        lambda path, _: group_of(path_name(path), groups), params
    )
    for name in groups.keys() - set(jax.tree.leaves(names)):
        raise ValueError(
            f"config.optimizer.groups.{name}.paths is {groups[name].paths!r}, which matches no "
            "parameter that an earlier group has left."
        )
    return names


def group_of(path: str, groups: dict[str, Group]) -> str:
    """Return the first group that the path matches, or `REST`."""
    return next((name for name, group in groups.items() if re.search(group.paths, path)), REST)


def decays(params: Any, config: Any) -> Any:
    """Return which parameters decay: of `decay_min_ndim` axes or more, and not in `no_decay`."""
    excluded = _pattern("no_decay", config.no_decay)

    def decide(path: Any, leaf: Any) -> bool:
        matches = excluded and excluded.search(path_name(path))
        return leaf.ndim >= config.decay_min_ndim and not matches

    return jax.tree_util.tree_map_with_path(decide, params)


def describe_decay(params: Any, config: Any) -> list[str]:
    """Return lines for the start of a run: what decays, what does not, and the groups."""
    decayed = jax.tree.leaves(decays(params, config))
    sizes: dict[str, int] = {}
    kept: list[str] = []  # without decay
    for (path, leaf), decay in zip(
        jax.tree_util.tree_leaves_with_path(params), decayed, strict=True
    ):
        name = path_name(path)
        sizes[name] = leaf.size
        if not decay:
            kept.append(name)
    total, undecayed = sum(sizes.values()), sum(sizes[name] for name in kept)
    decay_text = f"{config.weight_decay:g}"
    if config.weight_decay_end >= 0:
        decay_text += f" to {config.weight_decay_end:g}"
    lines = [
        f"parameters: {total:,} in {len(sizes)} tensors; weight decay {decay_text} on "
        f"{total - undecayed:,}"
    ]
    if kept:
        more = f" and {len(kept) - 4} more" if len(kept) > 4 else ""
        lines.append(f"  no decay: {', '.join(kept[:4])}{more}")
    groups = parameter_groups(config)
    for name, group in groups.items():
        own = [size for path, size in sizes.items() if group_of(path, groups) == name]
        facts = [f"{sum(own):,} parameters in {len(own)} tensors"]
        facts.append(f"learning rate x {group.rate:g}")
        if group.constant:
            facts.append("constant")
        if not group.frozen.startswith("0 "):
            facts.append(f"frozen for {group.frozen}")
        lines.append(f"  group {name}: {', '.join(facts)}")
    return lines


def path_name(path: Any) -> str:
    """Return a parameter's path as text, such as encoder/layer1_0/conv1/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _update(
    config: Any, rate: optax.Schedule, decay: optax.Schedule | float
) -> optax.GradientTransformation:
    def mask(params: Any) -> Any:
        return decays(params, config)

    momentum = {"momentum": config.momentum, "nesterov": config.nesterov}
    decayed = optax.add_decayed_weights(decay, mask)
    if config.name == "adamw":
        betas = (config.b1, config.b2)
        return optax.adamw(rate, *betas, config.eps, weight_decay=decay, mask=mask)
    if config.name == "sgd":
        return optax.chain(decayed, optax.sgd(rate, **momentum))
    if config.name == "lars_simclr":
        return optax.lars(rate, decay, mask, config.trust, trust_ratio_mask=mask, **momentum)
    # The other forms of LARS have the rate outside the momentum. A tensor's step is as long as its
    # trust ratio, trust * |p| / |g|; tensors without decay are not adapted either.
    trace = optax.trace(config.momentum, config.nesterov)
    descent = (trace, optax.scale_by_learning_rate(rate))
    if config.name == "lars":
        ratio = optax.scale_by_trust_ratio(trust_coefficient=config.trust)
        return optax.chain(decayed, optax.masked(ratio, mask), *descent)
    ratio = scale_by_larc(rate, decay, config.trust, clip=config.trust_clip)
    return optax.chain(optax.masked(ratio, mask), *descent)


class LarcState(NamedTuple):
    """The state of `scale_by_larc`."""

    step: jax.Array  # updates done, int32


def scale_by_larc(
    rate: optax.Schedule, decay: optax.Schedule | float, trust: float, *, clip: bool
) -> optax.GradientTransformation:
    """Scale gradient plus decay by trust * |p| / (|g| + decay * |p| + 1e-8): apex's LARC (SwAV's).

    solo-learn and lightly call it LARS. With `clip` no tensor's rate exceeds `rate`: the ratio is
    min(ratio / rate, 1), as in solo-learn's CIFAR recipes.
    """

    def init(params: Any) -> LarcState:
        return LarcState(jnp.zeros([], jnp.int32))

    def update(updates: Any, state: LarcState, params: Any = None) -> tuple[Any, LarcState]:
        now = decay(state.step) if callable(decay) else decay

        def adapt(gradient: jax.Array, param: jax.Array) -> jax.Array:
            size, length = optax.tree.norm(gradient), optax.tree.norm(param)
            ratio = trust * length / (size + now * length + 1e-8)
            if clip:
                ratio = jnp.minimum(ratio / rate(state.step), 1)
            # A norm of 0 switches off the decay too.
            nonzero = (size > 0) & (length > 0)
            adapted = jnp.where(nonzero, ratio * (gradient + now * param), gradient)
            return adapted.astype(gradient.dtype)

        return jax.tree.map(adapt, updates, params), LarcState(state.step + 1)

    return optax.GradientTransformation(init, update)


def _pattern(field: str, text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(
            f"config.optimizer.{field} is {text!r}, which is no regular expression: {error}."
        ) from error
