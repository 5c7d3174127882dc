"""Which of many runs is best: what each label-free metric picks, and what that costs against a
choice with labels.
"""

import difflib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from metrics.label_free import METRICS, entries
from sslx.evaluation.correlation import Correlation, intervals
from sslx.evaluation.records import Record
from sslx.evaluation.tables import Cell, Table, markdown, spread
from sslx.training.run_folder import FREE

RANKS = ("lidar", "debiased_lidar", "rankme", "augmented_rankme", "effective_rank")
HIGHER = (*RANKS, "nesum", "stable_rank", "participation_ratio")
LOWER = ("idest", "uniformity", "alignment", "self_clustering", "mean_cosine")
PICKS = (
    *HIGHER,
    "alpha_req",
    "clid",
    *LOWER,
)  # metrics that pick; of the others no direction is known to be good


class Choice(NamedTuple):
    """What a metric picks, and what is lost by it; nan and no oracle without labels."""

    metric: str  # with its layer, such as lidar/representation
    pick: Record
    accuracy: float
    oracle: Record | None  # the pick of the labels
    regret: float  # accuracy of the oracle - accuracy


def candidates(records: Iterable[Record]) -> list[str]:
    """The metrics, with their layers, that can pick among the records, some of which may lack them."""
    found = {column for record in records for column in record.values}
    found |= {f"clid/{column.rsplit('/', 1)[1]}" for column in found if column.startswith("clid/")}
    pairs = [
        column.split("/")
        for column in found
        if column.partition("/")[0] in PICKS and column.count("/") == 1
    ]
    pairs.sort(key=lambda pair: (PICKS.index(pair[0]), pair[1] != "representation", pair[1]))
    return ["/".join(pair) for pair in pairs]


def check_metric(select: str, measured: Iterable[str]) -> None:
    """Raise ValueError unless `select`, such as lidar or rankme/embedding, can pick and its metric
    is measured.
    """
    name, measured = select.partition("/")[0], list(measured)
    here = ", ".join(metric for metric in PICKS if metric in measured) or "none that picks"
    if name not in METRICS:
        near = difflib.get_close_matches(name, PICKS, n=1)
        hint = f" Did you mean --select={near[0]}?" if near else ""
        raise ValueError(
            f"--select={select}: there is no metric {name}; measured here: {here}.{hint}"
        )
    if name not in PICKS:
        raise ValueError(
            f"--select={select}: {name} says nothing of which run is better. Choose of {here}."
        )
    if name not in measured:
        advice = f"Measure it: --metrics={','.join([*measured, name])}"
        raise ValueError(f"--select={select}: {name} was not measured; here: {here}. {advice}")


def check_comparable(records: Sequence[Record]) -> None:
    """Raise ValueError unless there are records, of runs on the same images, judged at equal
    settings.
    """
    if not records:
        raise ValueError(
            "There is no judged checkpoint to choose from. Judge runs first: python eval.py "
            "--run=RUN"
        )
    for split in ("train", "probe", "test"):
        found = _group(
            records,
            lambda record: (
                record.data.get(split) or (split == "probe" and record.data.get("train"))
            ),
        )
        if len(found) > 1:
            raise ValueError(
                f"Selection across data sets means nothing, but the {split} images differ: "
                f"{_list(found)}. "
                "Name runs of one data set in --runs."
            )
    # Those two say what was measured, not how.
    for name in sorted(
        {name for record in records for name in record.settings} - {"metrics", "probes"}
    ):
        found = _group(records, lambda record: json.dumps(record.settings.get(name)))
        if len(found) > 1:
            advice = f"Judge them again with the same flags, such as --{name}={next(iter(found))}"
            raise ValueError(
                f"Only numbers of equal settings compare, but {name} differs: {_list(found)}. "
                f"{advice}"
            )


def scores(records: Sequence[Record], metric: str) -> np.ndarray:
    """Values [n] of a metric such as lidar or idest/embedding, turned so that higher is better; nan
    where undefined.

    alpha_req counts as -|alpha - 1|, our reading of "near 1 is good". clid is learnability and
    dimension, each standardised over the records, and added. Raises ValueError for a metric that
    cannot pick."""
    name, _, layer = _with_layer(metric).partition("/")
    if name not in PICKS:
        raise ValueError(f"{name} is no metric that picks; there are {', '.join(PICKS)}.")
    if name == "clid":
        return np.sum(
            [_standardise(_values(records, f"{entry}/{layer}")) for entry in entries(name)], axis=0
        )
    values = _values(records, f"{name}/{layer}")
    return -np.abs(values - 1) if name == "alpha_req" else values if name in HIGHER else -values


