"""The state of a run, and the one jitted step that advances it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from sslx.method import Array, Batch, Extra, Logs, Method, Params
from sslx.views.views import training_masks, training_views

HEAD = "head"  # the entry of params or extra that serves the loss alone


class State(NamedTuple):
    """All that a run remembers; randomness and data order follow from the seed and `step`."""

    step: Array  # updates done, int32
    params: Params
    extra: Extra
    optimizer: Any


def model_of(params: Params, extra: Extra) -> dict[str, Any]:
    """Return what evaluation needs: parameters and extra without the head."""
    return {"params": _split(params)[0], "extra": _split(extra)[0]}


def items_of(state: State) -> dict[str, Any]:
    """Return the state as a checkpoint has it: `model`, and `training` (optimizer and head)."""
    heads = {"params": _split(state.params)[1], "extra": _split(state.extra)[1]}
    training = {"optimizer": state.optimizer} | heads
    return {"model": model_of(state.params, state.extra), "training": training}


def state_of(step: Array, items: dict[str, Any]) -> State:
    """Return the state that `items_of` took apart."""
    model, training = items["model"], items["training"]

    def join(part: str) -> Any:
        return {**model[part], **training[part]} if training[part] else model[part]

    return State(step, join("params"), join("extra"), training["optimizer"])


def _split(tree: Any) -> tuple[Any, dict[str, Any]]:
    """Return the tree without its head, and the head."""
    if not isinstance(tree, dict) or HEAD not in tree:
        return tree, {}
    return {name: leaf for name, leaf in tree.items() if name != HEAD}, {HEAD: tree[HEAD]}


def init_state(
    method: Method, optimizer: optax.GradientTransformation, key: Array, shape: tuple[int, ...]
) -> State:
    """Make a fresh state for images of `shape` [1, S, S, C]."""
    params, extra = method.init(key, shape)
    step = jax.device_put(np.zeros((), np.int32))
    # Compiled as one program: leaf by leaf, the optimizer's zeros cost a dispatch each.
    return State(step, params, extra, jax.jit(optimizer.init)(params))


def make_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    seed: int,
    *,
    resident: bool,
) -> Callable[[State, Array, Array], tuple[State, Logs]]:
    """Make the training step `(state, images, indices) -> (state, logs)`.

    `indices` [B] are the images of the batch. `images` is the whole data set uint8 [N, H, W, C]
    when it is `resident` in device memory, else the batch's own [B, H, W, C]. The state's buffers
    are reused for the new one. `schedule`, the learning rate by step, is only logged.
    """

    def step(state: State, images: Array, indices: Array) -> tuple[State, Logs]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        view_key, loss_key = jax.random.split(key)
        views = training_views(view_key, images[indices] if resident else images, method.views)
        batch = Batch(views, indices, training_masks(view_key, len(indices), method.views))

        def loss(params: Params) -> tuple[Array, tuple[Extra, Logs]]:
            return method.loss(params, state.extra, batch, loss_key, state.step)

        (value, (extra, logs)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        logs = logs | {
            "loss": value,
            "gradient_norm": optax.tree.norm(gradient),
            "learning_rate": schedule(state.step),
        }
        params, extra = method.after_step(params, extra, state.step)
        return State(state.step + 1, params, extra, optimizer_state), logs

    return jax.jit(step, donate_argnums=0)
