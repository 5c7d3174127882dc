"""Encoders and heads: the only room that knows flax; everybody else holds plain pytrees."""

import difflib
import importlib
import inspect
import pkgutil
from typing import Any

from sslx.models.network import Network, apply_to_views, chain, encode, grid_of, patches_per_side

__all__ = ["Network", "apply_to_views", "build", "chain", "encode", "grid_of", "patches_per_side"]


def build(name: str, **fields: Any) -> Network:
    """Build the network that `network(**fields)` of module `sslx.models.<name>`, or of the dotted
    `name`, describes.

    Raises ValueError for a module that does not exist or has no `network`, and for a field that it
    does not take."""
    path = name if "." in name else f"{__name__}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        # A missing dependency of an existing module must surface as itself.
        if error.name is None or not (path == error.name or path.startswith(error.name + ".")):
            raise
        raise ValueError(_unknown("model", name, _models())) from error
    if not hasattr(module, "network"):
        raise ValueError(_unknown("model", name, _models()))
    allowed = list(inspect.signature(module.network).parameters)
    for field in fields:
        if field not in allowed:
            raise ValueError(_unknown(f"field of model {name!r}:", field, allowed))
    return module.network(**fields)


def _models() -> list[str]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [
        name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "network")
    ]


def _unknown(kind: str, given: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(given, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {given!r}{hint} Known: {', '.join(known)}."
