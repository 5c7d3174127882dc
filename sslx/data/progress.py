"""One line on stderr that shows how far a long job is."""

import sys
from typing import Any

from tqdm import tqdm


def progress(label: str, total: int, unit: str = "images") -> Any:
    """Return tqdm's bar for a job of `total` units, 0 where that is not known; "B" are bytes.

    It renews itself on a terminal, and comes every ten seconds elsewhere.
    """
    pause = 0.2 if sys.stderr.isatty() else 10.0  # seconds
    return tqdm(
        desc=label,
        total=total or None,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=unit == "B",
        delay=pause,
        mininterval=pause,
        leave=False,
    )


def amount(size: float) -> str:
    """Return bytes as a person reads them: 812 kB, 170 MB, 5.0 GB."""
    scale, unit = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / scale:,.{1 if size < 10 * scale else 0}f} {unit}"
