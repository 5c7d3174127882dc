"""Which of many runs is best: what each metric picks, and what it loses to a choice with labels."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from metrics import METRICS
from metrics.label_free import entries
from sslx.evaluation.correlation import Correlation, intervals
from sslx.evaluation.results import Record
from sslx.evaluation.settings import Settings
from sslx.evaluation.tables import Cell, Table, heading, markdown, number, spread
from sslx.hints import did_you_mean
from sslx.method import Features
from sslx.training.run_folder import FREE

PICKING = [name for name, metric in METRICS.items() if metric.better]
TARGET = "linear"  # the accuracy that a choice is measured by
# How metrics pick that do not pick the highest value.
HOW = {name: "the lowest picks" for name, metric in METRICS.items() if metric.better == "lower"}
HOW["alpha_req"] = "by -|alpha - 1|"
HOW["clid"] = "learnability and dimension, standardised over the table and added"


class Choice(NamedTuple):
    """What a metric picks, and what is lost by it; nan and no oracle without labels."""

    metric: str  # with its layer, such as lidar/representation
    pick: Record
    accuracy: float
    oracle: Record | None  # the pick of the labels
    regret: float  # accuracy of the oracle - accuracy


def candidates(records: Iterable[Record]) -> list[str]:
    """Return the metrics with layers that can pick among the records; some may lack a value."""
    columns = {column for record in records for column in record.values}
    measured = {(name.partition("/")[0], name.rpartition("/")[2]) for name in columns}
    pairs = [(name, layer) for name in PICKING for layer in Features._fields]
    return ["/".join(pair) for pair in pairs if pair in measured]


def check_metric(select: str, measured: Iterable[str]) -> None:
    """Raise ValueError unless `select` can pick and its metric is measured.

    `select` is a metric such as lidar or rankme/embedding, `measured` are metrics without layers.
    """
    name, measured = select.partition("/")[0], list(measured)
    if name not in METRICS:
        problem = f"there is no metric {name}.{did_you_mean(name, PICKING)}"
    elif name not in PICKING:
        problem = f"{name} does not tell which run is better."
    elif name not in measured:
        advice = f"--metrics={','.join([*measured, name])}"
        problem = f"{name} was not measured. Measure it with {advice}."
    else:
        return
    here = ", ".join(metric for metric in PICKING if metric in measured) or "none that picks"
    raise ValueError(f"--select={select}: {problem} Measured here: {here}.")


def check_comparable(records: Sequence[Record]) -> None:
    """Raise ValueError unless there are records, on the same images and at equal settings."""
    if not records:
        raise ValueError(
            "There is no evaluated checkpoint to choose from. Evaluate runs first: "
            "python eval.py --run=RUN"
        )
    # The probes learn from the training images by default.
    data = [
        (record.run, {"probe": record.data.get("train", "")} | record.data) for record in records
    ]
    for split in ("train", "probe", "test"):
        images = _differences((run, of_run[split]) for run, of_run in data if of_run.get(split))
        if images:
            raise ValueError(
                f"Selection across data sets means nothing, but the {split} images differ: "
                f"{images}. Name runs of one data set in --runs."
            )
    for field in Settings._fields:
        if field in ("metrics", "probes"):  # what was measured, not how
            continue
        values = _differences((r.run, str(getattr(r.settings, field))) for r in records)
        if values:
            raise ValueError(
                f"Only numbers of equal settings compare, but {field} differs: {values}. Evaluate "
                f"all runs again with the same --{field}."
            )


def scores(records: Sequence[Record], metric: str) -> np.ndarray:
    """Return a metric's values [n] turned so that higher is better; nan where undefined.

    `metric` is such as lidar or idest/embedding. alpha_req counts as -|alpha - 1|, our reading of
    "near 1 is good". clid is learnability and dimension, each standardised over the records, and
    added. Raises ValueError for a metric that cannot pick.
    """
    name, _, layer = _with_layer(metric).partition("/")
    if name not in PICKING:
        raise ValueError(f"{name} is not a metric that picks; those are {', '.join(PICKING)}.")
    if name == "clid":
        parts = [_standardise(_values(records, f"{entry}/{layer}")) for entry in entries(name)]
        return np.sum(parts, axis=0)
    values = _values(records, f"{name}/{layer}")
    if METRICS[name].better == "near 1":
        return -np.abs(values - 1)
    return values if METRICS[name].better == "higher" else -values


def choose(records: Sequence[Record], metric: str, target: str = TARGET) -> Choice:
    """Choose the record with the highest score; of equal ones the first by name of run and step.

    Raises ValueError when the score is undefined for all records.
    """
    metric = _with_layer(metric)
    accuracies = _values(records, target)
    pick, oracle = _best(records, scores(records, metric)), _best(records, accuracies)
    if pick is None:
        others = (name for name in candidates(records) if np.isfinite(scores(records, name)).any())
        raise ValueError(
            f"{metric} has no value for any of {len(records)} checkpoints, so it picks none. "
            f"Choose from {', '.join(others) or 'other runs'}."
        )
    accuracy = float(accuracies[pick])
    if oracle is None:
        return Choice(metric, records[pick], math.nan, None, math.nan)
    regret = float(accuracies[oracle]) - accuracy
    return Choice(metric, records[pick], accuracy, records[oracle], regret)


def choices_by_seed(records: Sequence[Record], metric: str, target: str = TARGET) -> list[Choice]:
    """Return the choice among the runs of each seed for which the score is defined."""
    choices = []
    for seed in _seeds(records):
        of_seed = [record for record in records if _seed(record) == seed]
        if np.isfinite(scores(of_seed, metric)).any():
            choices.append(choose(of_seed, metric, target))
    return choices


def correlate(
    records: Sequence[Record], metric: str, target: str = TARGET
) -> tuple[Correlation, Correlation]:
    """Return Spearman's rho and Kendall's tau-b of scores and accuracies.

    Their intervals are over configurations and, within them, seeds.
    """
    labels = [configuration(record) for record in records]
    return intervals(scores(records, metric), _values(records, target), labels)


def configuration(record: Record) -> str:
    """Return a text that is equal for runs that differ in the seed alone."""
    return json.dumps(_fields(record), sort_keys=True)


def swept(records: Sequence[Record], least: int = 3) -> dict[str, list[Record]]:
    """Return the records along each axis: each field of the config that was swept; "all" has all.

    Records along an axis differ in that field alone from a centre, which has of every field the
    most frequent value over configurations (seeds counted once). An axis has `least`
    configurations or more. Its name is the last part of the field, or the whole field where two
    axes would have the same name.
    """
    labelled = [(configuration(record), record) for record in records]
    configs = {label: _fields(record) for label, record in labelled}
    names = sorted({name for fields in configs.values() for name in fields})
    changed: dict[str, set[str]] = {label: set() for label in configs}
    for name in names:
        values = {label: fields.get(name, "") for label, fields in configs.items()}
        counts = Counter(values.values())
        centre = min(counts, key=lambda value: (-counts[value], value))
        for label, value in values.items():
            if value != centre:
                changed[label].add(name)
    records_by_axis = {}
    for name in names:
        near = {label for label, fields in changed.items() if fields <= {name}}
        if len(near) >= least:
            records_by_axis[name] = [record for label, record in labelled if label in near]
    short = {name: name.rpartition(".")[2] for name in records_by_axis}
    uses = Counter(["all", *short.values()])
    axes = {"all": list(records)}
    for name, on_axis in records_by_axis.items():
        axes[short[name] if uses[short[name]] == 1 else name] = on_axis
    return axes


def explain(records: Iterable[Record], select: str) -> str:
    """Return what `select` picks among trained checkpoints, and a table of what all metrics pick.

    Raises ValueError where records do not compare, and when `select` cannot pick among them.
    """
    trained = [record for record in records if record.step > 0]
    trained.sort(key=lambda record: (record.run, record.step))
    check_comparable(trained)
    choice, axes, columns = choose(trained, select), swept(trained), candidates(trained)
    if choice.oracle is None:
        axes = {}
    rows = [_row(trained, column, axes) for column in columns]
    header = [name for name in rows[0] if name != "regret by seed" or len(_seeds(trained)) > 1]
    cells = tuple(tuple(Cell(row[name]) for name in header) for row in rows)
    notes = tuple(_notes(trained, columns, axes))
    table = Table("selection", "What each metric picks", tuple(header), cells, notes)
    return f"{_sentence(trained, choice)}\n\n{markdown(table)}"


def _row(records: list[Record], column: str, axes: dict[str, list[Record]]) -> dict[str, str]:
    """A metric's pick, what is lost by it, and its correlation with the labels along each axis."""
    row = {"metric": column, "pick": "undefined"}
    row |= dict.fromkeys(("step", heading(TARGET), "regret", "regret by seed"), "n/a")
    if np.isfinite(scores(records, column)).any():
        choice = choose(records, column)
        row |= {"pick": choice.pick.run, "step": str(choice.pick.step)}
        regrets = [of_seed.regret for of_seed in choices_by_seed(records, column)]
        row["regret by seed"] = spread(regrets, scale=100) if choice.oracle else "no labels"
        for name, value in ((heading(TARGET), choice.accuracy), ("regret", choice.regret)):
            if choice.oracle is None:
                row[name] = "no labels"
            elif not math.isnan(value):
                row[name] = number(TARGET, value)
    for axis, part in axes.items():
        for rank, correlation in zip(("Spearman", "tau-b"), correlate(part, column), strict=True):
            row[f"{rank}, {axis}"] = correlation.text()
    return row


