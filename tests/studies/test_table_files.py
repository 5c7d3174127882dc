"""Tables as files: CSV and LaTeX, which runs each cell is made of, and what cannot be written."""

import csv
import io
import re

import pytest

from sslx.evaluation.tables import Cell, Table, markdown
from sslx.studies.table_files import cells_csv, csv_text, latex, write_tables

TABLE = Table(
    "regret",
    "Regret, 95 % & more",
    ("method", "lr|wd", "LiDAR_rep"),
    (
        (
            Cell("VICReg"),
            Cell("0.5 +- 0.1", ("a-seed=0", "a-seed=1")),
            Cell("-0.25", ("a-seed=0",)),
        ),
        (Cell("[0.4, 1] *"), Cell("missing"), Cell("<1e-4, #2", ("b",))),
    ),
    ("one-sided; a_b",),
)


def test_csv_is_read_back_exactly():
    rows = list(csv.reader(io.StringIO(csv_text(TABLE))))
    assert rows == [list(TABLE.header), *([cell.text for cell in row] for row in TABLE.rows)]
    assert csv_text(TABLE).splitlines()[2] == '"[0.4, 1] *",missing,"<1e-4, #2"'


def test_latex_escapes_what_is_special():
    assert latex(TABLE).splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Regret, 95 \% \& more}",
        r"\label{tab:regret}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & lr\textbar{}wd & LiDAR\_rep \\",
        r"\midrule",
        r"VICReg & 0.5 $\pm$ 0.1 & $-$0.25 \\",
        r"{[}0.4, 1] {*} & missing & \textless{}1e-4, \#2 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par{\footnotesize one-sided; a\_b}",
        r"\end{table}",
    ]


def test_latex_is_balanced_whatever_the_text():
    nasty = "\\ ~ ^ { } $ % & # _ | < > [ ] -1 +-2"
    text = latex(Table("t", nasty, (nasty, nasty), ((Cell(nasty), Cell(nasty)),), (nasty,)))
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)  # without line breaks and escaped characters
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert bare.count("&") == 2  # one in each of the two rows
    assert not set("%#_~^|<>") & set(bare)


def test_every_cell_knows_its_runs():
    lines = list(csv.DictReader(io.StringIO(cells_csv(TABLE))))
    assert len(lines) == 6
    assert lines[1] == {
        "table": "regret",
        "row": "VICReg",
        "column": "lr|wd",
        "text": "0.5 +- 0.1",
        "runs": "a-seed=0 a-seed=1",
    }


def test_rows_that_begin_alike_are_named_by_more_of_their_cells():
    rows = tuple(
        (Cell(method), Cell(axis), Cell("1"))
        for method in ("dino", "vicreg")
        for axis in ("lr", "wd")
    )
    lines = csv.DictReader(
        io.StringIO(cells_csv(Table("t", "t", ("method", "axis", "LiDAR"), rows)))
    )
    assert [line["row"] for line in lines][::3] == ["dino lr", "dino wd", "vicreg lr", "vicreg wd"]


def test_files_are_the_texts_and_equal_when_written_twice(tmp_path):
    other = TABLE._replace(name="other")
    paths = write_tables([TABLE, other], tmp_path / "tables")
    assert [path.name for path in paths] == [
        *(f"{name}.{suffix}" for name in ("regret", "other") for suffix in ("md", "csv", "tex")),
        "cells.csv",
    ]
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)  # nothing temporary is left
    assert paths[0].read_text() == markdown(TABLE)
    assert paths[1].read_text() == csv_text(TABLE)
    assert paths[2].read_text() == latex(TABLE)
    assert len(paths[-1].read_text().splitlines()) == 1 + 2 * 6
    before = [path.read_bytes() for path in paths]
    assert [
        path.read_bytes() for path in write_tables([TABLE, other], tmp_path / "tables")
    ] == before


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([TABLE, TABLE], "A table is named 'regret', .* give each table its own"),
        ([TABLE._replace(name="a/b")], "A table is named 'a/b'"),
        ([TABLE._replace(name="cells")], "not 'cells'"),
        ([TABLE._replace(header=("method", "a"))], "has 3 cells under 2 headings"),
    ],
)
def test_tables_that_cannot_be_written_are_refused_before_any_file_is(tmp_path, tables, message):
    with pytest.raises(ValueError, match=message) as error:
        write_tables(tables, tmp_path)
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())
