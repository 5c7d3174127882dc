"""The results of one run as a table, and which checkpoint each label-free metric picks."""

from collections.abc import Sequence

import numpy as np

from metrics import METRICS
from sslx.evaluation.results import Record
from sslx.evaluation.selection import candidates, choose, correlate, scores
from sslx.evaluation.tables import Cell, Table, heading, markdown, number


def report(
    title: str, records: Sequence[Record], pixels: dict[str, float], notes: Sequence[str]
) -> str:
    """Return a Markdown table with a row per checkpoint, one for raw pixels, and notes below it.

    Step 0 is the untrained network.
    """
    columns = list(records[0].values)
    rows = [("raw pixels", pixels)] if pixels else []
    rows += [(str(record.step or "0 (untrained)"), record.values) for record in records]
    cells = tuple(
        (Cell(label), *(Cell(number(column, values.get(column))) for column in columns))
        for label, values in rows
    )
    header = ("step", *map(heading, columns))
    return markdown(Table("eval", title, header, cells, (*notes, *picks(records))))


def picks(records: Sequence[Record]) -> list[str]:
    """Return a line for the labels and for each metric whose highest value is best.

    It has the checkpoint that is picked, and the metric's rank correlation with the probe. There
    are none for fewer than 3 trained checkpoints, or without a probe.
    """
    target = next((name for name in ("linear", "knn") if name in records[0].values), None)
    trained = [record for record in records if record.step > 0]
    if target is None or len(trained) < 3:
        return []
    best = max(trained, key=lambda record: record.values[target])
    accuracy = number(target, best.values[target])
    lines = [f"Best {heading(target)}: step {best.step} with {accuracy}."]
    for column in candidates(trained):
        higher = METRICS[column.partition("/")[0]].better == "higher"
        if higher and np.isfinite(scores(trained, column)).any():
            choice = choose(trained, column, target)
            rho, tau = correlate(trained, column, target)
            lines.append(
                f"Highest {heading(column)}: step {choice.pick.step} with "
                f"{number(target, choice.accuracy)}; over {len(trained)} checkpoints "
                f"Spearman {rho.value:+z.2f}, Kendall tau-b {tau.value:+z.2f}."
            )
    return lines
