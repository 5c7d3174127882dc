"""What is in a study's tables: one function for each name in `TABLES`."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from metrics import METRICS
from sslx.evaluation.results import Record
from sslx.evaluation.selection import candidates, choices_by_seed, correlate, swept
from sslx.evaluation.settings import PROBES
from sslx.evaluation.tables import MISSING, Cell, Table, heading, spread
from sslx.studies.evidence import Evidence, group
from sslx.studies.study import Study

SIGNS = (
    "alpha-ReQ counts by -|alpha - 1|, our reading of its paper; all other metrics here: the "
    "highest picks."
)
# In the figure of regrets, which has room for no more.
REGRETS = ("lidar", "debiased_lidar", "rankme", "alpha_req")
NO_LABELS = "no labels"
OVER_SEEDS = "mean +- standard deviation over seeds"

Row = dict[str, str | Cell]  # by heading


def make_tables(study: Study, evidence: Evidence) -> list[Table]:
    """Return the tables that the study names, with notes of what is missing, diverged or failed."""
    notes = []
    for name, facts in evidence.facts.items():
        if facts.status in ("diverged", "failed"):
            notes.append(f"{name} {facts.status}: {facts.reason}")
    missing = sum(facts.status == "missing" for facts in evidence.facts.values())
    if missing:
        notes.append(f"{missing} of {len(evidence.facts)} runs are missing.")
    tables = [TABLES[name](study, evidence) for name in study.tables]
    return [table._replace(notes=(*table.notes, *notes)) for table in tables]


def accuracy(study: Study, evidence: Evidence) -> Table:
    """Return probes and metrics of each method on each data set, over seeds."""
    main, *others = study.evaluations
    final = evidence.final(main)
    columns, by_run = _columns(final), _by_run(final)
    elsewhere = {o.name: _by_run(evidence.final(o)) for o in others if o.settings.probe_data}
    published = {(n.column, n.row): f"{n.value} ({n.source})" for n in study.published}
    configurations = _configurations(evidence)
    rows = []
    for place in dict.fromkeys([*configurations, *published]):  # not all is run here
        row: Row = dict(zip(("data", ""), place, strict=True))
        if runs := configurations.get(place):
            row |= _over_seeds(by_run, runs, columns)
            for other, records in elsewhere.items():
                for target, cell in _over_seeds(records, runs, [study.target]).items():
                    row[f"{target} on {other}"] = cell
        rows.append(row | {"published, linear %": published.get(place, study.unpublished)})
    title = f"Probes and label-free metrics, {OVER_SEEDS}"
    return _table("accuracy", title, rows, empty="not run")


def ablation(study: Study, evidence: Evidence) -> Table:
    """Return probes and metrics along each swept field, over seeds."""
    final = evidence.final(study.evaluations[0])
    columns = _columns(final)
    rows = []
    for method, records in group(final, attrgetter("row")).items():
        axes = swept(records, least=2)
        del axes["all"]
        for axis, part in axes.items():
            varied = [n for n in part[0].config if len({str(r.config.get(n)) for r in part}) > 1]
            field = next((n for n in varied if axis in (n, n.rpartition(".")[2])), axis)
            by_value = group(part, lambda record: str(record.config.get(field)))
            for value in sorted(by_value, key=_number_first):
                by_run = _by_run(by_value[value])
                row: Row = {"method": method, "field": axis, "value": value}
                rows.append(row | _over_seeds(by_run, sorted(by_run), columns))
    return _table("ablation", f"One field at a time, {OVER_SEEDS}", rows)


def settings(study: Study, evidence: Evidence) -> Table:
    """Return LiDAR, its correlation with the probe, and its cost, for each n, q and delta."""
    target = study.target
    # The probe does not depend on n, q and delta: it is that of the first evaluation.
    main = evidence.final(study.evaluations[0])
    probe = {record.run: {target: record.values.get(target, math.nan)} for record in main}
    rows = []
    for evaluation in study.evaluations:
        about = evaluation.settings
        final = [
            record._replace(values=record.values | probe[record.run])
            for record in evidence.final(evaluation)
            if record.run in probe
        ]
        for method, records in group(final, attrgetter("row")).items():
            for column in candidates(records):
                if column.partition("/")[0] not in ("lidar", "debiased_lidar"):
                    continue
                spearman, tau = correlate(records, column, target)
                seconds = [record.seconds for record in records]
                texts = {
                    "n x q": f"{about.lidar_images}x{about.lidar_views}",
                    "delta": f"{about.lidar_delta:g}",
                    "metric": heading(column),
                    "value over runs": spread([r.values.get(column) for r in records], 2),
                    "Spearman": f"{spearman.value:+z.2f}",
                    "tau-b": f"{tau.value:+z.2f}",
                    "views, s": spread([parts.get("views") for parts in seconds]),
                    "metrics, s": spread([parts.get("metrics of views") for parts in seconds]),
                }
                rows.append({"method": method, **_cells(texts, records)})
    note = (
        "Seconds: features of the views, of which the first program compiled is a part, and "
        "metrics of both layers."
    )
    return _table("settings", "What n, q and delta do to LiDAR, and what they cost", rows, note)


def cost(study: Study, evidence: Evidence) -> Table:
    """Return speed and memory of training, over seeds."""
    final = _by_run(evidence.final(study.evaluations[0]))
    rows: list[Row] = []
    for (data, name), runs in _configurations(evidence).items():
        facts = [evidence.facts[run] for run in runs]
        speeds = [fact.images_per_second or math.nan for fact in facts]
        hours = [fact.images / speed / 36 for fact, speed in zip(facts, speeds, strict=True)]
        texts = {
            "images/s": spread(speeds, 0),
            "hours for 100 epochs": spread(hours, 3),
            "host memory, GiB": spread([fact.memory_gib or None for fact in facts], 2),
            "device memory, GiB": spread([fact.device_gib or None for fact in facts], 2),
        }
        cells = {column: Cell(text, tuple(runs)) for column, text in texts.items()}
        row: Row = {"data": data, "": name, **cells}
        rows.append(row | _over_seeds(final, runs, [study.target]))
    notes = (
        "Host memory is the most that the process has held, device memory is not known on CPU.",
        *sorted({fact.environment for fact in evidence.facts.values() if fact.environment}),
    )
    return _table("cost", f"Speed and memory of training, {OVER_SEEDS}", rows, *notes)


def theory(study: Study, evidence: Evidence) -> Table:
    """Return the scores that the programs of `theory/` printed, beside the published ones."""
    rows: list[Row] = []
    for run, facts in evidence.facts.items():
        for texts in _scores(facts.output):
            score, here, published = (Cell(text, (run,)) for text in texts)
            rows.append({"": facts.row, "score": score, "here": here, "published": published})
        if facts.status != "done":
            rows.append({"": facts.row, "score": Cell(MISSING, (run,))})
    return _table("theory", "Statements about DIET, checked by programs", rows)


def correlation(study: Study, evidence: Evidence) -> Table:
    """Return the rank correlation of metrics with the probe over final checkpoints, by axis."""
    target = study.target
    rows = []
    for method, axes in _along_axes(study, evidence).items():
        for column in candidates(axes["all"]):
            row: Row = {"method": method, "metric": heading(column)}
            for axis, part in axes.items():
                spearman, tau = correlate(part, column, target)
                texts = {f"{axis}, Spearman": spearman.text(), f"{axis}, tau-b": tau.text()}
                if not _labelled(part, target):
                    texts = dict.fromkeys(texts, NO_LABELS)
                row |= _cells(texts, part)
            rows.append(row)
    title = f"Rank correlation with {heading(target)}, with 95 % bootstrap intervals"
    note = "Points are runs; intervals are over configurations and, within them, seeds."
    return _table("correlation", title, rows, note, SIGNS)


def selection(study: Study, evidence: Evidence) -> Table:
    """Return the accuracy of what each metric, or the oracle, picks among the runs of a seed."""
    target = study.target
    rows = []
    methods = _along_axes(study, evidence)
    for method, axes in methods.items():
        row: Row = {"method": method, "picked by": "worst - best run"}
        for axis, part in axes.items():
            row |= _cells({axis: _span(part, target)}, part)
        rows.append(row)
        for column in (target, *candidates(axes["all"])):
            row = {"method": method, "picked by": _picker(column, target)}
            for axis, part in axes.items():
                picks = _picks(part, column, target)
                accuracies = spread([pick.values.get(target) for pick in picks], scale=100)
                row |= _cells({axis: accuracies if _labelled(part, target) else NO_LABELS}, picks)
            if column != target:
                choices = choices_by_seed(axes["all"], column, target)
                lost = spread([choice.regret for choice in choices], scale=100)
                row |= _cells({"regret, all": lost}, [choice.pick for choice in choices])
            rows.append(row)
    names = list(dict.fromkeys(axis for axes in methods.values() for axis in axes))
    for metric, numbers in group(study.published, attrgetter("row")).items():
        values = {number.column: number.value for number in numbers}
        row = {"method": numbers[0].source, "picked by": heading(metric)}
        rows.append(row | {name: values.get(name, study.unpublished) for name in names})
    title = f"{heading(target)} of the run that each metric picks, {OVER_SEEDS}"
    note = (
        "One pick for each seed, among all its runs (all), or among those that differ in one field."
    )
    return _table("selection", title, rows, note, SIGNS)


def transfer(study: Study, evidence: Evidence) -> Table:
    """Return the accuracy on other data of the runs that each metric, or the oracle, picks."""
    main, *others = study.evaluations
    target = study.target
    sets = {"on its own data": main} | {other.name: other for other in others}
    by_run = {name: _by_run(evidence.final(evaluation)) for name, evaluation in sets.items()}
    rows = []
    for method, final in group(evidence.final(main), attrgetter("row")).items():
        oracle = [target] if _labelled(final, target) else []
        for column in oracle + candidates(final):
            runs = [pick.run for pick in _picks(final, column, target)]
            row: Row = {"method": method, "picked by": _picker(column, target)}
            for name, records in by_run.items():
                row[name] = _over_seeds(records, runs, [target])[heading(target)]
            rows.append(row)
    title = f"{heading(target)} on other data of the picks, {OVER_SEEDS}"
    return _table("transfer", title, rows, SIGNS)


def regrets(records: Sequence[Record], target: str) -> dict[str, dict[str, list[float]]]:
    """Return the regrets in % of the first method, by metric and swept field: one a seed."""
    first = [record for record in records if record.row == records[0].row]
    return {
        column: {
            axis: [100 * choice.regret for choice in choices_by_seed(part, column, target)]
            for axis, part in swept(first).items()
        }
        for column in candidates(first)
        if column.partition("/")[0] in REGRETS
    }


FUNCTIONS = (accuracy, correlation, selection, transfer, ablation, settings, cost, theory)
TABLES = {function.__name__: function for function in FUNCTIONS}


def _table(name: str, title: str, rows: list[Row], *notes: str, empty: str = "") -> Table:
    """The rows below all their headings, with `empty` where a row has no cell."""
    header = tuple(dict.fromkeys(column for row in rows for column in row))
    cells = [[row.get(column, empty) for column in header] for row in rows]
    texts = tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in cells)
    return Table(name, title, header or ("nothing was evaluated",), texts, notes)


def _cells(texts: Mapping[str, str], records: Iterable[Record]) -> Row:
    """Cells that are made of the records."""
    runs = tuple(sorted({record.run for record in records}))
    return {column: Cell(text, runs) for column, text in texts.items()}


def _by_run(records: Iterable[Record]) -> dict[str, Record]:
    return {record.run: record for record in records}


def _columns(records: Sequence[Record]) -> list[str]:
    """The probes and metrics that any of the records has."""
    columns = [*PROBES, *candidates(records)]
    return [column for column in columns if any(column in record.values for record in records)]


def _configurations(evidence: Evidence) -> dict[tuple[str, str], list[str]]:
    """The runs, one for each seed, by data set and row, in the study's order."""
    facts = evidence.facts
    return group(facts, lambda run: (facts[run].dataset, facts[run].row))


