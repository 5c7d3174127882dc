"""Tables of a study as Markdown, CSV and LaTeX, and one file that says which runs each number was
made of.
"""

import csv
import io
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

MISSING = "missing"

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "+-": r"$\pm$",
    "-": "$-$",
    **{character: "\\" + character for character in "&%$#_{}"},
    # After a line break these two would be read as its arguments.
    "[": "{[}",
    "*": "{*}",
}
# A hyphen is a minus sign only where a number begins.
_SPECIAL = re.compile(r"\+-|(?<![\w.])-(?=[\d.])|[\\~^<>|&%$#_{}\[*]")


class Cell(NamedTuple):
    """What stands in a table, and the names of the run folders that a number was made of."""

    text: str
    runs: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table of a study; `name` is the stem of its files."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def spread(values: Sequence[float | None], digits: int = 1, scale: float = 1.0) -> str:
    """Mean and sample standard deviation (n - 1) of `scale` times the values over seeds, such as
    "95.2 +- 0.8".

    Values that are None or not finite are counted out loud, as in "95.2 +- 0.8 (2 of 3)".
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
    """The table below its title, with aligned columns: the first one to the left, the others to the
    right.
    """
    _check(table)
    rows = [
        [_one_line(text).replace("\\", "\\\\").replace("|", "\\|") for text in row]
        for row in _texts(table)
    ]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = []
    for first, *others in rows:
        cells = [
            first.ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(others, widths[1:], strict=True)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = ["", *(f"- {_one_line(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([f"## {_one_line(table.title)}", "", *lines, *notes]) + "\n"


def csv_text(table: Table) -> str:
    """The header and the rows, with the text of each cell as it is."""
    _check(table)
    return _csv(_texts(table))


def latex(table: Table) -> str:
    """A table environment with a caption and a tabular; it needs the package booktabs."""
    _check(table)
    header, *rows = (" & ".join(map(_escape, row)) + r" \\" for row in _texts(table))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        *(r"\toprule", header, r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}",
        *(rf"\par{{\footnotesize {_escape(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def cells_csv(*tables: Table) -> str:
    """A line for each cell: table, row, column, text, and the names of its runs, separated by
    spaces.

    A row is named by as many of its first cells as it takes to tell the rows of its table apart.
    """
    lines: list[tuple[str, ...]] = [("table", "row", "column", "text", "runs")]
    for table in tables:
        _check(table)
        labels = _labels(table)
        for label, row in zip(labels, table.rows, strict=True):
            for column, cell in zip(table.header, row, strict=True):
                lines.append((table.name, label, column, cell.text, " ".join(cell.runs)))
    return _csv(lines)


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.tex of each table and one cells.csv, and return their paths.

    Equal tables give equal bytes. Raises ValueError for a table that cannot be written and for
    names given twice."""
    tables = list(tables)
    names = [table.name for table in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Two tables are named {twice[0]!r}, the stem of their files: give each a name of its "
            "own."
        )
    texts = {}
    for table in tables:
        for suffix, write in (("md", markdown), ("csv", csv_text), ("tex", latex)):
            texts[folder / f"{table.name}.{suffix}"] = write(table)
    texts[folder / "cells.csv"] = cells_csv(*tables)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    return list(texts)


def _check(table: Table) -> None:
    if not re.fullmatch(r"[\w.=+-]+", table.name) or table.name == "cells":
        raise ValueError(
            f"A table is named {table.name!r}, but the name is the stem of its files: use letters, "
            "digits and -_.=+, "
            "and not 'cells', such as 'correlation'."
        )
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(
                f"A row of table {table.name!r} has {len(row)} cells under {len(table.header)} "
                "headings: "
                f"give each row {len(table.header)}; a number that is not there is "
                f"Cell({MISSING!r})."
            )


def _texts(table: Table) -> list[tuple[str, ...]]:
    return [table.header, *(tuple(cell.text for cell in row) for row in table.rows)]


def _labels(table: Table) -> list[str]:
    for count in range(1, len(table.header) + 1):
        labels = [" ".join(cell.text for cell in row[:count]) for row in table.rows]
        if len(set(labels)) == len(labels):
            return labels
    return [row[0].text for row in table.rows]


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], _one_line(text))