def choose(records: Sequence[Record], metric: str, target: str = "linear") -> Choice:
    """The record with the highest score; of equal ones the first by name of the run and step.

    Raises ValueError when the score is undefined for all records.
    """
    metric = _with_layer(metric)
    accuracies = _values(records, target)
    pick, oracle = _best(records, scores(records, metric)), _best(records, accuracies)
    if pick is None:
        others = (name for name in candidates(records) if np.isfinite(scores(records, name)).any())
        raise ValueError(
            f"{metric} has no value for any of {len(records)} checkpoints, so it picks none. "
            f"Choose of {', '.join(others) or 'other runs'}."
        )
    accuracy = float(accuracies[pick])
    if oracle is None:
        return Choice(metric, records[pick], math.nan, None, math.nan)
    return Choice(
        metric, records[pick], accuracy, records[oracle], float(accuracies[oracle]) - accuracy
    )


def choices_by_seed(records: Sequence[Record], metric: str, target: str = "linear") -> list[Choice]:
    """For each seed in the configs the choice among its runs; without seeds for which the score is
    undefined.
    """
    seeds: dict[int, list[Record]] = {}
    for record in records:
        seeds.setdefault(_seed(record), []).append(record)
    defined = (
        found for _, found in sorted(seeds.items()) if np.isfinite(scores(found, metric)).any()
    )
    return [choose(found, metric, target) for found in defined]


def correlate(
    records: Sequence[Record], metric: str, target: str = "linear"
) -> tuple[Correlation, Correlation]:
    """Spearman's rho and Kendall's tau-b of scores and accuracies, with intervals over
    configurations and seeds.
    """
    labels = [configuration(record) for record in records]
    return intervals(scores(records, metric), _values(records, target), labels)


def configuration(record: Record) -> str:
    """What a run is, apart from its seed, as text: runs for which it is equal are seeds of one
    configuration.
    """
    return json.dumps(_fields(record), sort_keys=True)


def swept(records: Sequence[Record], least: int = 3) -> dict[str, list[Record]]:
    """Under "all" every record, and for each field of the config that was swept the records along
    that axis.

    They differ in that field alone from a centre, which has of every field the most frequent value
    over configurations (seeds counted once). An axis has `least` configurations or more; its name
    is the last part of the field, or all of it where two axes would be called the same."""
    labels = [configuration(record) for record in records]
    configs = {label: _fields(record) for label, record in zip(labels, records, strict=True)}
    names = sorted({name for fields in configs.values() for name in fields})
    centre = {
        name: _most_frequent(fields.get(name, "") for fields in configs.values()) for name in names
    }
    away = {
        label: {name for name in names if fields.get(name, "") != centre[name]}
        for label, fields in configs.items()
    }
    axes = [name for name in names if sum(changed <= {name} for changed in away.values()) >= least]
    short = {name: name.rsplit(".", 1)[-1] for name in axes}
    times = Counter(["all", *short.values()])
    found = {"all": list(records)}
    for name in axes:
        along = [
            record for label, record in zip(labels, records, strict=True) if away[label] <= {name}
        ]
        found[short[name] if times[short[name]] == 1 else name] = along
    return found


def explain(records: Iterable[Record], select: str, target: str = "linear") -> str:
    """What `select` picks among trained checkpoints, and a Markdown table of what every metric
    picks, as text.

    Raises ValueError where records do not compare, and when `select` cannot pick among them.
    """
    records = sorted(
        (r for r in records if r.step > 0), key=lambda record: (record.run, record.step)
    )
    check_comparable(records)
    columns, measured = (
        candidates(records),
        {name.partition("/")[0] for record in records for name in record.values},
    )
    check_metric(select, [name for name in METRICS if name in measured])
    choice, axes = choose(records, select, target), swept(records)
    has_labels, has_seeds = (
        choice.oracle is not None,
        len({_seed(record) for record in records}) > 1,
    )
    header = [
        "metric",
        "pick",
        "step",
        f"{target} %",
        "regret",
        *(["regret by seed"] if has_seeds else []),
    ]
    if has_labels:
        header += [f"{name}, {axis}" for axis in axes for name in ("Spearman", "tau-b")]
    rows = []
    for column in columns:
        row = _row(records, column, target, has_labels, has_seeds)
        if has_labels:
            row += [
                Cell(_interval(found))
                for part in axes.values()
                for found in correlate(part, column, target)
            ]
        rows.append(tuple(row))
    notes = _notes(records, columns, axes, target)
    table = Table("selection", "What each metric picks", tuple(header), tuple(rows), tuple(notes))
    return f"{_sentence(records, choice, target)}\n\n{markdown(table)}"


def _row(
    records: list[Record], column: str, target: str, has_labels: bool, has_seeds: bool
) -> list[Cell]:
    if np.isnan(scores(records, column)).all():
        return [Cell(column), Cell("undefined"), *[Cell("n/a")] * (3 + has_seeds)]
    choice = choose(records, column, target)
    cells = [Cell(column), Cell(choice.pick.run, (choice.pick.run,)), Cell(str(choice.pick.step))]
    if not has_labels:
        return [*cells, *[Cell("no labels")] * (2 + has_seeds)]
    cells += [
        Cell("n/a" if math.isnan(value) else f"{100 * value:.1f}")
        for value in (choice.accuracy, choice.regret)
    ]
    regrets = [found.regret for found in choices_by_seed(records, column, target)]
    return [*cells, Cell(spread(regrets, scale=100))] if has_seeds else cells


