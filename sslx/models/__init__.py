"""Encoders and heads: the only place that imports Flax; everybody else holds plain pytrees."""

import inspect
import sys
from typing import Any

from sslx.hints import check_fields, import_by_name
from sslx.models.network import Network, apply_to_views, chain, encode, grid_of, patches_per_side

__all__ = ["Network", "apply_to_views", "build", "chain", "encode", "grid_of", "patches_per_side"]


def build(name: str, **fields: Any) -> Network:
    """Build the network that `network(**fields)` of the module `sslx.models.<name>` describes.

    A dotted `name` is that of a module of yours. Raises ValueError for a module that does not exist
    or has no `network`, and for a field that it does not take.
    """
    module = import_by_name("config.model.name", name, sys.modules[__name__], "network")
    check_fields(f"config.model ({name})", fields, inspect.signature(module.network).parameters)
    return module.network(**fields)
