"""Encoders and heads: the only place that imports Flax; everybody else holds plain pytrees."""

import importlib
import inspect
import pkgutil
from typing import Any

from sslx.hints import did_you_mean
from sslx.models.network import Network, apply_to_views, chain, encode, grid_of, patches_per_side

__all__ = ["Network", "apply_to_views", "build", "chain", "encode", "grid_of", "patches_per_side"]


def build(name: str, **fields: Any) -> Network:
    """Build the network that `network(**fields)` of the module `sslx.models.<name>` describes.

    A dotted `name` is that of a module of yours. Raises ValueError for a module that does not exist
    or has no `network`, and for a field that it does not take.
    """
    path = name if "." in name else f"{__name__}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if not f"{path}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise ValueError(_no_model(name)) from error
    if not hasattr(module, "network"):
        raise ValueError(_no_model(name))
    allowed = list(inspect.signature(module.network).parameters)
    for field in fields:
        if field not in allowed:
            raise ValueError(
                f"config.model has no field {field!r} for the model {name!r}."
                f"{did_you_mean(field, allowed)} It takes: {', '.join(allowed)}."
            )
    return module.network(**fields)


def _no_model(name: str) -> str:
    files = sorted(file.name for file in pkgutil.iter_modules(__path__))
    modules = {file: importlib.import_module(f"{__name__}.{file}") for file in files}
    known = [file for file in files if hasattr(modules[file], "network")]
    return (
        f"config.model.name is {name!r}, no module with a function `network`."
        f"{did_you_mean(name.split('.')[-1], known)} sslx/models has: {', '.join(known)}."
    )
