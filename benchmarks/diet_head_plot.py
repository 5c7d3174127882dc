"""The figures of `benchmarks.diet_head`: by the model, as a table, as two checks and as a picture.

    python -m benchmarks.diet_head_plot FIGURES.json docs/diet_head.png

draws again what `python -m benchmarks.diet_head --json=FIGURES.json` has measured.
"""

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

LABELS = {
    "naive": "naive JAX",
    "blockwise": "blockwise",
    "torch": "naive PyTorch",
    "parallel2": "class-parallel, 2 devices",
    "parallel8": "class-parallel, 8 devices",
    "device": "s-DIET, rows on the device",
    "host": "s-DIET, rows in host memory",
    "file": "s-DIET, rows in a file",
}
DEVICES = {"parallel2": 2, "parallel8": 8}
IMAGENET = 1_281_167
PROCESS = 2**28  # bytes of a process without its head
COLOURS = {  # Okabe and Ito's, which the colour-blind can tell apart
    "naive": ("#D55E00", "o"),
    "torch": ("#E69F00", "X"),
    "blockwise": ("#0072B2", "s"),
    "parallel2": ("#56B4E9", "D"),
    "parallel8": ("#56B4E9", "v"),
    "device": ("#CC79A7", "P"),
    "host": ("#009E73", "^"),
    "file": ("#000000", "x"),
}


class Figures(NamedTuple):
    """What one variant needs at one N: bytes, and seconds of a step in each round."""

    process: float  # resident in the process, at the peak
    device: float | None = None  # on one device
    store: float = 0.0  # in host memory or on disk
    moved: float = 0.0  # between host and device in a step
    seconds: tuple[float, ...] = ()
    measured: bool = False
    building: float = 0.0  # the peak of the process before the first step


class Report(NamedTuple):
    """All figures, by N and variant."""

    dim: int
    batch: int
    figures: dict[int, dict[str, Figures]]


def model(variant: str, n: int, dim: int, batch: int) -> Figures:
    """The bytes that a variant should need, without its seconds."""
    rows, step = 12.0 * n * dim, 16.0 * batch * dim
    if variant in ("naive", "torch"):
        naive = 16.0 * n * dim + 12 * batch * n
        return Figures(naive, naive if variant == "naive" else None)
    if grows(variant):
        return Figures(rows, rows / DEVICES.get(variant, 1))
    store = rows + 4 * n
    if variant == "device":
        return Figures(step + store, step + store)
    return Figures(step + (store if variant == "host" else 4 * n), step, store, 24.0 * batch * dim)


def grows(variant: str) -> bool:
    """Whether a step takes longer when there are more images."""
    return variant not in ("device", "host", "file")


def expected(variant: str, n: int, report: Report) -> Figures:
    """Bytes by the model, seconds from the largest N that has been measured."""
    known = measured(report, variant)
    largest = max(known, default=0)
    factor = n / largest if largest and grows(variant) else 1.0
    seconds = tuple(factor * x for x in known[largest].seconds) if known else ()
    return model(variant, n, report.dim, report.batch)._replace(seconds=seconds)


def resident(variant: str, figures: Figures) -> float:
    """Bytes that measuring it takes, without the host memory that is not touched."""
    return PROCESS + figures.process - (figures.store if variant == "host" else 0)


def groups(figures: dict[str, Figures], limit: float) -> list[list[str]]:
    """The variants in their order, cut where the next does not fit beside those before it."""
    cut: list[list[str]] = [[]]
    for variant in figures:
        if sum(resident(x, figures[x]) for x in [*cut[-1], variant]) > limit:
            cut.append([])
        cut[-1].append(variant)
    return [group for group in cut if group]


def ratio(figures: Figures, other: Figures | None) -> float | None:
    """Time of a step of `other` / time of a step of `figures`, the median over the rounds."""
    if not other or not figures.seconds or len(figures.seconds) != len(other.seconds):
        return None
    return statistics.median(b / a for a, b in zip(figures.seconds, other.seconds, strict=True))


