"""What is in a study's tables: one function for each name in `TABLES`."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from metrics import METRICS
from sslx.evaluation.results import Record
from sslx.evaluation.selection import Choice, candidates, choices_by_seed, correlate, swept
from sslx.evaluation.settings import PROBES
from sslx.evaluation.tables import MISSING, Cell, Table, heading, spread
from sslx.studies.evidence import Evidence, group
from sslx.studies.study import Study

SIGNS = (
    "alpha-ReQ counts by -|alpha - 1|, our reading of its paper; all other metrics here: the "
    "highest picks."
)


def make_tables(study: Study, evidence: Evidence) -> list[Table]:
    """Return the tables that the study names, with notes of what is missing, diverged or failed."""
    tables = [TABLES[name](study, evidence) for name in study.tables]
    facts = evidence.facts
    ended = [name for name in facts if facts[name].status in ("diverged", "failed")]
    missing = [name for name in facts if facts[name].status == "missing"]
    notes = [f"{name} {facts[name].status}: {facts[name].reason}" for name in ended]
    if missing:
        notes.append(f"{len(missing)} of {len(facts)} runs are missing.")
    return [table._replace(notes=(*table.notes, *notes)) for table in tables]


def accuracy(study: Study, evidence: Evidence) -> Table:
    """Return probes and metrics of each method on each data set, over seeds."""
    final = _by_run(evidence.final(study.evaluations[0]))
    columns = _columns(final.values())
    elsewhere = [other for other in study.evaluations if other.settings.probe_data]
    records_elsewhere = [_by_run(evidence.final(other)) for other in elsewhere]
    configurations = _configurations(evidence)
    published = group(study.published, lambda number: (number.column, number.row))
    rows = []
    for (data, row), runs in configurations.items():
        cells = [_over_seeds([final.get(run) for run in runs], runs, c) for c in columns]
        for records in records_elsewhere:
            cells.append(_over_seeds([records.get(run) for run in runs], runs, study.target))
        numbers = [f"{n.value} ({n.source})" for n in published.pop((data, row), ())]
        cells.append(Cell("; ".join(numbers) or study.unpublished))
        rows.append((Cell(data), Cell(row), *cells))
    for (data, row), numbers_left in published.items():  # to compare with, but not run here
        empty = [Cell("not run")] * (len(columns) + len(elsewhere))
        for number in numbers_left:
            text = f"{number.value} ({number.source})"
            rows.append((Cell(data), Cell(row), *empty, Cell(text)))
    others = (f"{heading(study.target)} on {other.settings.probe_data}" for other in elsewhere)
    header = ("data", "", *map(heading, columns), *others, "published, linear %")
    title = "Probes and label-free metrics, mean +- standard deviation over seeds"
    return Table("accuracy", title, header, tuple(rows))


def ablation(study: Study, evidence: Evidence) -> Table:
    """Return probes and metrics along each swept field, over seeds."""
    final = evidence.final(study.evaluations[0])
    columns = _columns(final)
    rows = []
    for method, records in group(final, _row).items():
        for axis, part in swept(records, least=2).items():
            if axis == "all":
                continue
            field = _swept_field(part, axis)
            by_value = group(part, lambda record: str(record.config.get(field)))
            for value in sorted(by_value, key=_number_first):
                members = by_value[value]
                cells = [_over_seeds(members, _runs(members), column) for column in columns]
                rows.append((Cell(method), Cell(axis), Cell(value), *cells))
    header = ("method", "field", "value", *map(heading, columns))
    title = "One field at a time, mean +- standard deviation over seeds"
    return Table("ablation", title, header, tuple(rows))


def settings(study: Study, evidence: Evidence) -> Table:
    """Return LiDAR, its correlation with the probe, and its cost, for each n, q and delta."""
    # The probe does not depend on n, q and delta: it is that of the first evaluation.
    probe = {
        record.run: {study.target: record.values.get(study.target, math.nan)}
        for record in evidence.final(study.evaluations[0])
    }
    rows = []
    for evaluation in study.evaluations:
        n, q = evaluation.settings.lidar_images, evaluation.settings.lidar_views
        final = [
            record._replace(values=record.values | probe[record.run])
            for record in evidence.final(evaluation)
            if record.run in probe
        ]
        for method, records in group(final, _row).items():
            for column in candidates(records):
                if column.partition("/")[0] not in ("lidar", "debiased_lidar"):
                    continue
                spearman, tau = correlate(records, column, study.target)
                texts = [
                    f"{n}x{q}",
                    f"{evaluation.settings.lidar_delta:g}",
                    heading(column),
                    spread([record.values.get(column) for record in records], 2),
                    f"{spearman.value:+z.2f}",
                    f"{tau.value:+z.2f}",
                    spread([record.seconds.get("views") for record in records]),
                    spread([record.seconds.get("metrics of views") for record in records]),
                ]
                rows.append((Cell(method), *(Cell(text, _runs(records)) for text in texts)))
    header = ("method", "n x q", "delta", "metric", "value over runs", "Spearman", "tau-b")
    note = (
        "Seconds: features of the views, of which the first program compiled is a part, and "
        "metrics of both layers."
    )
    title = "What n, q and delta do to LiDAR, and what they cost"
    return Table("settings", title, (*header, "views, s", "metrics, s"), tuple(rows), (note,))


def cost(study: Study, evidence: Evidence) -> Table:
    """Return speed and memory of training, over seeds."""
    final = _by_run(evidence.final(study.evaluations[0]))
    rows = []
    for (data, row), runs in _configurations(evidence).items():
        facts = [evidence.facts[run] for run in runs]
        speeds = [fact.images_per_second or None for fact in facts]
        hours = [
            fact.images / speed / 36 if speed else None
            for fact, speed in zip(facts, speeds, strict=True)
        ]
        targets = [final[run].values.get(study.target) if run in final else None for run in runs]
        texts = [
            spread(speeds, 0),
            spread(hours, 3),
            spread([fact.memory_gib or None for fact in facts], 2),
            spread([fact.device_gib or None for fact in facts], 2),
            spread(targets, scale=100),
        ]
        rows.append((Cell(data), Cell(row), *(Cell(text, runs) for text in texts)))
    memory = ("host memory, GiB", "device memory, GiB")
    header = ("data", "", "images/s", "hours for 100 epochs", *memory, heading(study.target))
    notes = (
        "Host memory is the most that the process has held, device memory is not known on CPU.",
        *sorted({fact.environment for fact in evidence.facts.values() if fact.environment}),
    )
    title = "Speed and memory of training, mean +- standard deviation over seeds"
    return Table("cost", title, header, tuple(rows), notes)


def theory(study: Study, evidence: Evidence) -> Table:
    """Return the scores that the programs of `theory/` printed, beside the published ones."""
    rows = []
    for run, facts in evidence.facts.items():
        for texts in _scores(facts.output):
            rows.append((Cell(facts.row), *(Cell(text, (run,)) for text in texts)))
        if facts.status != "done":
            rows.append((Cell(facts.row), Cell(MISSING, (run,)), Cell(""), Cell("")))
    header = ("", "score", "here", "published")
    return Table("theory", "Statements about DIET, checked by programs", header, tuple(rows))


def correlation(study: Study, evidence: Evidence) -> Table:
    """Return the rank correlation of each metric with the probe over final checkpoints.

    Along each swept field, and over all.
    """
    methods, axes = _along_axes(study, evidence)
    rows = []
    for method, parts in methods.items():
        for column in candidates(parts["all"]):
            cells = []
            for axis in axes:
                part = parts.get(axis, [])
                cells += [Cell(text, _runs(part)) for text in _correlations(part, column, study)]
            rows.append((Cell(method), Cell(heading(column)), *cells))
    ranks = [f"{axis}, {rank}" for axis in axes for rank in ("Spearman", "tau-b")]
    title = f"Rank correlation with {heading(study.target)}, with 95 % bootstrap intervals"
    note = "Points are runs; intervals are over configurations and, within them, seeds."
    return Table("correlation", title, ("method", "metric", *ranks), tuple(rows), (note, SIGNS))


def selection(study: Study, evidence: Evidence) -> Table:
    """Return the accuracy of what each metric picks among the runs of a seed, mean over seeds.

    Beside it the oracle's, and the range of all runs.
    """
    methods, axes = _along_axes(study, evidence)
    target = study.target
    rows: list[tuple[Cell, ...]] = []
    for method, parts in methods.items():
        along = [parts.get(axis, []) for axis in axes]
        spans = [Cell(_span(part, target), _runs(part)) for part in along]
        rows.append((Cell(method), Cell("worst - best run"), *spans, Cell("")))
        oracle = [_picked(part, target, target) for part in along]
        rows.append((Cell(method), Cell("oracle (labels)"), *oracle, Cell("")))
        for column in candidates(parts["all"]):
            choices = choices_by_seed(parts["all"], column, target)
            lost = spread([choice.regret for choice in choices], scale=100)
            regret = Cell(lost, _runs(choice.pick for choice in choices))
            picked = [_picked(part, column, target) for part in along]
            rows.append((Cell(method), Cell(heading(column)), *picked, regret))
    for metric, numbers in group(study.published, lambda number: number.row).items():
        values = {number.column: number.value for number in numbers}
        cells = [Cell(values.get(axis, study.unpublished)) for axis in axes]
        rows.append((Cell(numbers[0].source), Cell(heading(metric)), *cells, Cell("")))
    title = f"{heading(target)} of the run that each metric picks"
    title += ", mean +- standard deviation over seeds"
    note = (
        "One pick for each seed, among all its runs (all), or among those that differ in one field."
    )
    header = ("method", "picked by", *axes, "regret, all")
    return Table("selection", title, header, tuple(rows), (note, SIGNS))


def transfer(study: Study, evidence: Evidence) -> Table:
    """Return the accuracy on other data of the runs that each metric, or the oracle, picks."""
    main, *others = study.evaluations
    rows = []
    for method, final in group(evidence.final(main), _row).items():
        columns = candidates(final)
        if any(study.target in record.values for record in final):
            columns = [study.target, *columns]
        for column in columns:
            runs = tuple(choice.pick.run for choice in _choices(final, column, study.target))
            cells = []
            for evaluation in study.evaluations:
                by_run = _by_run(evidence.final(evaluation))
                values = [by_run[r].values.get(study.target) if r in by_run else None for r in runs]
                cells.append(Cell(spread(values, scale=100), runs))
            label = "oracle (labels)" if column == study.target else heading(column)
            rows.append((Cell(method), Cell(label), *cells))
    sets = (evaluation.settings.probe_data or evaluation.name for evaluation in others)
    title = f"{heading(study.target)} on other data of the picks"
    title += ", mean +- standard deviation over seeds"
    header = ("method", "picked by", "on its own data", *sets)
    return Table("transfer", title, header, tuple(rows), (SIGNS,))


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


def _row(record: Record) -> str:
    return record.row


def _runs(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(sorted({record.run for record in records}))


def _by_run(records: Iterable[Record]) -> dict[str, Record]:
    return {record.run: record for record in records}


def _columns(records: Iterable[Record]) -> list[str]:
    """The probes and metrics that any of the records has."""
    records = list(records)
    columns = [*PROBES, *candidates(records)]
    return [column for column in columns if any(column in record.values for record in records)]


def _configurations(evidence: Evidence) -> dict[tuple[str, str], tuple[str, ...]]:
    """The runs, one for each seed, by data set and row, in the study's order."""
    facts = evidence.facts
    groups = group(facts, lambda run: (facts[run].dataset, facts[run].row))
    return {place: tuple(runs) for place, runs in groups.items()}


