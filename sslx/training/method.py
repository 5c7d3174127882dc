"""What the loop knows of a method: five functions on plain pytrees."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from sslx.data.order import steps_per_epoch
from sslx.data.views import Crop, Masks, Views
from sslx.models import build, patches_per_side
from sslx.training.rows import row_adamw
from sslx.training.schedules import Durations

Array = jax.Array
Params = Any  # a pytree of arrays that the optimizer trains
Extra = Any  # a pytree of everything else: batch statistics, teacher, queue, centre
Logs = dict[str, Array]  # scalars to be logged


class Batch(NamedTuple):
    """One training batch: a float32 [B, S, S, C] array per crop of `Views`, the images' indices [B], and the masks."""

    views: tuple[Array, ...]
    indices: Array
    masks: Masks | None = None  # of methods whose `Views` have some


class Features(NamedTuple):
    """The encoder's output [n, d], and the projector's [n, k]; None where the loss reads the representation itself."""

    representation: Array
    embedding: Array | None


class Method(Protocol):
    """A self-supervised method; each file in `sslx/methods/` has one class called `Method`.

    What it keeps under "head" in params or extra serves the loss alone: evaluation never loads it. A method whose head
    does not live on the device also has a property `store` (sslx/training/store.py). One whose features come from
    another encoder than params["encoder"] has `encoder_params(params, extra)`, which picks it, for pictures.
    """

    @property
    def views(self) -> Views:
        """What the method needs per image."""

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Parameters and extra state for images of `shape` [1, S, S, C]."""

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """The loss of the global batch; logs may hold `floor`, the lowest value the loss can take."""

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Both after the optimizer's step: a teacher follows, rows get unit length; usually both as they are."""

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Features of normalised images [n, S, S, C] in eval mode.

        Where `views` has masks there is a fourth argument, `masks`: those of the images, or None for whole images.
        """


def load_method(config: Any, num_images: int) -> Method:
    """The method of a resolved config.

    `config.method.name` is a file in `sslx/methods/`, or the dotted name of a module of yours with a class `Method`.
    It is called with the config's fields, and with what it names of `encoder`, `crops`, `masks`, `num_images`,
    `durations`, `row_optimizer`.
    Raises ValueError for an unknown name or field, with what exists, and for masks that the method does not take.
    """
    fields = dict(config.method)
    module = _import_method(fields.pop("name"))
    encoder = build(**config.model)
    given: dict[str, Callable[[], Any]] = {
        "encoder": lambda: encoder,
        "crops": lambda: {name: Crop(**recipe) for name, recipe in config.get("views", {}).items()},
        "masks": lambda: dict(config.get("masks", {})),
        "num_images": lambda: num_images,
        "durations": lambda: Durations(
            config.duration, steps_per_epoch(num_images, config.batch_size), config.batch_size
        ),
        "row_optimizer": lambda: row_adamw(config, num_images),
    }
    parameters = inspect.signature(module.Method).parameters
    check_fields("config.method", fields, [name for name in parameters if name not in given])
    if "masks" in config and "masks" not in parameters:
        raise ValueError(f"config.masks is set, but {config.method.name} takes no masks: leave it out of the recipe.")
    method: Method = module.Method(**{name: given[name]() for name in parameters if name in given}, **fields)
    for crop in method.views.crops:  # asked for here, so that a mistake in them comes before a run's folder is made
        patches_per_side(crop.size, encoder.patch or 1)
    return method


def check_fields(where: str, fields: Mapping[str, Any], allowed: list[str]) -> None:
    """Raise ValueError for the first field that is not allowed, naming the nearest one that is."""
    for name in fields:
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{where} has no field {name!r}.{hint} It takes: {', '.join(allowed) or 'none'}.")


def _import_method(name: str) -> Any:
    path = name if "." in name else f"sslx.methods.{name}"
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not f"{path}.".startswith(f"{error.name}."):
            raise  # the method is there; something that it imports is not
        package = importlib.import_module("sslx.methods")
        known = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
        close = difflib.get_close_matches(name.split(".")[-1], known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"config.method.name is {name!r}, which is no method here.{hint} sslx/methods has: {', '.join(known)}."
        ) from error
