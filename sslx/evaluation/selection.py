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
from sslx.training.run_folder import FREE

PICKING = [name for name, metric in METRICS.items() if metric.better]
TARGET = "linear"  # the accuracy that a choice is measured by


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
    pairs = [(name, layer) for name, layer in measured if name in PICKING]
    pairs.sort(key=lambda pair: (PICKING.index(pair[0]), pair[1] != "representation", pair[1]))
    return ["/".join(pair) for pair in pairs]


def check_metric(select: str, measured: Iterable[str]) -> None:
    """Raise ValueError unless `select` can pick and its metric is measured.

    `select` is a metric such as lidar or rankme/embedding, `measured` are metrics without layers.
    """
    name, measured = select.partition("/")[0], list(measured)
    here = ", ".join(metric for metric in PICKING if metric in measured) or "none that picks"
    if name not in METRICS:
        raise ValueError(
            f"--select={select}: there is no metric {name}; measured here: {here}."
            f"{did_you_mean(name, PICKING)}"
        )
    if name not in PICKING:
        raise ValueError(
            f"--select={select}: {name} does not tell which run is better. Choose from {here}."
        )
    if name not in measured:
        advice = f"Measure it: --metrics={','.join([*measured, name])}"
        raise ValueError(f"--select={select}: {name} was not measured; here: {here}. {advice}")


