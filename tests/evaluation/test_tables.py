"""Numbers as text: spread over seeds, headings, digits, and Markdown tables."""

import math
import statistics

import pytest

from metrics import METRICS
from sslx.evaluation.tables import Cell, Table, heading, markdown, number, spread

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


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.944, 0.952, 0.96], "95.2 +- 0.8"),
        ([0.952], "95.2 (1 seed)"),
        ([0.944, math.nan, 0.96], f"95.2 +- {100 * statistics.stdev([0.944, 0.96]):.1f} (2 of 3)"),
        ([None, 0.952, math.inf], "95.2 (1 of 3)"),
        ([math.nan, None], "missing"),
        ([], "missing"),
    ],
)
def test_the_spread_shows_how_many_seeds_there_are(values, text):
    assert spread(values, scale=100) == text


def test_the_spread_has_the_digits_asked_for_and_no_negative_zero():
    assert spread([1.0, 2.0, 3.0], digits=3) == "2.000 +- 1.000"
    assert spread([-0.01, -0.02]) == "0.0 +- 0.0"


def test_markdown_is_aligned_and_escapes_pipes():
    assert markdown(TABLE).splitlines() == [
        "## Regret, 95 % & more",
        "",
        r"| method     |     lr\|wd | LiDAR_rep |",
        r"| ---------- | ---------: | --------: |",
        r"| VICReg     | 0.5 +- 0.1 |     -0.25 |",
        r"| [0.4, 1] * |    missing | <1e-4, #2 |",
        "",
        "- one-sided; a_b",
    ]


def test_markdown_keeps_a_cell_in_its_line_and_a_backslash_from_its_pipe():
    table = Table("t", "t", ("a",), ((Cell("x\\|y\nz"),),))
    assert markdown(table).splitlines()[-1] == r"| x\\\|y z |"


@pytest.mark.parametrize(
    ("column", "value", "title", "text"),
    [
        ("lidar/embedding", 41.176, "LiDAR embedding", "41.18"),
        ("alpha_req/representation", 1.2345, "alpha-ReQ representation", "1.234"),
        ("clid/dimension/embedding", 9.5, "CLID dimension embedding", "9.500"),
        ("knn", 0.8125, "kNN %", "81.2"),
        ("linear", 1.0, "linear %", "100.0"),
        ("linear", None, "linear %", ""),
    ],
)
def test_headings_and_digits_are_those_of_the_table_of_metrics(column, value, title, text):
    assert heading(column) == title
    assert number(column, value) == text


def test_every_metric_has_a_heading_of_its_own():
    assert len({heading(name) for name in METRICS}) == len(METRICS)
    assert heading("no_metric/representation") == "no metric representation"
