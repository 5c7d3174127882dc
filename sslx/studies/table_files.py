"""Tables as Markdown, CSV and LaTeX files, and a file with the runs that each number is made of."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sslx.evaluation.tables import Table, markdown
from sslx.files import write_atomically

_LATEX = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # After a line break these two would be read as its arguments.
        "[": "{[}",
        "*": "{*}",
    }
)


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.tex of each table and one cells.csv, and return their paths.

    Equal tables give equal bytes. Raises ValueError, before anything is written, for a name that
    is not one for a file or that two tables have, and for rows that do not fit the header.
    """
    names = ["cells", *(table.name for table in tables)]
    texts = {}
    for table in tables:
        if not re.fullmatch(r"[\w.=+-]+", table.name) or names.count(table.name) > 1:
            raise ValueError(
                f"A table is named {table.name!r}, but the name is the stem of its files: use "
                "letters, digits and -_.=+, not 'cells', and give each table its own."
            )
        for row in table.rows:
            if len(row) != len(table.header):
                raise ValueError(
                    f"A row of table {table.name!r} has {len(row)} cells under "
                    f"{len(table.header)} headings: give each row as many."
                )
        for suffix, write in (("md", markdown), ("csv", csv_text), ("tex", latex)):
            texts[folder / f"{table.name}.{suffix}"] = write(table)
    texts[folder / "cells.csv"] = cells_csv(*tables)
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


def csv_text(table: Table) -> str:
    """Return the header and the rows as CSV, with the text of each cell as it is."""
    return _csv(_grid(table))


def latex(table: Table) -> str:
    """Return a table environment with a caption and a tabular; it needs the package booktabs."""
    header, *rows = (" & ".join(map(_escape, texts)) + r" \\" for texts in _grid(table))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        r"\toprule",
        header,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par{{\footnotesize {_escape(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def cells_csv(*tables: Table) -> str:
    """Return a line for each cell: table, row, column, text, and its runs separated by spaces.

    A row is named by as many of its first cells as it takes to tell the rows of its table apart.
    """
    lines = [("table", "row", "column", "text", "runs")]
    for table in tables:
        _, *rows = _grid(table)
        count = 1
        while count < len(table.header) and len({row[:count] for row in rows}) < len(rows):
            count += 1
        for row in table.rows:
            label = " ".join(cell.text for cell in row[:count])
            for column, cell in zip(table.header, row, strict=True):
                lines.append((table.name, label, column, cell.text, " ".join(cell.runs)))
    return _csv(lines)


def _grid(table: Table) -> list[tuple[str, ...]]:
    return [table.header, *(tuple(cell.text for cell in row) for row in table.rows)]


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _escape(text: str) -> str:
    line = " ".join(text.split()).translate(_LATEX).replace("+-", r"$\pm$")
    return re.sub(r"(?<![\w.])-(?=[\d.])", "$-$", line)  # a minus sign, where a number begins
