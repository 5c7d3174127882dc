"""What to say of a name that does not exist."""

import difflib
from collections.abc import Iterable


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
