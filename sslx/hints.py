"""What to say of a name that does not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'NAME'?" with the known name that is nearest to `given`, or ""."""
    nearest = difflib.get_close_matches(given, list(known), n=1)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
