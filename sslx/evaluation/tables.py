"""Numbers as text: mean and spread over seeds, headings of columns, and Markdown tables."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from metrics import METRICS

MISSING = "missing"
ACCURACIES = {"knn": "kNN", "linear": "linear"}  # shares in eval.jsonl, percentages in tables


class Cell(NamedTuple):
    """The text of a table's cell, and the names of the run folders that its number is made of."""

    text: str
    runs: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table with a title; `name` is the stem of its files."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def heading(column: str) -> str:
    """Return a column's title for readers: "LiDAR embedding" for lidar/embedding, "kNN %" for knn.

    Other names, such as clid/dimension/representation, keep their parts.
    """
    if column in ACCURACIES:
        return f"{ACCURACIES[column]} %"
    name, *rest = column.split("/")
    title = METRICS[name].title if name in METRICS else name.replace("_", " ")
    return " ".join([title, *rest])


def number(column: str, value: float | None) -> str:
    """Return a value as its column shows it: accuracies in %, metrics with their own digits."""
    if value is None:
        return ""
    if column in ACCURACIES:
        return f"{100 * value:.1f}"
    return f"{value:.{METRICS[column.partition('/')[0]].digits}f}"


def spread(values: Sequence[float | None], digits: int = 1, scale: float = 1.0) -> str:
    """Return mean and sample standard deviation (n - 1) of `scale` times the values over seeds.

    Such as "95.2 +- 0.8". Where values are None or not finite, "95.2 +- 0.8 (2 of 3)" counts them.
    """
    known = [scale * value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return MISSING
    text = f"{statistics.fmean(known):z.{digits}f}"
    if len(known) > 1:
        text += f" +- {statistics.stdev(known):.{digits}f}"
    if len(known) < len(values):
        return f"{text} ({len(known)} of {len(values)})"
    return text if len(known) > 1 else f"{text} (1 seed)"


def markdown(table: Table) -> str:
    """Return the table below its title: the first column to the left, the others to the right."""
    rows = [table.header, *(tuple(cell.text for cell in row) for row in table.rows)]
    texts = [[_escape(text) for text in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]
    dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [f"## {_one_line(table.title)}", ""]
    for first, *others in [texts[0], dashes, *texts[1:]]:
        cells = [first.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    if table.notes:
        lines += ["", *(f"- {_one_line(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())
