"""The figures of a study, drawn from judged checkpoints; colours stay apart for the colour-blind
(Okabe and Ito).
"""

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

from sslx.evaluation.correlation import spearman
from sslx.evaluation.records import Record
from sslx.evaluation.report import heading
from sslx.evaluation.selection import LOWER, RANKS, candidates, configuration, scores, swept

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#6A51A3")
DASHES = ("-", "--", "-.", ":")  # of rows beyond the colours
MARKERS = "o^sDvP<X>*"
PROBE = "#333333"
ACCURACIES = ListedColormap(
    colormaps["viridis_r"](np.linspace(0.12, 1, 256))
)  # its lightest part is lost on white
SPECTRA = 12  # lines in a panel
UNITS = dict.fromkeys(LOWER, "lower is better") | {"alpha_req": "exponent, near 1 is better"}
UNITS |= dict.fromkeys(RANKS, "effective rank")
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    **dict.fromkeys(
        ("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 8
    ),
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 5),
}


@rc_context(STYLE)
def metric_against_probe(
    records: Iterable[Record], metrics: Sequence[str], target: str = "linear"
) -> Figure:
    """Probe accuracy against each metric over finished runs: a row of panels per method, a column
    per metric.

    A point is a run: its colour is the field it differs in from the centre of the sweep, its marker
    the seed. The rank correlation is that of the metric's scores, of which higher is better."""
    rows = _group(record for record in records if record.last)
    figure, panels = _grid(len(rows), len(metrics))
    for (row, runs), line in zip(rows.items(), panels, strict=False):
        fields, seeds = (
            np.array(_fields(runs)),
            np.array([record.config.get("seed", 0) for record in runs]),
        )
        colours = _field_colours(set(fields.tolist()))
        marks = {
            seed: MARKERS[i % len(MARKERS)] for i, seed in enumerate(np.unique(seeds).tolist())
        }
        for metric, axes in zip(metrics, line, strict=True):
            x, y = _values(runs, metric), 100 * _values(runs, target)
            score = scores(runs, metric) if metric in candidates(runs) else x
            x = x if np.isfinite(x).any() else score  # CLID has no value besides its score
            known = np.isfinite(x) & np.isfinite(y)
            for (field, colour), (seed, mark) in product(colours.items(), marks.items()):
                here = known & (fields == field) & (seeds == seed)
                axes.scatter(
                    x[here], y[here], s=22, color=colour, marker=mark, linewidths=0, alpha=0.85
                )
            axes.set_title(_correlation(score[known], y[known], known.size))
            unit = UNITS.get(metric.partition("/")[0])
            axes.set_xlabel(f"{heading(metric)}\n({unit})" if unit else heading(metric))
            if not known.any():
                _say(axes, "not measured" if np.isfinite(y).any() else "no labels")
        line[0].set_ylabel(f"{row}\n{_accuracy(target)}")
        shown = colours if set(colours) != {"other"} else {}
        _legend(
            line[-1],
            *(
                Line2D([], [], color=colour, marker="o", ls="", label=label)
                for label, colour in shown.items()
            ),
            *(
                Line2D([], [], color="gray", marker=mark, ls="", label=f"seed {seed}")
                for seed, mark in marks.items()
            ),
        )
    return figure


@rc_context(STYLE)
def over_training(
    records: Iterable[Record], metrics: Sequence[str], target: str = "linear"
) -> Figure:
    """Each metric (left axis) and the probe (right axis) against the step: a row of panels per
    method.

    Thin lines are runs; the thick ones are their mean at the steps at which all of them were
    judged."""
    rows = _group(records)
    styles = _row_styles(rows)
    figure, panels = _grid(len(rows), len(metrics), width=3.4)
    for (row, found), line in zip(rows.items(), panels, strict=False):
        colour, _ = styles[row]
        accuracy = _curves(found, target, attrgetter("step"), 100)
        for metric, axes in zip(metrics, line, strict=True):
            axes.set(title=f"{row}: {heading(metric)}", xlabel="step (0: untrained)")
            axes.set_ylabel(UNITS.get(metric.partition("/")[0], heading(metric)), color=colour)
            curves = _curves(found, metric, attrgetter("step"))
            if not curves:
                _say(axes, "not measured")
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
    """Singular values of the representation [d] over their sum against rank: a panel per method, a
    line per setting.

    A line is the mean over the seeds of a configuration, coloured by the probe, grey where that is
    undefined for one. Of more than 12 configurations the best one, the worst one and evenly spaced
    ones between are drawn."""
    rows = _group(record for record in records if record.last and record.spectrum)
    figure, panels = _grid(1, len(rows), width=3.6)
    for (row, runs), axes in zip(rows.items(), panels[0], strict=False):
        lines = [_mean_spectrum(group, target) for group in _group(runs, configuration).values()]
        lines.sort(key=lambda line: (np.nan_to_num(line[0], nan=-1.0), -line[1][0]))
        shown = np.unique(
            np.linspace(0, len(lines) - 1, min(SPECTRA, len(lines))).round().astype(int)
        )
        labelled = [accuracy for accuracy, _ in lines if math.isfinite(accuracy)]
        scale = ScalarMappable(
            Normalize(min(labelled, default=0), max(labelled, default=1)), ACCURACIES
        )
        for accuracy, spectrum in (lines[i] for i in shown):
            colour = scale.to_rgba(np.array(accuracy)) if math.isfinite(accuracy) else "gray"
            axes.semilogy(np.arange(1, len(spectrum) + 1), spectrum, color=colour, lw=1.2)
        count = f"{len(shown)} of {len(lines)}" if len(shown) < len(lines) else f"{len(lines)}"
        axes.set(title=f"{row}, configurations: {count}", xlabel="rank")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 1e-6), max(high, 1e-5))
        if labelled:
            figure.colorbar(scale, ax=axes, label=_accuracy(target))
        else:
            axes.text(0.97, 0.95, "no labels", ha="right", va="top", transform=axes.transAxes)
    panels[0, 0].set_ylabel("singular value / sum")
    return figure


