"""From a config to what runs: the only place where methods, optimizers and steps are assembled."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh

from sslx import methods
from sslx.data.order import steps_per_epoch
from sslx.hints import check_fields, import_by_name
from sslx.method import Method
from sslx.methods.instance_head.rows import row_adamw
from sslx.models import build, patches_per_side
from sslx.training import parallel
from sslx.training.optim import make_optimizer
from sslx.training.schedules import Durations, learning_rate
from sslx.training.state import State, init_state, make_step, model_of
from sslx.views.crop import Crop


class Experiment(NamedTuple):
    """A config resolved for a number of images; all that evaluation needs."""

    config: Any
    durations: Durations
    method: Method
    shape: tuple[int, int, int, int]  # of one image as the encoder takes it, [1, S, S, C]

    def model_like(self, mesh: Mesh) -> Any:
        """Return the model's shapes, placed on all devices: what a checkpoint is restored onto."""
        model = jax.eval_shape(lambda: model_of(*self.method.init(jax.random.key(0), self.shape)))
        return parallel.replicated_like(model, mesh)


class Training(NamedTuple):
    """What training needs besides."""

    init: Callable[[], State]  # a fresh state
    step: Callable[..., Any]  # the jitted step, see sslx/training/state.py
    optimizer: optax.GradientTransformation
    rate: optax.Schedule  # the learning rate by step


def make_experiment(config: Any, num_images: int, channels: int) -> Experiment:
    """Resolve a config for a training split of `num_images` images with `channels` channels.

    Raises ValueError for whatever in the config is wrong, with what is allowed.
    """
    durations = durations_of(config, num_images)
    method = load_method(config, num_images)
    size = method.views.crops[0].size
    return Experiment(config, durations, method, (1, size, size, channels))


def make_training(experiment: Experiment, *, resident: bool) -> Training:
    """Make the optimizer and the step; `resident` says that images are all in device memory.

    Raises ValueError for a mistake in `config.optimizer`.
    """
    config, durations, method, shape = experiment
    optimizer = make_optimizer(config.optimizer, durations)
    rate = learning_rate(config.optimizer, durations)
    step = make_step(method, optimizer, rate, config.seed, resident=resident)

    def init() -> State:
        return init_state(method, optimizer, jax.random.key(config.seed), shape)

    return Training(init, step, optimizer, rate)


def durations_of(config: Any, num_images: int) -> Durations:
    """Return what turns the config's durations into steps; ValueError for too large a batch."""
    epoch = steps_per_epoch(num_images, config.batch_size)
    return Durations(config.duration, epoch, config.batch_size)


def load_method(config: Any, num_images: int) -> Method:
    """Make the method of a config.

    `config.method.name` is a file in `sslx/methods/`, or the dotted name of a module of yours with
    a class `Method`. It is called with the config's fields, and with what it names of `encoder`,
    `crops`, `masks`, `num_images`, `durations` and `row_optimizer`.
    Raises ValueError for an unknown name or field, and for masks that the method does not take.
    """
    fields = dict(config.method)
    module = import_method(fields.pop("name"))
    encoder = build(**config.model)
    given: dict[str, Callable[[], Any]] = {
        "encoder": lambda: encoder,
        "crops": lambda: {name: Crop(**crop) for name, crop in config.get("views", {}).items()},
        "masks": lambda: dict(config.get("masks", {})),
        "num_images": lambda: num_images,
        "durations": lambda: durations_of(config, num_images),
        "row_optimizer": lambda: row_adamw(config, num_images),
    }
    parameters = inspect.signature(module.Method).parameters
    check_fields("config.method", fields, [name for name in parameters if name not in given])
    if "masks" in config and "masks" not in parameters:
        raise ValueError(
            f"config.masks is set, but {config.method.name} takes no masks: leave it out of the "
            "recipe."
        )
    assembled = {name: given[name]() for name in parameters if name in given}
    method: Method = module.Method(**assembled, **fields)
    for crop in method.views.crops:
        patches_per_side(crop.size, encoder.patch or 1)
    return method


def import_method(name: str) -> Any:
    """Import the module of a method; raises ValueError with the names that exist."""
    return import_by_name("config.method.name", name, methods, "Method")
