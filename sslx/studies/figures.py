"""The figures of a study; colours stay apart for the colour-blind (Okabe and Ito)."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, product
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from metrics import METRICS
from sslx.evaluation.correlation import rank_correlations
from sslx.evaluation.results import Record
from sslx.evaluation.selection import configuration, scores, swept
from sslx.evaluation.settings import PROBES
from sslx.evaluation.tables import heading
from sslx.studies.evidence import Evidence, group
from sslx.studies.study import Study
from sslx.studies.tables import regrets

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#6A51A3")
DASHES = ("-", "--", "-.", ":")  # of rows beyond the colours
MARKERS = "o^sDvP<X>*"
PROBE = "#333333"
# The lightest part of the colour map is lost on white.
ACCURACIES = ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1, 256)))
SPECTRA = 12  # lines in a panel
SHOWN = tuple(
    f"{metric}/{layer}"
    for layer in ("representation", "embedding")
    for metric in ("lidar", "debiased_lidar", "rankme")
)
RANKS = ("lidar/representation", "rankme/representation")
STYLE = Path(__file__).with_suffix(".mplstyle")

by_row = attrgetter("row")


@rc_context(fname=STYLE)
def metric_against_probe(study: Study, evidence: Evidence, metrics: Sequence[str] = ()) -> Figure:
    """Draw probe accuracy against each metric (columns) for each method (rows).

    A point is a finished run: its colour is the field it differs in from the centre of the sweep,
    its marker the seed. The rank correlation is that of the metric's scores: higher is better.
    """
    final, target = evidence.final(study.evaluations[0]), study.target
    metrics = metrics or [name for name in SHOWN if any(name in r.values for r in final)]
    methods = group(final, by_row)
    figure, panels = _panels(len(methods), len(metrics))
    for (method, runs), line in zip(methods.items(), panels, strict=False):
        fields = np.array(_fields(runs))
        seeds = np.array([record.config.get("seed", 0) for record in runs])
        colours = _field_colours(set(fields.tolist()))
        marks = dict(zip(np.unique(seeds).tolist(), cycle(MARKERS), strict=False))
        y = 100 * _values(runs, target)
        for metric, axes in zip(metrics, line, strict=True):
            x, score = _values(runs, metric), scores(runs, metric)
            if not np.isfinite(x).any():
                x = score  # CLID has no value besides its score
            known = np.isfinite(x) & np.isfinite(y)
            for (field, colour), (seed, mark) in product(colours.items(), marks.items()):
                here = known & (fields == field) & (seeds == seed)
                style = {"color": colour, "marker": mark, "linewidths": 0, "alpha": 0.85}
                axes.scatter(x[here], y[here], s=22, **style)
            axes.set_title(_correlation(score[known], y[known], known.size))
            axes.set_xlabel(_label(metric))
            if not known.any():
                _write(axes, "not measured" if np.isfinite(y).any() else "no labels")
        line[0].set_ylabel(f"{method}\n{_accuracy(target)}")
        shown = {} if set(colours) == {"other"} else colours
        points = [_point(field, colour, "o") for field, colour in shown.items()]
        points += [_point(f"seed {seed}", "gray", mark) for seed, mark in marks.items()]
        _legend(line[-1], points)
    return figure


@rc_context(fname=STYLE)
def over_training(study: Study, evidence: Evidence, metrics: Sequence[str] = RANKS) -> Figure:
    """Draw each metric (left axis) and the probe (right axis) against the step.

    A row of panels is a method. Thin lines are runs; the thick ones are their mean at the steps at
    which all of them were evaluated.
    """
    target = study.target
    methods = group(evidence.of(study.evaluations[0]), by_row)
    styles = _row_styles(methods)
    figure, panels = _panels(len(methods), len(metrics), width=3.4)
    for (method, members), line in zip(methods.items(), panels, strict=False):
        colour = styles[method]["color"]
        for metric, axes in zip(metrics, line, strict=True):
            axes.set(title=f"{method}: {heading(metric)}", xlabel="step (0: untrained)")
            axes.set_ylabel(_label(metric), color=colour)
            if not _draw(axes, members, metric, color=colour):
                _write(axes, "not measured")
            right = axes.twinx()
            right.grid(visible=False)
            right.spines.right.set_visible(True)
            right.set_ylabel(f"{_accuracy(target)} (dashed)", color=PROBE)
            if not _draw(right, members, target, color=PROBE, ls="--"):
                right.set(yticks=[], ylabel="no labels")
    return figure


@rc_context(fname=STYLE)
def spectra(study: Study, evidence: Evidence) -> Figure:
    """Draw singular values of the representation [d] over their sum against rank, by method.

    A line is the mean over the seeds of a configuration, coloured by the probe, grey where that is
    undefined. Of more than 12 configurations the best one, the worst one and evenly spaced ones
    between are drawn.
    """
    final, target = evidence.final(study.evaluations[0]), study.target
    methods = group((record for record in final if record.spectrum), by_row)
    figure, panels = _panels(1, len(methods), width=3.6)
    for (method, runs), axes in zip(methods.items(), panels[0], strict=False):
        lines = [_mean_spectrum(seeds, target) for seeds in group(runs, configuration).values()]
        lines.sort(key=lambda line: (np.nan_to_num(line[0], nan=-1.0), -line[1][0]))
        labelled = [accuracy for accuracy, _ in lines if math.isfinite(accuracy)]
        limits = Normalize(min(labelled, default=0), max(labelled, default=1))
        scale = ScalarMappable(limits, ACCURACIES)
        shown = np.linspace(0, len(lines) - 1, min(SPECTRA, len(lines))).round().astype(int)
        for accuracy, spectrum in (lines[i] for i in shown):
            colour = scale.to_rgba(np.array(accuracy)) if math.isfinite(accuracy) else "gray"
            axes.semilogy(np.arange(1, len(spectrum) + 1), spectrum, color=colour, lw=1.2)
        count = f"{len(shown)} of {len(lines)}" if len(shown) < len(lines) else f"{len(lines)}"
        axes.set(title=f"{method}, configurations: {count}", xlabel="rank")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 1e-6), max(high, 1e-5))
        if labelled:
            figure.colorbar(scale, ax=axes, label=_accuracy(target))
        else:
            axes.text(0.97, 0.95, "no labels", ha="right", va="top", transform=axes.transAxes)
    panels[0, 0].set_ylabel("singular value / sum")
    return figure


@rc_context(fname=STYLE)
def regret(study: Study, evidence: Evidence) -> Figure:
    """Draw the accuracy that the picks of each metric lose along each axis, of the first method.

    A bar is the mean over seeds, a point a seed; above it is how many are defined, if not all.
    """
    table = regrets(evidence.final(study.evaluations[0]), study.target)
    places = list(dict.fromkeys(axis for by_axis in table.values() for axis in by_axis))
    breadth = 2.2 + 0.3 * len(places) * (len(table) + 1)
    figure, panels = _panels(1, min(1, len(places)), width=breadth, height=3.2)
    axes, width = panels[0, 0], 0.8 / max(1, len(table))
    colours = dict(zip(table, cycle(COLOURS), strict=False))
    drawn = [0.0, 0.4]
    for (i, (metric, by_axis)), (j, axis) in product(enumerate(table.items()), enumerate(places)):
        x = j + (i - (len(table) - 1) / 2) * width
        values = np.asarray(by_axis.get(axis, []), float)
        known = values[np.isfinite(values)]
        drawn += known.tolist()
        colour = colours[metric]
        axes.bar(x, known.mean() if known.size else 0, 0.92 * width, color=colour, alpha=0.55)
        reach = 0.2 * width if known.size > 1 else 0.0
        aside = np.linspace(-reach, reach, known.size)
        style = {"edgecolors": "black", "linewidths": 0.5, "zorder": 3, "clip_on": False}
        axes.scatter(x + aside, known, s=14, color=colour, **style)
        if known.size < max(1, values.size):
            text = f"{known.size} of {values.size}" if known.size else "missing"
            style = {"textcoords": "offset points", "rotation": 90, "ha": "center", "fontsize": 8}
            axes.annotate(text, (x, known.max(initial=0)), (0, 5), **style)
    axes.set_ylim(1.25 * min(drawn), 1.25 * max(drawn))
    names = [axis.rpartition(".")[2].replace("_", "\n") for axis in places]
    axes.set_xticks(range(len(places)), names)
    axes.set(ylabel="regret: best - picked accuracy, %", xlabel="swept field")
    axes.grid(visible=False, axis="x")
    _legend(axes, [Patch(color=colours[metric], label=heading(metric)) for metric in table])
    return figure


@rc_context(fname=STYLE)
def accuracy_over_epochs(study: Study, evidence: Evidence) -> Figure:
    """Draw accuracy in % against epochs: a panel per data set, a line per method.

    Line and band (one standard deviation) are over the runs of the method, at the epochs at which
    all of them were evaluated.
    """
    records, target = evidence.of(study.evaluations[0]), study.target
    styles = _row_styles(group(records, by_row))
    sets = group(records, lambda record: record.data["train"])
    names = [data.partition(" ")[0] for data in sets]
    figure, panels = _panels(1, len(sets), width=3.6, height=3.0)
    for (data, members), axes in zip(sets.items(), panels[0], strict=False):
        drawn = 0
        for method, runs in group(members, by_row).items():
            drawn += _draw(axes, runs, target, evidence.epochs, band=True, **styles[method])
        if not drawn:
            _write(axes, "no labels")
        # Of one name there can be two data sets, such as a subset and the whole.
        name, _, key = data.partition(" ")
        which = f" ({key[:6]})" if names.count(name) > 1 else ""
        axes.set(title=name.removesuffix("/train") + which, xlabel="epochs")
    panels[0, 0].set_ylabel(_accuracy(target))
    lines = [Line2D([], [], lw=2, label=method, **style) for method, style in styles.items()]
    _legend(panels[0, -1], lines, title="mean +- std of runs")
    return figure


@rc_context(fname=STYLE)
def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg, equal for equal figures, and clear it; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    figure.savefig(png, dpi=110)
    figure.savefig(svg, metadata={"Date": None})
    figure.clear()
    return [png, svg]


def _panels(
    rows: int, columns: int, width: float = 2.9, height: float = 2.7
) -> tuple[Figure, np.ndarray]:
    size = (width * max(1, columns) + 1.2, height * max(1, rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(max(1, rows), max(1, columns), squeeze=False)
    if not rows or not columns:
        _write(panels[0, 0], "nothing was evaluated")
    return figure, panels


def _draw(
    axes: Axes,
    records: Iterable[Record],
    column: str,
    place: Callable[[Record], float] = attrgetter("step"),
    band: bool = False,
    **style: Any,
) -> int:
    """Draw runs with a finite value as thin lines, their mean as a thick one; return how many."""
    scale = 100 if column in PROBES else 1
    curves = []
    for run in group(sorted(records, key=attrgetter("step")), attrgetter("run")).values():
        curve = {place(record): scale * record.values.get(column, math.nan) for record in run}
        if any(map(math.isfinite, curve.values())):
            curves.append(curve)
    places = sorted(set(curves[0]).intersection(*curves)) if curves else []
    for curve in curves:
        # A band stands for its runs, but not beyond its end.
        if not band or len(curve) > len(places):
            axes.plot(list(curve), list(curve.values()), lw=0.7, alpha=0.4, **style)
    if places:
        values = np.array([[curve[place] for place in places] for curve in curves])
        mean = values.mean(axis=0)
        axes.plot(places, mean, lw=1.8, marker="o" if len(places) <= 12 else "", ms=3, **style)
        if band and len(curves) > 1:
            std = values.std(axis=0, ddof=1)
            area = {"color": style["color"], "alpha": 0.15, "lw": 0}
            axes.fill_between(places, mean - std, mean + std, **area)
    return len(curves)


def _row_styles(rows: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash of each row, the same in all figures of the same rows."""
    styles = [{"color": colour, "ls": dash} for dash, colour in product(DASHES, COLOURS)]
    return dict(zip(sorted(rows), cycle(styles), strict=False))


