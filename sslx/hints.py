"""Names and values that a user writes: what is wrong, and what is allowed."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `given`, or "" if none is like it."""
    return next(iter(difflib.get_close_matches(given, list(known), n=1)), "")


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'NAME'?" with the known name that is nearest to `given`, or ""."""
    name = nearest(given, known)
    return f" Did you mean {name!r}?" if name else ""


def check_positive(name: str, value: float, usual: str) -> None:
    """Raise ValueError unless the number is above 0; the error ends with what is `usual`."""
    if value <= 0:
        raise ValueError(f"{name} is {value}; it must be above 0, {usual}.")


def check_choice(field: str, value: object, allowed: Iterable[object]) -> None:
    """Raise ValueError unless the `field` of a config or flag has one of the allowed values."""
    choices = list(allowed)
    if value not in choices:
        takes = ", ".join(map(str, choices))
        raise ValueError(f"{field} is {value!r}; it takes {takes}.")


def check_fields(where: str, fields: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise ValueError for the first field that is not allowed, naming the nearest one that is."""
    names = list(allowed)
    for field in fields:
        if field not in names:
            raise ValueError(
                f"{where} has no field {field!r}.{did_you_mean(field, names)} "
                f"It takes: {', '.join(names) or 'none'}."
            )


def import_by_name(field: str, name: str, package: ModuleType, attribute: str) -> Any:
    """Import the package's module `name`, or a dotted one of the user's, that has the attribute.

    Raises ValueError, with the names that exist, where there is none.
    """
    path = name if "." in name else f"{package.__name__}.{name}"
    try:
        module = importlib.import_module(path)
        if hasattr(module, attribute):
            return module
    except ModuleNotFoundError as error:
        if not f"{path}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
    files = [file.name for file in pkgutil.iter_modules(package.__path__) if not file.ispkg]
    modules = {file: importlib.import_module(f"{package.__name__}.{file}") for file in files}
    known = sorted(file for file in files if hasattr(modules[file], attribute))
    raise ValueError(
        f"{field} is {name!r}, no module that has `{attribute}`."
        f"{did_you_mean(name.split('.')[-1], known)} "
        f"{package.__name__.replace('.', '/')} has: {', '.join(known)}."
    )
