"""What a metric returns: a number with the settings it was computed with."""

from typing import Any, Self


class Score(float):
    """A float with `settings`: sample counts, width, constants and precision of its computation.

    Two scores compare only where their settings agree. `repr` shows them; `str` and formats show
    the number alone.
    """

    settings: dict[str, Any]

    def __new__(cls, value: float, **settings: Any) -> Self:
        score = super().__new__(cls, value)
        score.settings = settings
        return score

    def __str__(self) -> str:
        return float.__repr__(self)

    def __repr__(self) -> str:
        return f"{self} ({', '.join(f'{name}={value}' for name, value in self.settings.items())})"

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]:
        return (float(self),), self.settings  # so that copies keep their settings
