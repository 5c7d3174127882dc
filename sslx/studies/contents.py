"""What stands in a study's tables: one function for each name in `Study.tables`."""

import math
import re
from collections.abc import Callable, Iterator, Sequence

from sslx.evaluation.records import Record
from sslx.evaluation.report import UNITS, heading
from sslx.evaluation.selection import candidates, correlate, swept
from sslx.evaluation.tables import MISSING, Cell, Table, spread
from sslx.studies.choice_tables import by_row, correlation, runs_of, selection, transfer
from sslx.studies.evidence import Evidence
from sslx.studies.study import Study

PROBES = ("linear", "knn")


def make_tables(study: Study, evidence: Evidence) -> list[Table]:
    """The tables that the study names, each with notes of what is missing, diverged or failed."""
    notes = _shortfalls(evidence)
    tables = [TABLES[name](study, evidence) for name in study.tables]
    return [table._replace(notes=(*table.notes, *notes)) for table in tables]


def accuracy(study: Study, evidence: Evidence) -> Table:
    """Probes and metrics of each method on each data set at the end of training, over seeds."""
    final = evidence.final(study.judgements[0].name)
    columns = ["linear", "knn", *candidates(final)]
    columns = [column for column in columns if any(column in record.values for record in final)]
    elsewhere = [judgement for judgement in study.judgements if judgement.probe_data]
    rows = []
    for data, row, runs in _groups(evidence):
        found = {record.run: record for record in final if record.run in runs}
        cells = [_over_seeds([found.get(run) for run in runs], column, runs) for column in columns]
        for other in elsewhere:
            judged = {record.run: record for record in evidence.final(other.name)}
            cells.append(_over_seeds([judged.get(run) for run in runs], study.target, runs))
        said = [p for p in study.published if (p.row, p.column) == (row, data)]
        cells.append(Cell("; ".join(f"{p.value} ({p.source})" for p in said) or study.unpublished))
        rows.append((Cell(data), Cell(row), *cells))
    ours = {(data, row) for data, row, _ in _groups(evidence)}
    for p in study.published:
        if (
            p.column,
            p.row,
        ) not in ours:  # a number to compare with, of something that is not run here
            empty = (Cell("not run"),) * (len(columns) + len(elsewhere))
            rows.append((Cell(p.column), Cell(p.row), *empty, Cell(f"{p.value} ({p.source})")))
    others = (f"{heading(study.target)} on {judgement.probe_data}" for judgement in elsewhere)
    header = ("data", "", *map(heading, columns), *others, "published, linear %")
    return Table(
        "accuracy",
        "Probes and label-free metrics, mean +- standard deviation over seeds",
        header,
        tuple(rows),
    )


def ablation(study: Study, evidence: Evidence) -> Table:
    """Accuracy and metrics along each swept field, over seeds."""
    rows = []
    final = evidence.final(study.judgements[0].name)
    columns = [
        c
        for c in ("linear", "knn", *candidates(final))
        if any(c in record.values for record in final)
    ]
    for name, found in by_row(final).items():
        for axis, part in swept(found, least=2).items():
            field = _field(part, axis)
            for value, members in _by_value(part, field):
                cells = [_over_seeds(members, column, runs_of(members)) for column in columns]
                rows.append((Cell(name), Cell(axis), Cell(value), *cells))
    header = ("method", "field", "value", *map(heading, columns))
    return Table(
        "ablation",
        "One field at a time, mean +- standard deviation over seeds",
        header,
        tuple(rows),
    )


def _field(part: list[Record], axis: str) -> str:
    return next((name for name in part[0].config if axis in (name, name.rsplit(".", 1)[-1])), "")


def _by_value(part: list[Record], field: str) -> list[tuple[str, list[Record]]]:
    """Records by the value of a field, or, where there is none ("all"), nothing."""
    if not field:
        return []
    found: dict[str, list[Record]] = {}
    for record in part:
        found.setdefault(str(record.config[field]), []).append(record)
    return sorted(found.items(), key=lambda pair: (_number(pair[0]), pair[0]))


def settings(study: Study, evidence: Evidence) -> Table:
    """LiDAR, its rank correlation with the probe over all runs, and its cost, for each n, q and
    delta.
    """
    main = study.judgements[0]
    target = {
        record.run: record.values.get(study.target, math.nan)
        for record in evidence.final(main.name)
    }
    rows = []
    for judgement in study.judgements:
        final = evidence.final(judgement.name)
        # The probe is judged once; it does not depend on n, q and delta.
        final = [
            r._replace(values=r.values | {study.target: target[r.run]})
            for r in final
            if r.run in target
        ]
        for name, found in by_row(final).items():
            for column in (
                c for c in candidates(found) if c.startswith(("lidar/", "debiased_lidar/"))
            ):
                spearman, tau = correlate(found, column, study.target)
                values = [record.values[column] for record in found]
                parts = ("views", "metrics of views")
                seconds = [spread([r.seconds.get(part) for r in found]) for part in parts]
                texts = [
                    judgement.lidar,
                    f"{judgement.delta:g}",
                    heading(column),
                    spread(values, 2),
                ]
                texts += [f"{spearman.value:+z.2f}", f"{tau.value:+z.2f}", *seconds]
                rows.append((Cell(name), *(Cell(text, runs_of(found)) for text in texts)))
    header = (
        "method",
        "n x q",
        "delta",
        "metric",
        "value over runs",
        "Spearman",
        "tau-b",
        "views, s",
        "metrics, s",
    )
    notes = (
        "Seconds: features of the views, of which the first program compiled is a part, and "
        "metrics of both layers.",
    )
    return Table(
        "settings",
        "What n, q and delta do to LiDAR, and what they cost",
        header,
        tuple(rows),
        notes,
    )


