"""Tables as Markdown, CSV and LaTeX files, and a file with the runs that each number is made of."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sslx.evaluation.tables import MISSING, Table, markdown
from sslx.files import write_atomically

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


def write_tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write NAME.md, NAME.csv and NAME.tex of each table and one cells.csv, and return their paths.

    Equal tables give equal bytes. Raises ValueError, before anything is written, for a table that
    cannot be written and for a name that two tables have.
    """
    tables = list(tables)
    names = [table.name for table in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Two tables are named {twice[0]!r}, the stem of their files: give each its own name."
        )
    texts = {}
    for table in tables:
        _check(table)
        texts[folder / f"{table.name}.md"] = markdown(table)
        texts[folder / f"{table.name}.csv"] = csv_text(table)
        texts[folder / f"{table.name}.tex"] = latex(table)
    texts[folder / "cells.csv"] = cells_csv(*tables)
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


def csv_text(table: Table) -> str:
    """Return the header and the rows as CSV, with the text of each cell as it is."""
    return _csv([table.header, *_texts(table)])


def latex(table: Table) -> str:
    """Return a table environment with a caption and a tabular; it needs the package booktabs."""
    header, *rows = (_latex_row(texts) for texts in [table.header, *_texts(table)])
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
    lines: list[tuple[str, ...]] = [("table", "row", "column", "text", "runs")]
    for table in tables:
        for label, row in zip(_labels(table), table.rows, strict=True):
            for column, cell in zip(table.header, row, strict=True):
                lines.append((table.name, label, column, cell.text, " ".join(cell.runs)))
    return _csv(lines)


def _check(table: Table) -> None:
    if not re.fullmatch(r"[\w.=+-]+", table.name) or table.name == "cells":
        raise ValueError(
            f"A table is named {table.name!r}, but the name is the stem of its files: use letters, "
            "digits and -_.=+, and not 'cells', such as 'correlation'."
        )
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(
                f"A row of table {table.name!r} has {len(row)} cells under {len(table.header)} "
                f"headings: give each row {len(table.header)}; a number that is not there is "
                f"Cell({MISSING!r})."
            )


def _texts(table: Table) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row) for row in table.rows]


def _labels(table: Table) -> list[str]:
    """The shortest beginnings of the rows that differ from each other."""
    for count in range(1, len(table.header) + 1):
        labels = [" ".join(cell.text for cell in row[:count]) for row in table.rows]
        if len(set(labels)) == len(labels):
            return labels
    return [row[0].text for row in table.rows]


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _latex_row(texts: Iterable[str]) -> str:
    return " & ".join(map(_escape, texts)) + r" \\"


def _escape(text: str) -> str:
    line = " ".join(text.split())
    return _SPECIAL.sub(lambda match: _LATEX[match[0]], line)
