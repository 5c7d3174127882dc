"""Checks of the values in recipes of crops and masks."""

import math
from typing import Any

Range = tuple[float, float]


def check_integer(name: str, value: Any, low: int, high: float = math.inf, unit: str = "") -> None:
    """Raise ValueError unless the value is a whole number from `low` to `high`."""
    if not isinstance(value, int) or not low <= value <= high:
        allowed = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}; it must be a whole number {allowed}{unit}.")


def check_number(name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless the value is a number from `low` to `high`."""
    if not isinstance(value, (int, float)) or not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} is {value!r}; it must be {allowed}.")


def as_range(name: str, values: Any, highest: float = math.inf) -> Range:
    """Return (low, high) as floats; raise ValueError unless 0 < low <= high <= highest."""
    if are_numbers(values) and len(values) == 2 and 0 < values[0] <= values[1] <= highest:
        return float(values[0]), float(values[1])
    most = "" if highest == math.inf else f" <= {highest:g}"
    raise ValueError(f"{name} is {values!r}; it must be (low, high) with 0 < low <= high{most}.")


def are_numbers(values: Any) -> bool:
    """Whether these are a tuple or, as a config may hand over, a list of numbers."""
    return isinstance(values, (tuple, list)) and all(isinstance(v, (int, float)) for v in values)