def _fields(runs: list[Record]) -> list[str]:
    """For each run the field that it differs in from the centre of its sweep."""
    axes = swept(runs)
    del axes["all"]
    fields: dict[str, str] = {}
    for field, members in axes.items():
        for record in members:  # the centre is the one point that the axes share
            fields[record.run] = "centre" if record.run in fields else field
    return [fields.get(record.run, "other") for record in runs]


def _field_colours(fields: set[str]) -> dict[str, str]:
    greys = {"centre": "black", "other": "gray"}
    colours = dict(zip(sorted(fields - greys.keys()), cycle(COLOURS), strict=False))
    return colours | {name: grey for name, grey in greys.items() if name in fields}


def _values(records: list[Record], column: str) -> np.ndarray:
    return np.array([record.values.get(column, math.nan) for record in records])


def _mean_spectrum(records: list[Record], target: str) -> tuple[float, np.ndarray]:
    length = min(len(record.spectrum) for record in records)
    # A collapsed encoder has a sum of 0, which is not flat: its spectrum falls below the panel.
    shares = [np.divide(r.spectrum[:length], max(sum(r.spectrum), 1e-12)) for r in records]
    return float(_values(records, target).mean()) * 100, np.maximum(np.mean(shares, axis=0), 1e-12)


def _label(metric: str) -> str:
    better = METRICS[metric.partition("/")[0]].better
    return f"{heading(metric)}\n({better} is better)" if better else heading(metric)


def _accuracy(target: str) -> str:
    return f"{heading(target).removesuffix(' %')} accuracy, %"


def _correlation(x: np.ndarray, y: np.ndarray, total: int) -> str:
    rho, _ = rank_correlations(x, y)
    text = f"{rho:+.2f}" if math.isfinite(rho) else "undefined"
    count = f"{total}" if x.size == total else f"{x.size} of {total}"
    return f"Spearman rho {text}, {count} {'run' if count == '1' else 'runs'}"


def _write(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _point(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, ls="", label=label)


def _legend(axes: Axes, entries: Sequence[Artist], title: str = "") -> None:
    """A legend to the right of the panel, where it covers nothing."""
    if entries:
        axes.legend(handles=entries, title=title, loc="upper left", bbox_to_anchor=(1.03, 1.0))