def _sentence(records: Sequence[Record], choice: Choice) -> str:
    metric, pick, oracle = choice.metric, choice.pick, choice.oracle
    # clid has no value of its own, but a score among these records.
    value = pick.values.get(metric, scores(records, metric)[records.index(pick)])
    text = f"{metric} picks {pick.run}, step {pick.step}, where it is {value:.4g}."
    if oracle is None:
        return f"{text} Without labels its accuracy and regret are not known."
    accuracy = number(TARGET, oracle.values[TARGET])
    best = f"the oracle, {oracle.run}, step {oracle.step}, has {accuracy} %"
    if math.isnan(choice.accuracy):
        return f"{text} It has no {TARGET} accuracy; {best}."
    return (
        f"{text} Its {TARGET} accuracy is {number(TARGET, choice.accuracy)} %; {best}: "
        f"a regret of {number(TARGET, choice.regret)} points."
    )


def _notes(
    records: Sequence[Record], columns: list[str], axes: dict[str, list[Record]]
) -> list[str]:
    notes = [f"{_count(records)}; untrained checkpoints (step 0) take no part."]
    methods = sorted({str(record.config.get("method.name", record.row)) for record in records})
    if len(methods) > 1:
        notes.append(
            f"Methods are mixed ({', '.join(methods)}): views, and so LiDAR, differ between "
            "methods. Compare within one method."
        )
    values = {column: scores(records, column) for column in columns}
    if axes:
        values[TARGET] = np.array([record.values.get(TARGET, math.nan) for record in records])
        notes += [f"{axis}: {_count(part)}." for axis, part in axes.items() if axis != "all"]
        notes.append(
            "In brackets: 95 % intervals of a percentile bootstrap over configurations and, within "
            "them, seeds; they need 3 configurations."
        )
    else:
        notes.append(
            f"No labels, or evaluated without --probe={TARGET}: the picks need none, their "
            "accuracy does."
        )
    metrics = dict.fromkeys(column.partition("/")[0] for column in columns)
    notes += [f"{name}: {HOW[name]}." for name in metrics if name in HOW]
    for column, of_column in values.items():
        if missing := int((~np.isfinite(of_column)).sum()):
            notes.append(
                f"{column} is undefined or missing for {missing} of {len(records)} checkpoints."
            )
    return notes


