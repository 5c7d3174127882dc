"""The optimizer of a config, its groups of parameters, and which parameters decay."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sslx.training.lars import larc, lars
from sslx.training.schedules import Durations, learning_rate, peak_rate, weight_decay

OPTIMIZERS = ("adamw", "sgd", "lars", "lars_simclr", "larc")
REST = "rest"  # the parameters of no group


class Group(NamedTuple):
    """Parameters with a learning rate of their own; the fields are those of `configs.base.group`."""

    paths: str
    rate: float = 1.0
    constant: bool = False
    frozen: str = "0 steps"


def make_optimizer(
    config: Any,
    durations: Durations,
    *,
    rate: optax.Schedule | None = None,
    decay: optax.Schedule | float | None = None,
) -> optax.GradientTransformation:
    """An optax transformation for `config.optimizer`; weight decay follows `decays`, groups follow
    `parameter_groups`.

    adamw is torch's; sgd adds the decay to the gradient (coupled), as torch's; lars is VICReg's,
    Barlow Twins' and BYOL's; lars_simclr keeps the learning rate inside the momentum; larc is
    apex's. `rate` and `decay` by step stand in for the config's own. Raises ValueError for an
    unknown name and for a group that is none; `init` raises it for a group without parameters.
    """
    if config.name not in OPTIMIZERS:
        raise ValueError(
            f"config.optimizer.name is {config.name!r}; it takes {', '.join(OPTIMIZERS)}."
        )
    groups = parameter_groups(config)
    peak = peak_rate(config, durations.batch_size)
    rate = rate or learning_rate(config, durations)
    decay = weight_decay(config, durations) if decay is None else decay

    def own(group: Group) -> optax.GradientTransformation:
        first = durations.steps(group.frozen)
        base = optax.constant_schedule(peak) if group.constant else rate
        # The counts of what is frozen stand still, but the schedules are the run's.
        later = (lambda count: decay(count + first)) if callable(decay) else decay
        update = _update(config, lambda count: group.rate * base(count + first), later)
        return optax.conditionally_mask(update, lambda step: step >= first) if first else update

    if groups:
        update = optax.partition(
            {name: own(group) for name, group in (groups | {REST: Group("")}).items()},
            lambda params: labels(params, groups),
        )
    else:
        update = _update(config, rate, decay)
    clip = [clip_by_tensor_norm(config.clip_tensor_norm)] if config.clip_tensor_norm else []
    clip += [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    return optax.chain(*clip, update)


def clip_by_tensor_norm(limit: float) -> optax.GradientTransformation:
    """Each tensor's gradient shortened by limit / (norm + 1e-6) if that is below 1, as in DINO."""

    def clip(gradient: jax.Array) -> jax.Array:
        return gradient * jnp.minimum(limit / (optax.tree.norm(gradient) + 1e-6), 1)

    return optax.stateless(lambda updates, _: jax.tree.map(clip, updates))


def parameter_groups(config: Any) -> dict[str, Group]:
    """The groups of `config.optimizer` by name; raises ValueError for a field or an expression that
    is none.
    """
    groups = {}
    for name, fields in config.groups.items():
        where = f"config.optimizer.groups.{name}"
        if unknown := [field for field in fields if field not in Group._fields]:
            raise ValueError(
                f"{where} has no field {unknown[0]!r}. It takes: {', '.join(Group._fields)}."
            )
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
    """Each parameter's group, the first that matches, or `REST`; raises ValueError for a group
    without any.
    """
    found = jax.tree_util.tree_map_with_path(
        lambda path, _: group_of(path_name(path), groups), params
    )
    for name in groups.keys() - set(jax.tree.leaves(found)):
        raise ValueError(
            f"config.optimizer.groups.{name}.paths is {groups[name].paths!r}, which matches no "
            "parameter "
            "that an earlier group has left."
        )
    return found


def group_of(path: str, groups: dict[str, Group]) -> str:
    """The first group that the path matches, or `REST`."""
    return next((name for name, group in groups.items() if re.search(group.paths, path)), REST)


def decays(params: Any, config: Any) -> Any:
    """Which parameters decay: those with `decay_min_ndim` axes or more whose path does not match
    `no_decay`.
    """
    excluded = _pattern("no_decay", config.no_decay)

    def decide(path: Any, leaf: Any) -> bool:
        return leaf.ndim >= config.decay_min_ndim and not (
            excluded and excluded.search(path_name(path))
        )

    return jax.tree_util.tree_map_with_path(decide, params)


def describe_decay(params: Any, config: Any) -> list[str]:
    """Lines for the start of a run: how many parameters decay, the paths of those that do not, and
    the groups.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    flags = jax.tree.leaves(decays(params, config))
    kept = [path_name(path) for (path, _), flag in zip(leaves, flags, strict=True) if not flag]
    size = sum(leaf.size for _, leaf in leaves)
    held = sum(leaf.size for (_, leaf), flag in zip(leaves, flags, strict=True) if not flag)
    decay = f"{config.weight_decay:g}" + (
        f" to {config.weight_decay_end:g}" if config.weight_decay_end >= 0 else ""
    )
    lines = [
        f"parameters: {size:,} in {len(leaves)} tensors; weight decay {decay} on {size - held:,}"
    ]
    if kept:
        lines.append(
            "  no decay: "
            f"{', '.join(kept[:4])}{f' and {len(kept) - 4} more' if len(kept) > 4 else ''}"
        )
    groups = parameter_groups(config)
    for name, group in groups.items():
        own = [leaf.size for path, leaf in leaves if group_of(path_name(path), groups) == name]
        facts = [
            f"{sum(own):,} parameters in {len(own)} tensors",
            f"learning rate x {group.rate:g}",
        ]
        facts += ["constant"] if group.constant else []
        facts += [f"frozen for {group.frozen}"] if not group.frozen.startswith("0 ") else []
        lines.append(f"  group {name}: {', '.join(facts)}")
    return lines


def path_name(path: Any) -> str:
    """A parameter's path as text, such as encoder/layer1_0/conv1/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _update(
    config: Any, rate: optax.Schedule, decay: optax.Schedule | float
) -> optax.GradientTransformation:
    def mask(params: Any) -> Any:
        return decays(params, config)

    momentum = {"momentum": config.momentum, "nesterov": config.nesterov}
    if config.name == "adamw":
        return optax.adamw(rate, config.b1, config.b2, config.eps, weight_decay=decay, mask=mask)
    if config.name == "sgd":
        return optax.chain(optax.add_decayed_weights(decay, mask), optax.sgd(rate, **momentum))
    if config.name == "lars":
        return lars(rate, decay, mask, trust=config.trust, **momentum)
    if config.name == "larc":
        return larc(rate, decay, mask, trust=config.trust, clip=config.trust_clip, **momentum)
    return optax.lars(rate, decay, mask, config.trust, trust_ratio_mask=mask, **momentum)


def _pattern(field: str, text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(
            f"config.optimizer.{field} is {text!r}, which is no regular expression: {error}."
        ) from error