def check_comparable(records: Sequence[Record]) -> None:
    """Raise ValueError unless there are records, on the same images and at equal settings."""
    if not records:
        raise ValueError(
            "There is no evaluated checkpoint to choose from. Evaluate runs first: "
            "python eval.py --run=RUN"
        )
    for split in ("train", "probe", "test"):
        images = [(record.run, _images(record, split)) for record in records]
        runs_by_images = _runs_by_value((run, name) for run, name in images if name)
        if len(runs_by_images) > 1:
            raise ValueError(
                f"Selection across data sets means nothing, but the {split} images differ: "
                f"{_list(runs_by_images)}. Name runs of one data set in --runs."
            )
    for field in Settings._fields:
        if field in ("metrics", "probes"):  # what was measured, not how
            continue
        values = [(record.run, str(getattr(record.settings, field))) for record in records]
        runs_by_setting = _runs_by_value(values)
        if len(runs_by_setting) > 1:
            advice = f"--{field}={next(iter(runs_by_setting))}"
            raise ValueError(
                f"Only numbers of equal settings compare, but {field} differs: "
                f"{_list(runs_by_setting)}. Evaluate them again with the same flags, such as "
                f"{advice}"
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
    """Return for each seed in the configs the choice among its runs.

    Seeds for which the score is undefined are left out.
    """
    records_by_seed: dict[int, list[Record]] = {}
    for record in records:
        records_by_seed.setdefault(_seed(record), []).append(record)
    choices = []
    for _, of_seed in sorted(records_by_seed.items()):
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
    labels = [configuration(record) for record in records]
    configs = {label: _fields(record) for label, record in zip(labels, records, strict=True)}
    names = sorted({name for fields in configs.values() for name in fields})
    centre = {
        name: _most_frequent(fields.get(name, "") for fields in configs.values()) for name in names
    }
    changed = {
        label: {name for name in names if fields.get(name, "") != centre[name]}
        for label, fields in configs.items()
    }
    axes = [name for name in names if sum(c <= {name} for c in changed.values()) >= least]
    short = {name: name.rsplit(".", 1)[-1] for name in axes}
    uses = Counter(["all", *short.values()])
    records_by_axis = {"all": list(records)}
    for name in axes:
        axis = short[name] if uses[short[name]] == 1 else name
        records_by_axis[axis] = [
            record
            for label, record in zip(labels, records, strict=True)
            if changed[label] <= {name}
        ]
    return records_by_axis


def explain(records: Iterable[Record], select: str) -> str:
    """Return what `select` picks among trained checkpoints, and a table of what all metrics pick.

    Raises ValueError where records do not compare, and when `select` cannot pick among them.
    """
    trained = [record for record in records if record.step > 0]
    trained.sort(key=lambda record: (record.run, record.step))
    check_comparable(trained)
    measured = {name.partition("/")[0] for record in trained for name in record.values}
    check_metric(select, [name for name in METRICS if name in measured])
    choice, axes, columns = choose(trained, select), swept(trained), candidates(trained)
    header = ["metric", "pick", "step", heading(TARGET), "regret"]
    by_seed = len({_seed(record) for record in trained}) > 1
    if by_seed:
        header.append("regret by seed")
    rows = [_row(trained, column, by_seed) for column in columns]
    if choice.oracle:
        header += [f"{name}, {axis}" for axis in axes for name in ("Spearman", "tau-b")]
        for row, column in zip(rows, columns, strict=True):
            for part in axes.values():
                row += [Cell(correlation.text()) for correlation in correlate(part, column)]
    notes = tuple(_notes(trained, columns, axes))
    cells = tuple(tuple(row) for row in rows)
    table = Table("selection", "What each metric picks", tuple(header), cells, notes)
    return f"{_sentence(trained, choice)}\n\n{markdown(table)}"


def _row(records: list[Record], column: str, by_seed: bool) -> list[Cell]:
    """A metric's pick, its step, accuracy and regret, and the regret by seed."""
    if np.isnan(scores(records, column)).all():
        return [Cell(column), Cell("undefined")] + [Cell("n/a")] * (4 if by_seed else 3)
    choice = choose(records, column)
    cells = [Cell(column), Cell(choice.pick.run, (choice.pick.run,)), Cell(str(choice.pick.step))]
    if choice.oracle is None:
        return cells + [Cell("no labels")] * (3 if by_seed else 2)
    for value in (choice.accuracy, choice.regret):
        cells.append(Cell("n/a" if math.isnan(value) else number(TARGET, value)))
    if by_seed:
        regrets = [of_seed.regret for of_seed in choices_by_seed(records, column)]
        cells.append(Cell(spread(regrets, scale=100)))
    return cells


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
    has_target = np.isfinite(_values(records, TARGET))
    missing = {column: int(np.isnan(scores(records, column)).sum()) for column in columns}
    if has_target.any():
        missing[TARGET] = int((~has_target).sum())
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
    for name in dict.fromkeys(column.partition("/")[0] for column in columns):
        if name == "alpha_req":
            notes.append("alpha_req: by -|alpha - 1|.")
        elif name == "clid":
            notes.append("clid: learnability and dimension, standardised over the table and added.")
        elif METRICS[name].better == "lower":
            notes.append(f"{name}: the lowest picks.")
    for column, count in missing.items():
        if count:
            notes.append(
                f"{column} is undefined or missing for {count} of {len(records)} checkpoints."
            )
    return notes


def _count(records: Sequence[Record]) -> str:
    runs = len({record.run for record in records})
    configs = len({configuration(record) for record in records})
    seeds = len({_seed(record) for record in records})
    return f"runs: {runs}, configurations: {configs}, checkpoints: {len(records)}, seeds: {seeds}"


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


def _most_frequent(values: Iterable[str]) -> str:
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _images(record: Record, split: str) -> str:
    """Name and hash of a split's images; the probes learn from the training images by default."""
    default = record.data.get("train", "") if split == "probe" else ""
    return record.data.get(split, default)


def _runs_by_value(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names of runs by value of pairs (run, value), the value of most runs first."""
    runs: dict[str, set[str]] = {}
    for run, value in pairs:
        runs.setdefault(value, set()).add(run)
    ordered = sorted(runs, key=lambda value: (-len(runs[value]), value))
    return {value: sorted(runs[value]) for value in ordered}


def _list(runs_by_value: dict[str, list[str]]) -> str:
    parts = []
    for value, runs in runs_by_value.items():
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        parts.append(f"{value or 'not given'} ({', '.join(runs[:3])}{more})")
    return "; ".join(parts)