def _along_axes(
    study: Study, evidence: Evidence
) -> tuple[dict[str, dict[str, list[Record]]], list[str]]:
    """Final records by method and swept field, and the fields of all methods."""
    groups = group(evidence.final(study.evaluations[0]), _row)
    methods = {method: swept(records) for method, records in groups.items()}
    return methods, list(dict.fromkeys(axis for axes in methods.values() for axis in axes))


def _over_seeds(records: Sequence[Record | None], runs: tuple[str, ...], column: str) -> Cell:
    known = [record for record in records if record]
    if known and not any(column in record.values for record in known):
        return Cell("-", runs)  # DIET has no embedding
    values = [record.values.get(column) if record else None for record in records]
    if column in PROBES:
        return Cell(spread(values, 1, 100), runs)
    digits = 1 if METRICS[column.partition("/")[0]].digits == 2 else 3
    return Cell(spread(values, digits), runs)


def _correlations(records: Sequence[Record], column: str, study: Study) -> tuple[str, str]:
    """Spearman's rho and tau-b as text."""
    if not records:
        return "", ""
    if not any(study.target in record.values for record in records):
        return "no labels", "no labels"
    spearman, tau = correlate(records, column, study.target)
    return spearman.text(), tau.text()


def _span(records: Sequence[Record], target: str) -> str:
    values = [100 * record.values.get(target, math.nan) for record in records]
    known = [value for value in values if math.isfinite(value)]
    return f"{min(known):.1f} - {max(known):.1f}" if known else "no labels"