def cost(study: Study, evidence: Evidence) -> Table:
    """Speed and memory of training, over seeds."""
    rows = []
    final = {record.run: record for record in evidence.final(study.judgements[0].name)}
    for data, row, runs in _groups(evidence):
        facts = [evidence.facts[run] for run in runs]
        speeds = [fact.images_per_second or None for fact in facts]
        hours = [
            fact.images / fact.images_per_second / 36 if fact.images_per_second else None
            for fact in facts
        ]
        cells = [Cell(spread(speeds, 0), runs), Cell(spread(hours, 3), runs)]
        cells += [
            Cell(spread([getattr(fact, of) or None for fact in facts], 2), runs)
            for of in ("memory_gib", "device_gib")
        ]
        accuracies = [final[run].values.get(study.target) if run in final else None for run in runs]
        rows.append((Cell(data), Cell(row), *cells, Cell(spread(accuracies, scale=100), runs)))
    machines = sorted({fact.environment for fact in evidence.facts.values() if fact.environment})
    header = (
        "data",
        "",
        "images/s",
        "hours for 100 epochs",
        "host memory, GiB",
        "device memory, GiB",
        heading(study.target),
    )
    notes = (
        "Host memory is the most that the process has held, device memory is not known on CPU.",
        *machines,
    )
    return Table(
        "cost",
        "Speed and memory of training, mean +- standard deviation over seeds",
        header,
        tuple(rows),
        notes,
    )


def theory(study: Study, evidence: Evidence) -> Table:
    """The scores that the programs of `theory/` printed, beside the published ones where they print
    them too.
    """
    rows = []
    for name, facts in evidence.facts.items():
        for what, here, published in _scores(facts.output):
            rows.append(
                (Cell(facts.row), *(Cell(text, (name,)) for text in (what, here, published)))
            )
        if facts.status != "done":
            rows.append((Cell(facts.row), Cell(MISSING, (name,)), Cell(""), Cell("")))
    return Table(
        "theory",
        "Statements about DIET, checked by programs",
        ("", "score", "here", "published"),
        tuple(rows),
    )


def _scores(output: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Lines of a program's last table: what, the number here, and what is published."""
    start = max((i for i, line in enumerate(output) if line.startswith("after ")), default=None)
    for line in output if start is None else output[start + 1 :]:
        if start is not None and (match := re.match(r"(\S.*?)\s{2,}([-\d.]+)\s{2,}(.*)", line)):
            yield match[1], match[2], match[3]
        elif start is None and (match := re.match(r"\s*(\S.*?)\s{2,}(.*\d.*)", line)):
            yield match[1], match[2], ""


def _groups(evidence: Evidence) -> list[tuple[str, str, tuple[str, ...]]]:
    """Data set, row and runs (one for each seed) of each configuration, in the study's order."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, facts in evidence.facts.items():
        found.setdefault((facts.dataset, facts.row), []).append(name)
    return [(data, row, tuple(runs)) for (data, row), runs in found.items()]


def _over_seeds(records: Sequence[Record | None], column: str, runs: tuple[str, ...]) -> Cell:
    if any(records) and not any(record and column in record.values for record in records):
        return Cell("-", runs)  # DIET has no embedding
    values = [record.values.get(column) if record else None for record in records]
    name = column.partition("/")[0]
    return Cell(
        spread(values, 1, 100) if column in PROBES else spread(values, 3 if name in UNITS else 1),
        runs,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _shortfalls(evidence: Evidence) -> list[str]:
    """A sentence for each run that is not there, and why."""
    said = [
        f"{name} {facts.status}: {facts.reason}"
        for name, facts in evidence.facts.items()
        if facts.status in ("diverged", "failed")
    ]
    missing = [name for name, facts in evidence.facts.items() if facts.status == "missing"]
    return said + (
        [f"{len(missing)} of {len(evidence.facts)} runs are missing."] if missing else []
    )


TABLES: dict[str, Callable[[Study, Evidence], Table]] = {
    "accuracy": accuracy,
    "correlation": correlation,
    "selection": selection,
    "transfer": transfer,
    "ablation": ablation,
    "settings": settings,
    "cost": cost,
    "theory": theory,
}
