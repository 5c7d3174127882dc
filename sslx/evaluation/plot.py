"""The picture of a run: what labels say, what is said without them, and the singular spectrum."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from sslx.evaluation.evaluate import Verdict  # noqa: E402
from sslx.evaluation.report import NAMES, RANKS  # noqa: E402

SPECTRA = 4  # checkpoints whose spectrum is drawn


def plot(verdicts: list[Verdict], pixels: dict[str, float], title: str, path: Path) -> None:
    """Write a PNG with three panels: accuracy, label-free metrics, and singular values of the
    representation.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    figure.suptitle(title)
    steps = [verdict.step for verdict in verdicts]
    names = list(verdicts[0].values)
    for name in (name for name in names if name in ("linear", "knn")):
        (line,) = left.plot(
            steps,
            [100 * v.values[name] for v in verdicts],
            marker="o",
            label=NAMES[name].removesuffix(" %"),
        )
        if name in pixels:
            left.axhline(
                100 * pixels[name],
                color=line.get_color(),
                linestyle=":",
                label=f"raw pixels, {NAMES[name].removesuffix(' %')}",
            )
    left.set(xlabel="step (0: untrained)", ylabel="test accuracy, %")
    for name in (name for name in names if name.partition("/")[0] in RANKS):
        metric, _, layer = name.partition("/")
        middle.plot(
            steps, [v.values[name] for v in verdicts], marker="o", label=f"{NAMES[metric]}, {layer}"
        )
    middle.set(xlabel="step (0: untrained)", ylabel="effective rank")
    shown = (
        verdicts
        if len(verdicts) <= SPECTRA
        else [verdicts[i] for i in np.linspace(0, len(verdicts) - 1, SPECTRA).round().astype(int)]
    )
    for verdict in shown:
        spectrum = np.maximum(verdict.spectrum, 1e-12)
        right.semilogy(
            np.arange(1, len(spectrum) + 1), spectrum / spectrum.sum(), label=f"step {verdict.step}"
        )
    right.set(xlabel="rank", ylabel="singular value / sum")
    right.set_ylim(bottom=max(right.get_ylim()[0], 1e-6))
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        else:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    figure.savefig(path, dpi=110)
    plt.close(figure)