def table(report: Report) -> str:
    """The figures as a Markdown table; megabytes are 10^6 bytes."""
    lines = [
        "| N | variant | device MB | less | process MB | store MB | moved MB "
        "| ms / step | faster | from |",
        "|--:|:--|--:|--:|--:|--:|--:|--:|--:|:--|",
    ]
    for n, variants in report.figures.items():
        naive = variants.get("naive")
        for variant, figures in variants.items():
            less = None
            if naive and naive.device and figures.device:
                less = naive.device / figures.device
            cells = [
                f"{n:,}",
                LABELS[variant],
                megabytes(figures.device),
                number(less),
                megabytes(figures.process),
                megabytes(figures.store),
                megabytes(figures.moved),
                number(milliseconds(figures)),
                number(ratio(figures, naive)),
                "measured" if figures.measured else "model",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def milliseconds(figures: Figures) -> float | None:
    """The median step, where its time is known."""
    return 1e3 * statistics.median(figures.seconds) if figures.seconds else None


def megabytes(count: float | None) -> str:
    """Bytes as 10^6 bytes."""
    return number(count / 1e6) if count else "-"


def number(value: float | None) -> str:
    """At least three digits and no exponent."""
    if value is None:
        return "-"
    decimals = 2
    if value >= 10:
        decimals = 0 if value >= 100 else 1
    return f"{value:,.{decimals}f}"


def checks(report: Report) -> str:
    """What the head is accepted by, with its numbers."""
    figures = report.figures.get(IMAGENET, {})
    naive, blockwise = figures.get("naive"), figures.get("blockwise")
    result = "not measured"
    if naive and blockwise and naive.measured and blockwise.measured:
        rows = 12 * IMAGENET * report.dim
        peak = blockwise.process / rows
        memory = naive.process / blockwise.process
        planned = (naive.device or 0) / (blockwise.device or 1)
        time = ratio(blockwise, naive) or 0
        result = (
            f"peak of the blockwise process / (weights + moments) {peak:.3f}, "
            f"of it building {blockwise.building / rows:.3f} (at most 1.10: {peak <= 1.10}); "
            f"naive / blockwise memory {memory:.2f}, "
            f"as the compiler plans {planned:.2f} (at least 3: {min(memory, planned) >= 3}); "
            f"naive / blockwise time {time:.2f} (at least 1: {time >= 1})"
        )
    lines = [f"(1) N = {IMAGENET:,}, D = {report.dim}, B = {report.batch}: {result}"]
    for variant in ("host", "file"):
        planned_by_n = {n: x.device for n, x in measured(report, variant).items()}
        few, many = min(planned_by_n, default=0), max(planned_by_n, default=0)
        result = "not measured at two N"
        if few < many:
            first, last = planned_by_n[few], planned_by_n[many]
            result = f"{first:,} bytes at N = {few:,}, {last:,} at {many:,}: equal {first == last}"
        lines.append(f"(2) {LABELS[variant]}, on the device: {result}")
    return "\n".join(lines)


def draw(report: Report, path: Path) -> None:
    """The picture: memory of a device on the left, time of a step on the right, both against N."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), layout="constrained")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="images N")
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    draw_memory(left, report)
    draw_time(right, report)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"written: {path}")


def draw_memory(axes: Any, report: Report) -> None:
    """Lines by the model, markers measured."""
    ends = [min(report.figures), 10 * max(report.figures)]
    names = {
        **{variant: LABELS[variant] for variant in ("naive", "parallel2", "parallel8")},
        "blockwise": "blockwise, and s-DIET on the device",
        "host": "s-DIET, in host memory or a file",
    }
    last = {}
    for variant, name in names.items():
        planned = [(model(variant, n, report.dim, report.batch).device or 0) / 1e9 for n in ends]
        axes.plot(ends, planned, color=COLOURS[variant][0], linewidth=1.3)
        last[name] = planned[1], COLOURS[variant][0]
    for variant, (colour, marker) in COLOURS.items():
        points = {n: x.device / 1e9 for n, x in measured(report, variant).items() if x.device}
        axes.plot(list(points), list(points.values()), marker, color=colour, markersize=5)
    above = {"xytext": (0, 3), "textcoords": "offset points"}
    for size in (16, 80):
        axes.axhline(size, color="0.5", linestyle=":", linewidth=1)
        axes.annotate(f"{size} GB", (ends[0], size), color="0.4", fontsize=8, **above)
    axes.set(ylabel="memory of one device, GB", ylim=(1e-4, None))
    title = f"Memory, D = {report.dim}, B = {report.batch}: measured; lines by the model"
    axes.set_title(title, fontsize=10, loc="left")
    label(axes, ends[1], last)


def draw_time(axes: Any, report: Report) -> None:
    """Markers where measured, joined by lines; dashed by the model."""
    last = {}
    for variant, (colour, marker) in COLOURS.items():
        figures = {n: x[variant] for n, x in report.figures.items() if variant in x}
        times = {n: milliseconds(x) for n, x in figures.items() if x.seconds}
        if times:
            points = {n: times[n] for n in measured(report, variant)}
            line = {"color": colour, "linewidth": 1.3, "markersize": 5}
            axes.plot(list(times), list(times.values()), "--", color=colour, linewidth=1)
            axes.plot(list(points), list(points.values()), marker + "-", **line)
            last[LABELS[variant]] = times[max(times)], colour
    axes.set(ylabel="ms / step", ylim=(None, 4 * axes.get_ylim()[1]))
    title = "Time of a step, on virtual CPU devices; dashed by the model"
    axes.set_title(title, fontsize=10, loc="left")
    label(axes, max(report.figures), last)


def measured(report: Report, variant: str) -> dict[int, Figures]:
    """What was measured of a variant, by N."""
    figures = {n: x[variant] for n, x in report.figures.items() if variant in x}
    return {n: x for n, x in figures.items() if x.measured}


def label(axes: Any, x: float, last: dict[str, tuple[float, str]]) -> None:
    """Name the lines at their right end; names that would touch are spread around their middle."""
    low, high = (math.log10(y) for y in axes.get_ylim())
    gap = 0.05 * (high - low)
    near: list[list[tuple[float, str, str]]] = []
    for name, (y, colour) in sorted(last.items(), key=lambda item: item[1][0]):
        if not near or math.log10(y) - near[-1][-1][0] > gap:
            near.append([])
        near[-1].append((math.log10(y), name, colour))
    offset = {"textcoords": "offset points", "xytext": (8, 0), "va": "center", "fontsize": 9}
    for names in near:
        first = statistics.mean(y for y, _, _ in names) - gap * (len(names) - 1) / 2
        for place, (_, name, colour) in enumerate(names):
            height = 10 ** (first + gap * place)
            axes.annotate(name, (x, height), color=colour, annotation_clip=False, **offset)


def load(path: Path) -> Report:
    """What `save` wrote."""
    dim, batch, content = json.loads(path.read_text())
    figures = {}
    for n, variants in content.items():
        figures[int(n)] = {variant: Figures(**fields) for variant, fields in variants.items()}
    return Report(dim, batch, figures)


def save(report: Report, path: Path) -> None:
    """Write the figures as JSON."""
    content = {}
    for n, variants in report.figures.items():
        content[n] = {variant: figures._asdict() for variant, figures in variants.items()}
    path.write_text(json.dumps([report.dim, report.batch, content]))


if __name__ == "__main__":
    draw(load(Path(sys.argv[1])), Path(sys.argv[2]))