@rc_context(STYLE)
def regret(table_of: dict[str, dict[str, list[float]]]) -> Figure:
    """Accuracy lost to the best run by each metric's pick: {metric: {axis: [regret per seed, in
    %]}} as grouped bars.

    A bar is the mean over seeds, a point a seed; undefined ones are left out and counted above the
    bar."""
    groups = list(dict.fromkeys(axis for found in table_of.values() for axis in found))
    figure, panels = _grid(
        1, min(1, len(groups)), width=2.2 + 0.3 * len(groups) * (len(table_of) + 1), height=3.2
    )
    axes, width = panels[0, 0], 0.8 / max(1, len(table_of))
    colours = {metric: COLOURS[i % len(COLOURS)] for i, metric in enumerate(table_of)}
    for (i, (metric, found)), (j, axis) in product(enumerate(table_of.items()), enumerate(groups)):
        place, values = (
            j + (i - (len(table_of) - 1) / 2) * width,
            np.asarray(found.get(axis, []), float),
        )
        known = values[np.isfinite(values)]
        axes.bar(
            place,
            known.mean() if known.size else 0,
            0.92 * width,
            color=colours[metric],
            alpha=0.55,
        )
        points = place + (
            np.linspace(-0.2, 0.2, known.size) * width if known.size > 1 else np.zeros(known.size)
        )
        style = {"edgecolors": "black", "linewidths": 0.5, "zorder": 3, "clip_on": False}
        axes.scatter(points, known, s=14, color=colours[metric], **style)
        if known.size < max(1, values.size):
            text, top = (
                f"{known.size} of {values.size}" if known.size else "missing",
                (place, known.max(initial=0)),
            )
            axes.annotate(
                text, top, (0, 5), textcoords="offset points", rotation=90, ha="center", fontsize=8
            )
    every = [
        value
        for found in table_of.values()
        for each in found.values()
        for value in each
        if math.isfinite(value)
    ]
    axes.set_ylim(1.25 * min([0, *every]), 1.25 * max([0.4, *every]))
    axes.set_xticks(
        range(len(groups)), [group.rpartition(".")[2].replace("_", "\n") for group in groups]
    )
    axes.set(ylabel="regret: best - picked accuracy, %", xlabel="swept field")
    axes.grid(visible=False, axis="x")
    _legend(
        axes, *(Patch(color=colour, label=heading(metric)) for metric, colour in colours.items())
    )
    return figure