def _sentence(records: Sequence[Record], choice: Choice, target: str) -> str:
    metric, pick, oracle = choice.metric, choice.pick, choice.oracle
    value = pick.values.get(
        metric, scores(records, metric)[records.index(pick)]
    )  # clid's is a score of the pool
    said = f"{metric} picks {pick.run}, step {pick.step}, where it is {value:.4g}."
    if oracle is None:
        return f"{said} Without labels its accuracy and regret are not known."
    best = f"the oracle, {oracle.run}, step {oracle.step}, has {100 * oracle.values[target]:.1f} %"
    if math.isnan(choice.accuracy):
        return f"{said} It has no {target} accuracy; {best}."
    said = f"{said} Its {target} accuracy is {100 * choice.accuracy:.1f} %; {best}"
    return f"{said}: a regret of {100 * choice.regret:.1f} points."


def _notes(
    records: Sequence[Record], columns: list[str], axes: dict[str, list[Record]], target: str
) -> list[str]:
    notes = [f"{_count(records)}; untrained checkpoints (step 0) take no part."]
    methods = sorted({str(record.config.get("method.name", record.row)) for record in records})
    if len(methods) > 1:
        advice = "views, and so LiDAR, differ between methods. Compare within one method."
        notes.append(f"Methods are mixed ({', '.join(methods)}): {advice}")
    known = np.isfinite(_values(records, target))
    if known.any():
        notes += [f"{axis}: {_count(part)}." for axis, part in axes.items() if axis != "all"]
        notes.append(
            "In brackets: 95 % intervals of a percentile bootstrap over configurations and, within "
            "them, seeds; "
            "they need 3 configurations."
        )
    else:
        notes.append(
            f"No labels, or judged without --probe={target}: the picks need none, their accuracy "
            "does."
        )
    signs = {
        "alpha_req": "by -|alpha - 1|",
        "clid": "learnability and dimension, standardised over the table and added",
    }
    signs |= dict.fromkeys(LOWER, "the lowest picks")
    names = dict.fromkeys(column.partition("/")[0] for column in columns)
    notes += [f"{name}: {signs[name]}." for name in names if name in signs]
    missing = {column: int(np.isnan(scores(records, column)).sum()) for column in columns}
    if known.any():
        missing[target] = int((~known).sum())
    return notes + [
        f"{column} is undefined or missing for {count} of {len(records)} checkpoints."
        for column, count in missing.items()
        if count
    ]


def _count(records: Sequence[Record]) -> str:
    runs, configs, seeds = (
        len({key(r) for r in records}) for key in (lambda r: r.run, configuration, _seed)
    )
    return f"runs: {runs}, configurations: {configs}, checkpoints: {len(records)}, seeds: {seeds}"


def _interval(found: Correlation) -> str:
    if math.isnan(found.value):
        return "n/a (needs 3 runs)" if found.count < 3 else "n/a (constant)"
    limits = "" if math.isnan(found.low) else f" [{found.low:+z.2f}, {found.high:+z.2f}]"
    return f"{found.value:+z.2f}{limits}"


def _seed(record: Record) -> int:
    return record.config.get("seed", 0)


def _with_layer(metric: str) -> str:
    return metric if "/" in metric else f"{metric}/representation"


def _values(records: Sequence[Record], column: str) -> np.ndarray:
    values = np.array([record.values.get(column, math.nan) for record in records], np.float64)
    return np.where(np.isfinite(values), values, math.nan)


def _standardise(values: np.ndarray) -> np.ndarray:
    known = np.sort(
        values[~np.isnan(values)]
    )  # sorted, so that sums do not depend on the order of records
    return (values - known.mean()) / (known.std() or 1) if len(known) else values


def _best(records: Sequence[Record], values: np.ndarray) -> int | None:
    known = np.flatnonzero(~np.isnan(values))
    return min(
        known.tolist(), key=lambda i: (-values[i], records[i].run, records[i].step), default=None
    )


def _fields(record: Record) -> dict[str, str]:
    # As text, because values may be lists, and tuples in place of them.
    kept = (name for name in record.config if name != "seed" and not name.startswith(FREE))
    return {name: json.dumps(record.config[name], sort_keys=True) for name in kept}


def _most_frequent(values: Iterable[str]) -> str:
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _group(records: Iterable[Record], key: Callable[[Record], object]) -> dict[str, list[str]]:
    """Names of runs by what `key` says of them, the most frequent first; without those of which it
    says nothing.
    """
    found: dict[str, set[str]] = {}
    for record in records:
        if value := key(record):
            found.setdefault(str(value), set()).add(record.run)
    return {
        value: sorted(runs)
        for value, runs in sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    }


def _list(found: dict[str, list[str]]) -> str:
    shown = (
        ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
        for runs in found.values()
    )
    return "; ".join(f"{value} ({runs})" for value, runs in zip(found, shown, strict=True))
