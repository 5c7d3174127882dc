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
    """Of one variant at one N: bytes on a device, of the process, elsewhere, moved per step;
    seconds of each round.
    """

    process: float
    device: float | None = None
    store: float = 0.0
    moved: float = 0.0
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
    known = {
        n: figures[variant] for n, figures in report.figures.items() if figures[variant].measured
    }
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
    """How many times as long as a step of `figures` one of `other` takes: the median over the
    rounds.
    """
    if not other or not figures.seconds or len(figures.seconds) != len(other.seconds):
        return None
    return statistics.median(b / a for a, b in zip(figures.seconds, other.seconds, strict=True))


def table(report: Report) -> str:
    """The figures as a Markdown table; megabytes are 10^6 bytes."""
    names = (
        "N",
        "variant",
        "device MB",
        "less",
        "process MB",
        "store MB",
        "moved MB",
        "ms / step",
        "faster",
        "from",
    )
    lines = ["| " + " | ".join(names) + " |", "|--:|:--|--:|--:|--:|--:|--:|--:|--:|:--|"]
    for n, variants in report.figures.items():
        naive = variants.get("naive")
        for variant, figures in variants.items():
            less = (
                naive.device / figures.device if naive and naive.device and figures.device else None
            )
            seconds = statistics.median(figures.seconds) if figures.seconds else None
            cells = [
                f"{n:,}",
                LABELS[variant],
                megabytes(figures.device),
                number(less),
                megabytes(figures.process),
            ]
            cells += [
                megabytes(figures.store),
                megabytes(figures.moved),
                number(seconds and 1e3 * seconds),
            ]
            cells += [number(ratio(figures, naive)), "measured" if figures.measured else "model"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def megabytes(count: float | None) -> str:
    """Bytes as 10^6 bytes."""
    return number(count / 1e6) if count else "-"


def number(value: float | None) -> str:
    """At least three digits and no exponent."""
    return "-" if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def checks(report: Report) -> str:
    """What the head is accepted by, with its numbers."""
    at = report.figures.get(IMAGENET, {})
    naive, blockwise = at.get("naive"), at.get("blockwise")
    lines = [f"(1) N = {IMAGENET:,}, D = {report.dim}, B = {report.batch}: not measured"]
    if naive and blockwise and naive.measured and blockwise.measured:
        rows = 12 * IMAGENET * report.dim
        peak, memory, time = (
            blockwise.process / rows,
            naive.process / blockwise.process,
            ratio(blockwise, naive) or 0,
        )
        planned = (naive.device or 0) / (blockwise.device or 1)
        lines[0] = lines[0].replace("not measured", "") + (
            f"peak of the blockwise process / (weights + moments) {peak:.3f}, of it building "
            f"{blockwise.building / rows:.3f} (at most 1.10: {peak <= 1.10}); naive / blockwise "
            f"memory {memory:.2f}, "
            f"as the compiler plans {planned:.2f} (at least 3: {min(memory, planned) >= 3}); naive "
            "/ blockwise time "
            f"{time:.2f} (at least 1: {time >= 1})"
        )
    for variant in ("host", "file"):
        found = {n: figures.device for n, figures in measured(report, variant).items()}
        few, many = min(found, default=0), max(found, default=0)
        there = "not measured at two N"
        if few < many:
            there = (
                f"{found[few]:,} bytes at N = {few:,}, {found[many]:,} at {many:,}: equal "
                f"{found[few] == found[many]}"
            )
        lines.append(f"(2) {LABELS[variant]}, on the device: {there}")
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
        found = {n: x.device / 1e9 for n, x in measured(report, variant).items() if x.device}
        axes.plot(list(found), list(found.values()), marker, color=colour, markersize=5)
    for size in (16, 80):
        axes.axhline(size, color="0.5", linestyle=":", linewidth=1)
        axes.annotate(
            f"{size} GB",
            (ends[0], size),
            (0, 3),
            textcoords="offset points",
            color="0.4",
            fontsize=8,
        )
    axes.set(ylabel="memory of one device, GB", ylim=(1e-4, None))
    axes.set_title(
        f"Memory, D = {report.dim}, B = {report.batch}: measured; lines by the model",
        fontsize=10,
        loc="left",
    )
    label(axes, ends[1], last)


def draw_time(axes: Any, report: Report) -> None:
    """Markers where measured, joined by lines; dashed by the model."""
    last = {}
    for variant, (colour, marker) in COLOURS.items():
        found = {
            n: x[variant] for n, x in report.figures.items() if variant in x and x[variant].seconds
        }
        times = {n: 1e3 * statistics.median(figures.seconds) for n, figures in found.items()}
        if times:
            axes.plot(list(times), list(times.values()), "--", color=colour, linewidth=1)
            points = {n: times[n] for n in measured(report, variant)}
            axes.plot(
                list(points),
                list(points.values()),
                marker + "-",
                color=colour,
                linewidth=1.3,
                markersize=5,
            )
            last[LABELS[variant]] = times[max(times)], colour
    axes.set(ylabel="ms / step", ylim=(None, 4 * axes.get_ylim()[1]))
    axes.set_title(
        "Time of a step, on virtual CPU devices; dashed by the model", fontsize=10, loc="left"
    )
    label(axes, max(report.figures), last)


def measured(report: Report, variant: str) -> dict[int, Figures]:
    """What was measured of a variant, by N."""
    return {
        n: x[variant] for n, x in report.figures.items() if variant in x and x[variant].measured
    }


def label(axes: Any, x: float, last: dict[str, tuple[float, str]]) -> None:
    """Name the lines at their right end; names that would touch stand evenly around the middle of
    their lines.
    """
    low, high = (math.log10(y) for y in axes.get_ylim())
    gap, near = 0.05 * (high - low), list[list[tuple[float, str, str]]]()
    for name, (y, colour) in sorted(last.items(), key=lambda item: item[1][0]):
        if not near or math.log10(y) - near[-1][-1][0] > gap:
            near.append([])
        near[-1].append((math.log10(y), name, colour))
    offset = {"textcoords": "offset points", "xytext": (8, 0), "va": "center", "fontsize": 9}
    for names in near:
        first = statistics.mean(y for y, _, _ in names) - gap * (len(names) - 1) / 2
        for place, (_, name, colour) in enumerate(names):
            axes.annotate(
                name,
                (x, 10 ** (first + gap * place)),
                color=colour,
                annotation_clip=False,
                **offset,
            )


def load(path: Path) -> Report:
    """What `save` wrote."""
    dim, batch, figures = json.loads(path.read_text())
    return Report(
        dim,
        batch,
        {int(n): {x: Figures(**y) for x, y in found.items()} for n, found in figures.items()},
    )


def save(report: Report, path: Path) -> None:
    """Write the figures as JSON."""
    figures = {n: {x: y._asdict() for x, y in found.items()} for n, found in report.figures.items()}
    path.write_text(json.dumps([report.dim, report.batch, figures]))


if __name__ == "__main__":
    draw(load(Path(sys.argv[1])), Path(sys.argv[2]))