@rc_context(STYLE)
def accuracy_over_epochs(
    records: Iterable[Record], target: str, epochs_of: Callable[[Record], float]
) -> Figure:
    """Accuracy in % against epochs: a panel per data set, a line per method with a band of one
    standard deviation.

    Line and band are over the runs of the method, at the epochs at which all of them were judged.
    """
    records = list(records)
    styles = _row_styles(_group(records))
    sets = _group(records, lambda record: record.data["train"])
    figure, panels = _grid(1, len(sets), width=3.6, height=3.0)
    for (data, members), axes in zip(sets.items(), panels[0], strict=False):
        curves = {
            row: _curves(found, target, epochs_of, 100) for row, found in _group(members).items()
        }
        for row, found in curves.items():
            colour, dash = styles[row]
            _draw(axes, found, band=True, color=colour, ls=dash)
        if not any(curves.values()):
            _say(axes, "no labels")
        # Of one name there can be two data sets, such as a subset and the whole.
        name, _, key = data.partition(" ")
        alone = [other.partition(" ")[0] for other in sets].count(name) == 1
        axes.set(
            title=name.removesuffix("/train") + ("" if alone else f" ({key[:6]})"), xlabel="epochs"
        )
    panels[0, 0].set_ylabel(_accuracy(target))
    lines = (
        Line2D([], [], color=colour, ls=dash, lw=2, label=row)
        for row, (colour, dash) in styles.items()
    )
    _legend(panels[0, -1], *lines, title="mean +- std of runs")
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.svg and return their paths; equal figures give equal bytes.

    The figure is cleared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with rc_context(STYLE | {"svg.hashsalt": "sslx"}):
        figure.savefig(paths[0], dpi=110)
        figure.savefig(paths[1], metadata={"Date": None})
    figure.clear()
    return paths


def _grid(
    rows: int, columns: int, width: float = 2.9, height: float = 2.7
) -> tuple[Figure, np.ndarray]:
    figure = Figure(
        figsize=(width * max(1, columns) + 1.2, height * max(1, rows)), layout="constrained"
    )
    panels = figure.subplots(max(1, rows), max(1, columns), squeeze=False)
    if not rows or not columns:
        _say(panels[0, 0], "nothing was judged")
    return figure, panels


def _draw(axes: Axes, curves: list[dict[float, float]], band: bool = False, **style: Any) -> None:
    """Runs as thin lines, their mean at common places as a thick one, and a band of a standard
    deviation around it.
    """
    places = sorted(set(curves[0]).intersection(*curves[1:])) if curves else []
    for curve in curves:
        if not band or len(curve) > len(
            places
        ):  # a band stands for its runs, but not beyond its end
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
    records: list[Record], name: str, place: Callable[[Record], float], scale: float = 1.0
) -> list[dict[float, float]]:
    """For each run with a finite value: where it was judged, and what came out."""
    curves: dict[str, dict[float, float]] = {}
    for record in sorted(records, key=lambda record: record.step):
        curves.setdefault(record.run, {})[place(record)] = scale * record.values.get(name, math.nan)
    return [curve for curve in curves.values() if any(map(math.isfinite, curve.values()))]


def _group(
    records: Iterable[Record], key: Callable[[Record], str] = attrgetter("row")
) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _row_styles(rows: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each row, the same in all figures of the same rows."""
    n = len(COLOURS)
    return {
        row: (COLOURS[i % n], DASHES[i // n % len(DASHES)]) for i, row in enumerate(sorted(rows))
    }


def _fields(runs: list[Record]) -> list[str]:
    """For each run the field that it differs in from the centre of its sweep."""
    axes = {
        field: {member.run for member in members}
        for field, members in swept(runs).items()
        if field != "all"
    }
    own = [[field for field, members in axes.items() if record.run in members] for record in runs]
    # The centre is the one point that the axes share.
    return [fields[0] if len(fields) == 1 else "centre" if fields else "other" for fields in own]


def _field_colours(fields: set[str]) -> dict[str, str]:
    colours = {
        field: COLOURS[i % len(COLOURS)]
        for i, field in enumerate(sorted(fields - {"centre", "other"}))
    }
    return colours | {
        name: grey for name, grey in (("centre", "black"), ("other", "gray")) if name in fields
    }


def _values(records: list[Record], name: str) -> np.ndarray:
    return np.array([record.values.get(name, math.nan) for record in records])


def _mean_spectrum(records: list[Record], target: str) -> tuple[float, np.ndarray]:
    length = min(len(record.spectrum) for record in records)
    # A collapsed encoder has a sum of 0, which is no flat spectrum: it falls below the panel.
    shares = [
        np.divide(record.spectrum[:length], max(sum(record.spectrum), 1e-12)) for record in records
    ]
    return float(_values(records, target).mean()) * 100, np.maximum(np.mean(shares, axis=0), 1e-12)


def _accuracy(target: str) -> str:
    return f"{heading(target).removesuffix(' %')} accuracy, %"


def _correlation(x: np.ndarray, y: np.ndarray, total: int) -> str:
    rho = spearman(x, y)
    count = f"{total} run{'s' * (total != 1)}" if x.size == total else f"{x.size} of {total} runs"
    return f"Spearman rho {f'{rho:+.2f}' if math.isfinite(rho) else 'undefined'}, {count}"


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _legend(axes: Axes, *handles: Artist, title: str = "") -> None:
    """A legend to the right of the panel, where it covers nothing."""
    if handles:
        axes.legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(1.03, 1.0))
