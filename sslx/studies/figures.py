"""The figures of a study; colours stay apart for the colour-blind (Okabe and Ito)."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import product
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
from sslx.evaluation.correlation import spearman
from sslx.evaluation.results import Record
from sslx.evaluation.selection import candidates, configuration, scores, swept
from sslx.evaluation.tables import heading
from sslx.studies.evidence import group

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#6A51A3")
DASHES = ("-", "--", "-.", ":")  # of rows beyond the colours
MARKERS = "o^sDvP<X>*"
PROBE = "#333333"
# The lightest part of the colour map is lost on white.
ACCURACIES = ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1, 256)))
SPECTRA = 12  # lines in a panel
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
}

Curve = dict[float, float]  # of one run: a value by its step or epoch


@rc_context(STYLE)
def metric_against_probe(
    records: Iterable[Record], metrics: Sequence[str], target: str = "linear"
) -> Figure:
    """Draw probe accuracy against each metric (columns) for each method (rows).

    A point is a finished run: its colour is the field it differs in from the centre of the sweep,
    its marker the seed. The rank correlation is that of the metric's scores: higher is better.
    """
    methods = group((record for record in records if record.last), attrgetter("row"))
    figure, panels = _panels(len(methods), len(metrics))
    for (method, runs), line in zip(methods.items(), panels, strict=False):
        fields = np.array(_fields(runs))
        seeds = np.array([record.config.get("seed", 0) for record in runs])
        colours = _field_colours(set(fields.tolist()))
        marks = {
            seed: MARKERS[i % len(MARKERS)] for i, seed in enumerate(np.unique(seeds).tolist())
        }
        for metric, axes in zip(metrics, line, strict=True):
            x, y = _values(runs, metric), 100 * _values(runs, target)
            score = scores(runs, metric) if metric in candidates(runs) else x
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
        shown = {field: colour for field, colour in colours.items() if set(colours) != {"other"}}
        entries = [
            Line2D([], [], color=colour, marker="o", ls="", label=label)
            for label, colour in shown.items()
        ]
        entries += [
            Line2D([], [], color="gray", marker=mark, ls="", label=f"seed {seed}")
            for seed, mark in marks.items()
        ]
        _legend(line[-1], entries)
    return figure


@rc_context(STYLE)
def over_training(
    records: Iterable[Record], metrics: Sequence[str], target: str = "linear"
) -> Figure:
    """Draw each metric (left axis) and the probe (right axis) against the step.

    A row of panels is a method. Thin lines are runs; the thick ones are their mean at the steps at
    which all of them were evaluated.
    """
    methods = group(records, attrgetter("row"))
    styles = _row_styles(methods)
    figure, panels = _panels(len(methods), len(metrics), width=3.4)
    for (method, members), line in zip(methods.items(), panels, strict=False):
        colour, _ = styles[method]
        accuracy = _curves(members, target, attrgetter("step"), 100)
        for metric, axes in zip(metrics, line, strict=True):
            axes.set(title=f"{method}: {heading(metric)}", xlabel="step (0: untrained)")
            axes.set_ylabel(_label(metric), color=colour)
            curves = _curves(members, metric, attrgetter("step"))
            if not curves:
                _write(axes, "not measured")
            _draw(axes, curves, color=colour)
            right = axes.twinx()
            right.grid(visible=False)
            right.spines.right.set_visible(True)
            _draw(right, accuracy, color=PROBE, ls="--")
            right.set_ylabel(f"{_accuracy(target)} (dashed)", color=PROBE)
            if not accuracy:
                right.set(yticks=[], ylabel="no labels")
    return figure


@rc_context(STYLE)
def spectra(records: Iterable[Record], target: str = "linear") -> Figure:
    """Draw singular values of the representation [d] over their sum against rank, by method.

    A line is the mean over the seeds of a configuration, coloured by the probe, grey where that is
    undefined. Of more than 12 configurations the best one, the worst one and evenly spaced ones
    between are drawn.
    """
    last = (record for record in records if record.last and record.spectrum)
    methods = group(last, attrgetter("row"))
    figure, panels = _panels(1, len(methods), width=3.6)
    for (method, runs), axes in zip(methods.items(), panels[0], strict=False):
        lines = [_mean_spectrum(seeds, target) for seeds in group(runs, configuration).values()]
        lines.sort(key=lambda line: (np.nan_to_num(line[0], nan=-1.0), -line[1][0]))
        shown = np.linspace(0, len(lines) - 1, min(SPECTRA, len(lines))).round().astype(int)
        labelled = [accuracy for accuracy, _ in lines if math.isfinite(accuracy)]
        limits = Normalize(min(labelled, default=0), max(labelled, default=1))
        scale = ScalarMappable(limits, ACCURACIES)
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


@rc_context(STYLE)
def regret(table: dict[str, dict[str, list[float]]]) -> Figure:
    """Draw the accuracy lost by each metric's pick: {metric: {axis: [regret per seed, in %]}}.

    A bar is the mean over seeds, a point a seed; undefined ones are left out and counted above the
    bar.
    """
    places = list(dict.fromkeys(axis for by_axis in table.values() for axis in by_axis))
    breadth = 2.2 + 0.3 * len(places) * (len(table) + 1)
    figure, panels = _panels(1, min(1, len(places)), width=breadth, height=3.2)
    axes, width = panels[0, 0], 0.8 / max(1, len(table))
    highest, lowest = 0.4, 0.0
    bars = []
    for i, (metric, by_axis) in enumerate(table.items()):
        colour = COLOURS[i % len(COLOURS)]
        bars.append(Patch(color=colour, label=heading(metric)))
        for j, axis in enumerate(places):
            x = j + (i - (len(table) - 1) / 2) * width
            values = np.asarray(by_axis.get(axis, []), float)
            known = values[np.isfinite(values)]
            mean = known.mean() if known.size else 0
            axes.bar(x, mean, 0.92 * width, color=colour, alpha=0.55)
            reach = 0.2 * width if known.size > 1 else 0.0
            aside = np.linspace(-reach, reach, known.size)
            style = {"edgecolors": "black", "linewidths": 0.5, "zorder": 3, "clip_on": False}
            axes.scatter(x + aside, known, s=14, color=colour, **style)
            if known.size < max(1, values.size):
                text = f"{known.size} of {values.size}" if known.size else "missing"
                top = (x, known.max(initial=0))
                style = {"textcoords": "offset points", "rotation": 90, "ha": "center"}
                axes.annotate(text, top, (0, 5), fontsize=8, **style)
            highest, lowest = known.max(initial=highest), known.min(initial=lowest)
    axes.set_ylim(1.25 * lowest, 1.25 * highest)
    names = [axis.rpartition(".")[2].replace("_", "\n") for axis in places]
    axes.set_xticks(range(len(places)), names)
    axes.set(ylabel="regret: best - picked accuracy, %", xlabel="swept field")
    axes.grid(visible=False, axis="x")
    _legend(axes, bars)
    return figure


@rc_context(STYLE)
def accuracy_over_epochs(
    records: Iterable[Record], target: str, epochs_of: Callable[[Record], float]
) -> Figure:
    """Draw accuracy in % against epochs: a panel per data set, a line per method.

    Line and band (one standard deviation) are over the runs of the method, at the epochs at which
    all of them were evaluated.
    """
    records = list(records)
    styles = _row_styles(group(records, attrgetter("row")))
    sets = group(records, lambda record: record.data["train"])
    figure, panels = _panels(1, len(sets), width=3.6, height=3.0)
    for (data, members), axes in zip(sets.items(), panels[0], strict=False):
        any_labels = False
        for method, runs in group(members, attrgetter("row")).items():
            colour, dash = styles[method]
            curves = _curves(runs, target, epochs_of, 100)
            any_labels |= bool(curves)
            _draw(axes, curves, band=True, color=colour, ls=dash)
        if not any_labels:
            _write(axes, "no labels")
        # Of one name there can be two data sets, such as a subset and the whole.
        name, _, key = data.partition(" ")
        alone = [other.partition(" ")[0] for other in sets].count(name) == 1
        title = name.removesuffix("/train") + ("" if alone else f" ({key[:6]})")
        axes.set(title=title, xlabel="epochs")
    panels[0, 0].set_ylabel(_accuracy(target))
    entries = [
        Line2D([], [], color=colour, ls=dash, lw=2, label=method)
        for method, (colour, dash) in styles.items()
    ]
    _legend(panels[0, -1], entries, title="mean +- std of runs")
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg and return their paths; the figure is cleared.

    Equal figures give equal bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with rc_context(STYLE | {"svg.hashsalt": "sslx"}):
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


def _draw(axes: Axes, curves: list[Curve], band: bool = False, **style: Any) -> None:
    """Draw runs as thin lines, their mean at common places as a thick one, and maybe a band."""
    places = sorted(set(curves[0]).intersection(*curves[1:])) if curves else []
    for curve in curves:
        # A band stands for its runs, but not beyond its end.
        if not band or len(curve) > len(places):
            axes.plot(list(curve), list(curve.values()), lw=0.7, alpha=0.4, **style)
    if not places:
        return
    values = np.array([[curve[place] for place in places] for curve in curves])
    mean = values.mean(axis=0)
    axes.plot(places, mean, lw=1.8, marker="o" if len(places) <= 12 else "", ms=3, **style)
    if band and len(curves) > 1:
        std = values.std(axis=0, ddof=1)
        axes.fill_between(places, mean - std, mean + std, color=style["color"], alpha=0.15, lw=0)


def _curves(
    records: list[Record], column: str, place: Callable[[Record], float], scale: float = 1.0
) -> list[Curve]:
    """A curve for each run with a finite value."""
    curves = []
    for run in group(sorted(records, key=attrgetter("step")), attrgetter("run")).values():
        curves.append({place(r): scale * r.values.get(column, math.nan) for r in run})
    return [curve for curve in curves if any(map(math.isfinite, curve.values()))]


def _row_styles(rows: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each row, the same in all figures of the same rows."""
    n = len(COLOURS)
    return {
        row: (COLOURS[i % n], DASHES[i // n % len(DASHES)]) for i, row in enumerate(sorted(rows))
    }


def _fields(runs: list[Record]) -> list[str]:
    """For each run the field that it differs in from the centre of its sweep."""
    axes = {field: {member.run for member in members} for field, members in swept(runs).items()}
    del axes["all"]
    names = []
    for record in runs:
        fields = [field for field, members in axes.items() if record.run in members]
        # The centre is the one point that the axes share.
        names.append(fields[0] if len(fields) == 1 else "centre" if fields else "other")
    return names


def _field_colours(fields: set[str]) -> dict[str, str]:
    swept_fields = sorted(fields - {"centre", "other"})
    colours = {field: COLOURS[i % len(COLOURS)] for i, field in enumerate(swept_fields)}
    for name, grey in (("centre", "black"), ("other", "gray")):
        if name in fields:
            colours[name] = grey
    return colours


def _values(records: list[Record], column: str) -> np.ndarray:
    return np.array([record.values.get(column, math.nan) for record in records])


def _mean_spectrum(records: list[Record], target: str) -> tuple[float, np.ndarray]:
    length = min(len(record.spectrum) for record in records)
    # A collapsed encoder has a sum of 0, which is not flat: its spectrum falls below the panel.
    shares = [np.divide(r.spectrum[:length], max(sum(r.spectrum), 1e-12)) for r in records]
    return float(_values(records, target).mean()) * 100, np.maximum(np.mean(shares, axis=0), 1e-12)


def _label(metric: str) -> str:
    name = metric.partition("/")[0]
    better = METRICS[name].better if name in METRICS else ""
    return f"{heading(metric)}\n({better} is better)" if better else heading(metric)


def _accuracy(target: str) -> str:
    return f"{heading(target).removesuffix(' %')} accuracy, %"


def _correlation(x: np.ndarray, y: np.ndarray, total: int) -> str:
    rho = spearman(x, y)
    text = f"{rho:+.2f}" if math.isfinite(rho) else "undefined"
    runs = "run" if total == 1 else "runs"
    count = f"{total} {runs}" if x.size == total else f"{x.size} of {total} runs"
    return f"Spearman rho {text}, {count}"


def _write(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _legend(axes: Axes, entries: Sequence[Artist], title: str = "") -> None:
    """A legend to the right of the panel, where it covers nothing."""
    if entries:
        axes.legend(handles=entries, title=title, loc="upper left", bbox_to_anchor=(1.03, 1.0))