def _count(records: Sequence[Record]) -> str:
    counts = {
        "runs": len({record.run for record in records}),
        "configurations": len({configuration(record) for record in records}),
        "checkpoints": len(records),
        "seeds": len(_seeds(records)),
    }
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _seeds(records: Sequence[Record]) -> list[int]:
    return sorted({_seed(record) for record in records})


def _seed(record: Record) -> int:
    return record.config.get("seed", 0)


def _with_layer(metric: str) -> str:
    return metric if "/" in metric else f"{metric}/representation"


def _values(records: Sequence[Record], column: str) -> np.ndarray:
    values = np.array([record.values.get(column, math.nan) for record in records], np.float64)
    return np.where(np.isfinite(values), values, math.nan)


def _standardise(values: np.ndarray) -> np.ndarray:
    known = np.sort(values[~np.isnan(values)])  # sums must not depend on the order of records
    return (values - known.mean()) / (known.std() or 1) if len(known) else values


def _best(records: Sequence[Record], values: np.ndarray) -> int | None:
    known = np.flatnonzero(~np.isnan(values)).tolist()
    return min(known, key=lambda i: (-values[i], records[i].run, records[i].step), default=None)


def _fields(record: Record) -> dict[str, str]:
    # As text, because values may be lists, and tuples in place of them.
    kept = (name for name in record.config if name != "seed" and not name.startswith(FREE))
    return {name: json.dumps(record.config[name], sort_keys=True) for name in kept}


def _differences(pairs: Iterable[tuple[str, str]]) -> str:
    """Values of pairs (run, value) with runs, that of most runs first; "" where all are equal."""
    runs_by_value: dict[str, set[str]] = {}
    for run, value in pairs:
        runs_by_value.setdefault(value, set()).add(run)
    if len(runs_by_value) < 2:
        return ""
    parts = []
    for value, runs in sorted(runs_by_value.items(), key=lambda item: (-len(item[1]), item[0])):
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        parts.append(f"{value or 'not given'} ({', '.join(sorted(runs)[:3])}{more})")
    return "; ".join(parts)
