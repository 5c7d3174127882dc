"""Tables of selection without labels: rank correlation, what each metric picks, and how the picks
do elsewhere.
"""

import math
from collections.abc import Iterable, Sequence

from sslx.evaluation.correlation import Correlation
from sslx.evaluation.records import Record
from sslx.evaluation.report import NAMES, heading
from sslx.evaluation.selection import Choice, candidates, choices_by_seed, correlate, swept
from sslx.evaluation.tables import Cell, Table, spread
from sslx.studies.evidence import Evidence
from sslx.studies.study import Study

DRAWN = (
    "lidar",
    "debiased_lidar",
    "rankme",
    "alpha_req",
)  # in the figure of regrets, which has room for no more
SIGNS = (
    "alpha-ReQ counts by -|alpha - 1|, our reading of its paper; all other metrics here: the "
    "highest picks."
)


def by_row(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the row of the table that they belong to."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.row, []).append(record)
    return found


def runs_of(records: Iterable[Record | None]) -> tuple[str, ...]:
    """The names of the records' runs."""
    return tuple(sorted({record.run for record in records if record}))


def regrets(study: Study, evidence: Evidence) -> dict[str, dict[str, list[float]]]:
    """For each metric and swept field the regret in % of each seed's pick, of the study's first
    method.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for final in list(by_row(evidence.final(study.judgements[0].name)).values())[:1]:
        for column in (name for name in candidates(final) if name.partition("/")[0] in DRAWN):
            found[column] = {
                axis: [
                    100 * choice.regret for choice in choices_by_seed(part, column, study.target)
                ]
                for axis, part in swept(final).items()
            }
    return found


def correlation(study: Study, evidence: Evidence) -> Table:
    """Rank correlation of each metric with the probe over final checkpoints: along each swept
    field, and over all.
    """
    methods, axes = _along(study, evidence)
    rows = []
    for name, parts in methods.items():
        for column in candidates(parts["all"]):
            cells = []
            for part in (parts.get(axis, []) for axis in axes):
                cells += [
                    Cell(text, runs_of(part)) for text in _correlations(part, column, study.target)
                ]
            rows.append((Cell(name), Cell(heading(column)), *cells))
    header = (
        "method",
        "metric",
        *(f"{axis}, {rank}" for axis in axes for rank in ("Spearman", "tau-b")),
    )
    title = f"Rank correlation with {heading(study.target)}, with 95 % bootstrap intervals"
    notes = ("Points are runs; intervals are over configurations and, within them, seeds.", SIGNS)
    return Table("correlation", title, header, tuple(rows), notes)


def selection(study: Study, evidence: Evidence) -> Table:
    """Accuracy of what each metric picks among the runs of a seed, mean over seeds, the oracle's,
    and the range.
    """
    methods, axes = _along(study, evidence)
    rows: list[tuple[Cell, ...]] = []
    for name, parts in methods.items():
        along = [parts.get(axis, []) for axis in axes]
        spans = [
            Cell(_span([r.values.get(study.target, math.nan) for r in part]), runs_of(part))
            for part in along
        ]
        rows.append((Cell(name), Cell("worst - best run"), *spans, Cell("")))
        oracle = [_picked(part, study.target, study.target) for part in along]
        rows.append((Cell(name), Cell("oracle (labels)"), *oracle, Cell("")))
        for column in candidates(parts["all"]):
            choices = choices_by_seed(parts["all"], column, study.target)
            lost = Cell(
                spread([choice.regret for choice in choices], scale=100),
                runs_of(c.pick for c in choices),
            )
            cells = [_picked(part, column, study.target) for part in along]
            rows.append((Cell(name), Cell(heading(column)), *cells, lost))
    for metric in dict.fromkeys(p.row for p in study.published):
        said = {p.column: p for p in study.published if p.row == metric}
        cells = [Cell(said[axis].value if axis in said else study.unpublished) for axis in axes]
        source = next(iter(said.values())).source
        rows.append(
            (Cell(source), Cell(NAMES.get(metric, metric.replace("_", " "))), *cells, Cell(""))
        )
    header = ("method", "picked by", *axes, "regret, all")
    title = (
        f"{heading(study.target)} of the run that each metric picks, mean +- standard deviation "
        "over seeds"
    )
    notes = (
        "One pick for each seed, among all its runs (all), or among those that differ in one field.",
        SIGNS,
    )
    return Table("selection", title, header, tuple(rows), notes)


def transfer(study: Study, evidence: Evidence) -> Table:
    """Accuracy on other data of the runs that each metric, or the oracle, picks on the data of
    pretraining.
    """
    main, *others = study.judgements
    rows = []
    for name, final in by_row(evidence.final(main.name)).items():
        for column in (study.target, *candidates(final)):
            if column == study.target and not any(column in record.values for record in final):
                continue
            picks = [choice.pick.run for choice in _choices(final, column, study.target)]
            cells = [_at(final, picks, study.target)]
            cells += [_at(evidence.final(other.name), picks, study.target) for other in others]
            label = "oracle (labels)" if column == study.target else heading(column)
            rows.append((Cell(name), Cell(label), *cells))
    header = (
        "method",
        "picked by",
        "on its own data",
        *(other.probe_data or other.name for other in others),
    )
    title = (
        f"{heading(study.target)} on other data of the picks, mean +- standard deviation over seeds"
    )
    return Table("transfer", title, header, tuple(rows), (SIGNS,))


def _along(
    study: Study, evidence: Evidence
) -> tuple[dict[str, dict[str, list[Record]]], list[str]]:
    """Final records by method and swept field, and the fields of all methods."""
    found = by_row(evidence.final(study.judgements[0].name))
    methods = {name: swept(records) for name, records in found.items()}
    return methods, list(dict.fromkeys(axis for axes in methods.values() for axis in axes))


def _correlations(records: Sequence[Record], column: str, target: str) -> tuple[str, str]:
    """Spearman's rho and tau-b in words."""
    if not any(target in record.values for record in records):
        said = "no labels" if records else ""
        return said, said
    spearman, tau = correlate(records, column, target)
    return _interval(spearman), _interval(tau)


def _interval(found: Correlation) -> str:
    if math.isnan(found.value):
        return "needs 3 runs" if found.count < 3 else "constant"
    limits = "" if math.isnan(found.low) else f" [{found.low:+z.2f}, {found.high:+z.2f}]"
    return f"{found.value:+z.2f}{limits}"


def _span(values: Sequence[float]) -> str:
    known = [100 * value for value in values if math.isfinite(value)]
    return f"{min(known):.1f} - {max(known):.1f}" if known else "no labels"


def _choices(records: Sequence[Record], column: str, target: str) -> list[Choice]:
    """The pick of each seed by a metric, or by the labels."""
    if column != target:
        return choices_by_seed(records, column, target)
    seeds: dict[int, list[Record]] = {}
    for record in records:
        if math.isfinite(record.values.get(target, math.nan)):
            seeds.setdefault(record.config.get("seed", 0), []).append(record)
    best = [
        max(found, key=lambda record: record.values[target]) for _, found in sorted(seeds.items())
    ]
    return [Choice(target, record, record.values[target], record, 0.0) for record in best]


def _picked(records: Sequence[Record], column: str, target: str) -> Cell:
    if not records:
        return Cell("")
    choices = _choices(records, column, target)
    if not any(target in record.values for record in records):
        return Cell("no labels", runs_of(choice.pick for choice in choices))
    return Cell(
        spread([choice.accuracy for choice in choices], scale=100),
        runs_of(choice.pick for choice in choices),
    )


def _at(records: Sequence[Record], runs: Sequence[str], target: str) -> Cell:
    """What the probe says of these runs in other verdicts."""
    values = {record.run: record.values.get(target) for record in records}
    return Cell(spread([values.get(run) for run in runs], scale=100), tuple(runs))