def _choices(records: Sequence[Record], column: str, target: str) -> list[Choice]:
    """The pick of each seed by a metric, or, where that is the target, by the labels."""
    if column != target:
        return choices_by_seed(records, column, target)
    known = [record for record in records if math.isfinite(record.values.get(target, math.nan))]
    seeds = group(known, lambda record: record.config.get("seed", 0))
    best = [max(seeds[seed], key=lambda record: record.values[target]) for seed in sorted(seeds)]
    return [Choice(target, record, record.values[target], record, 0.0) for record in best]


def _picked(records: Sequence[Record], column: str, target: str) -> Cell:
    if not records:
        return Cell("")
    choices = _choices(records, column, target)
    runs = _runs(choice.pick for choice in choices)
    if not any(target in record.values for record in records):
        return Cell("no labels", runs)
    return Cell(spread([choice.accuracy for choice in choices], scale=100), runs)


def _swept_field(records: Sequence[Record], axis: str) -> str:
    """The field of the config that an axis is called by; other fields may end alike."""
    for field in records[0].config:
        values = {str(record.config.get(field)) for record in records}
        if len(values) > 1 and axis in (field, field.rpartition(".")[2]):
            return field
    return axis


def _number_first(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _scores(output: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Lines of a program's last table: what, the number here, and what is published."""
    starts = [number for number, line in enumerate(output) if line.startswith("after ")]
    for line in output[starts[-1] + 1 :] if starts else output:
        if starts and (match := re.match(r"(\S.*?)\s{2,}([-\d.]+)\s{2,}(.*)", line)):
            yield match[1], match[2], match[3]
        elif not starts and (match := re.match(r"\s*(\S.*?)\s{2,}(.*\d.*)", line)):
            yield match[1], match[2], ""