def _along_axes(study: Study, evidence: Evidence) -> dict[str, dict[str, list[Record]]]:
    """Final records by method and swept field."""
    methods = group(evidence.final(study.evaluations[0]), attrgetter("row"))
    return {method: swept(records) for method, records in methods.items()}


def _over_seeds(by_run: Mapping[str, Record], runs: Sequence[str], columns: list[str]) -> Row:
    """Mean and spread of each column over the runs, of which some may be missing."""
    known = [by_run[run].values for run in runs if run in by_run]
    row: Row = {}
    for column in columns:
        values = [*(v.get(column) for v in known), *[None] * (len(runs) - len(known))]
        if known and not any(column in v for v in known):
            text = "-"  # DIET has no embedding
        elif column in PROBES:
            text = spread(values, scale=100)
        else:
            text = spread(values, 1 if METRICS[column.partition("/")[0]].digits == 2 else 3)
        row[heading(column)] = Cell(text, tuple(runs))
    return row


def _labelled(records: Iterable[Record], target: str) -> bool:
    return any(target in record.values for record in records)


def _span(records: Sequence[Record], target: str) -> str:
    values = [100 * record.values.get(target, math.nan) for record in records]
    known = [value for value in values if math.isfinite(value)]
    return f"{min(known):.1f} - {max(known):.1f}" if known else NO_LABELS


def _picker(column: str, target: str) -> str:
    return "oracle (labels)" if column == target else heading(column)


def _picks(records: Sequence[Record], column: str, target: str) -> list[Record]:
    """The pick of each seed by a metric, or, where that is the target, by the labels."""
    if column != target:
        return [choice.pick for choice in choices_by_seed(records, column, target)]
    known = [record for record in records if math.isfinite(record.values.get(target, math.nan))]
    seeds = group(known, lambda record: record.config.get("seed", 0))
    return [max(seeds[seed], key=lambda record: record.values[target]) for seed in sorted(seeds)]


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
