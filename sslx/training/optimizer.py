"""The optimizer of a config, and which parameters decay."""

import re
from typing import Any

import jax
import optax

OPTIMIZERS = ("adamw", "sgd", "lars")


def make_optimizer(config: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    """An optax transformation for `config.optimizer`; weight decay follows `decays`.

    adamw is torch's; sgd adds the decay to the gradient (coupled), as torch's; lars is SimCLR's form, which keeps the
    learning rate inside the momentum and adapts only what decays. Raises ValueError for an unknown name.
    """
    if config.name not in OPTIMIZERS:
        raise ValueError(f"config.optimizer.name is {config.name!r}; it takes {', '.join(OPTIMIZERS)}.")

    def mask(params: Any) -> Any:
        return decays(params, config)

    if config.name == "adamw":
        update = optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=mask)
    elif config.name == "sgd":
        update = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask),
            optax.sgd(schedule, momentum=config.momentum, nesterov=config.nesterov),
        )
    else:
        update = optax.lars(
            schedule,
            config.weight_decay,
            weight_decay_mask=mask,
            trust_ratio_mask=mask,
            momentum=config.momentum,
            nesterov=config.nesterov,
        )
    clip = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    return optax.chain(*clip, update)


def decays(params: Any, config: Any) -> Any:
    """Which parameters decay: those with `decay_min_ndim` axes or more whose path does not match `no_decay`."""
    excluded = _pattern(config.no_decay)

    def decide(path: Any, leaf: Any) -> bool:
        return leaf.ndim >= config.decay_min_ndim and not (excluded and excluded.search(path_name(path)))

    return jax.tree_util.tree_map_with_path(decide, params)


def describe_decay(params: Any, config: Any) -> list[str]:
    """Lines for the start of a run: how many parameters decay, and the paths of those that do not."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    flags = jax.tree.leaves(decays(params, config))
    kept = [path_name(path) for (path, _), flag in zip(leaves, flags, strict=True) if not flag]
    size = sum(leaf.size for _, leaf in leaves)
    held = sum(leaf.size for (_, leaf), flag in zip(leaves, flags, strict=True) if not flag)
    lines = [f"parameters: {size:,} in {len(leaves)} tensors; weight decay {config.weight_decay:g} on {size - held:,}"]
    if kept:
        lines.append(f"  no decay: {', '.join(kept[:4])}{f' and {len(kept) - 4} more' if len(kept) > 4 else ''}")
    return lines


def path_name(path: Any) -> str:
    """A parameter's path as text, such as encoder/layer1_0/conv1/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ValueError(f"config.optimizer.no_decay is {text!r}, which is no regular expression: {error}.") from error
