"""Pictures of a run's results, and of what an encoder has learned."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from metrics import METRICS
from sslx.data.source import Sources
from sslx.evaluation.evaluate import draw
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.results import Record
from sslx.evaluation.tables import ACCURACIES, heading
from sslx.method import Method
from sslx.views.masks import MultiBlockMasks
from sslx.views.views import plain_view, training_masks

SHOWN = 8  # images of each picture
NEIGHBOURS = 8
SEARCHED = 5000  # images among which neighbours are looked for
SPECTRA = 4  # checkpoints whose spectrum is drawn

Picture = tuple[list[str], list[list[np.ndarray]]]  # titles of the columns, and rows of images


def plot_results(
    records: Sequence[Record], pixels: dict[str, float], title: str, path: Path
) -> None:
    """Write a PNG with accuracy, effective ranks, and singular values of the representation."""
    figure = Figure(figsize=(15, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    figure.suptitle(title)
    steps = [record.step for record in records]
    for column in records[0].values:
        values = np.array([record.values[column] for record in records])
        metric = METRICS.get(column.partition("/")[0])
        if column in ACCURACIES:
            name = ACCURACIES[column]
            (line,) = left.plot(steps, 100 * values, marker="o", label=name)
            if column in pixels:
                style = {"color": line.get_color(), "linestyle": ":"}
                left.axhline(100 * pixels[column], label=f"raw pixels, {name}", **style)
        elif metric and metric.better == "higher" and column.count("/") == 1:
            middle.plot(steps, values, marker="o", label=heading(column))
    left.set(xlabel="step (0: untrained)", ylabel="test accuracy, %")
    middle.set(xlabel="step (0: untrained)", ylabel="effective rank")
    evenly = np.linspace(0, len(records) - 1, min(SPECTRA, len(records))).round().astype(int)
    for record in (records[index] for index in evenly):
        spectrum = np.maximum(record.spectrum, 1e-12)
        ranks = np.arange(1, len(spectrum) + 1)
        right.semilogy(ranks, spectrum / spectrum.sum(), label=f"step {record.step}")
    right.set(xlabel="rank", ylabel="singular value / sum")
    right.set_ylim(bottom=max(right.get_ylim()[0], 1e-6))
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        else:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    figure.savefig(path, dpi=110)


def draw_pictures(
    method: Method, model: Model, extractor: Extractor, data: Sources, step: int, folder: Path
) -> list[Path]:
    """Write what can be drawn of the model as PNGs into `folder`, and return their paths.

    That is neighbours by cosine of the representation, with queries from the test split where
    there is one; of a vision transformer attention and patches; and masks where a method has them.
    """
    chosen = draw(data.test or data.train, SHOWN, seed=0)
    images = np.asarray(plain_view(chosen, method.views.crops[0]))
    pool = draw(data.train, SEARCHED, seed=1)
    pictures = {"neighbours": _neighbours(model, extractor, pool, chosen)}
    encoder: Any = getattr(method, "encoder", None)
    if getattr(encoder, "patch", 0):
        own = getattr(method, "encoder_params", None)
        params = own(model["params"], model["extra"]) if own else model["params"]["encoder"]

        def output(returns: str) -> Any:
            def apply(params: Any, images: jax.Array) -> Any:
                return encoder.apply(params, {}, images, train=False, returns=returns)[0]

            return jax.device_get(jax.jit(apply)(params, images))

        pictures["attention"] = _attention(output("attention")[-1], images)
        pictures["patches"] = _patches(output("tokens"), images)
    if (recipe := method.views.masks) is not None:
        masks = training_masks(jax.random.key(0), len(images), method.views)
        pictures["masks"] = _masks(masks, recipe.grid, images)
    paths = [folder / f"{name}-{step}.png" for name in pictures]
    for path, (titles, rows) in zip(paths, pictures.values(), strict=True):
        _grid(titles, rows, path)
    return paths


def _neighbours(
    model: Model, extractor: Extractor, pool: np.ndarray, queries: np.ndarray
) -> Picture:
    def unit(images: np.ndarray) -> np.ndarray:
        rows = np.asarray(extractor.plain(model, images).representation, np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    near = np.argsort(-unit(queries) @ unit(pool).T, axis=1, kind="stable")[:, :NEIGHBOURS]
    titles = ["query", *(f"{rank}." for rank in range(1, NEIGHBOURS + 1))]
    return _beside(titles, queries, pool[near])


def _attention(weights: np.ndarray, images: np.ndarray) -> Picture:
    """Attention [n, heads, T, T] of the class token; without one, what patches get on average."""
    side = int(weights.shape[-1] ** 0.5)
    has_class = weights.shape[-1] == side * side + 1
    maps = weights[:, :, 0, 1:] if has_class else weights.mean(axis=2)
    maps = maps.reshape(*maps.shape[:2], side, side)
    what = "class token, head" if has_class else "all patches, head"
    return _beside(["image", *(f"{what} {head}" for head in range(maps.shape[1]))], images, maps)


def _patches(tokens: np.ndarray, images: np.ndarray) -> Picture:
    """The first three principal components of all patches [n, N, D] as red, green and blue.

    Each is spread over its 1st to 99th percentile.
    """
    side = int(tokens.shape[1] ** 0.5)
    patches = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    patches -= patches.mean(axis=0)
    _, _, axes = np.linalg.svd(patches, full_matrices=False)
    parts = patches @ axes[:3].T
    low, high = np.percentile(parts, [1, 99], axis=0)
    colours = np.clip((parts - low) / np.maximum(high - low, 1e-12), 0, 1)
    pairs = list(zip(images, colours.reshape(len(images), side, side, 3), strict=True))
    half = -(-len(pairs) // 2)  # in two columns of pairs
    return [], [[image for pair in pairs[row::half] for image in pair] for row in range(half)]


def _masks(masks: Any, grid: int, images: np.ndarray) -> Picture:
    """I-JEPA: the context and each target block; data2vec: what is left of the image."""
    if isinstance(masks, MultiBlockMasks):
        context, context_used, targets, targets_used = (np.asarray(part) for part in masks)
        count = targets.shape[1]
        titles = ["image", "context", *(f"target {number}" for number in range(1, count + 1))]
        blocks = [(context, context_used)]
        blocks += [(targets[:, t], targets_used[:, t]) for t in range(count)]
        seen: np.ndarray = np.zeros((len(images), len(blocks), grid * grid), bool)
        for block, (patches, used) in enumerate(blocks):
            for i in range(len(images)):
                seen[i, block, patches[i][used[i]]] = True
    else:
        titles = ["image", "seen"]
        seen = ~np.asarray(masks)[:, None]
    seen = seen.reshape(*seen.shape[:2], grid, grid)
    shown = [[_only(image, m) for m in of] for image, of in zip(images, seen, strict=True)]
    return _beside(titles, images, shown)


def _beside(titles: list[str], images: np.ndarray, others: Iterable[Any]) -> Picture:
    """A row for each image, with its others to the right of it."""
    return titles, [[image, *rest] for image, rest in zip(images, others, strict=True)]


def _only(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The image in colours of [0, 1], with a plain red where a patch is not shown."""
    patch = len(image) // len(shown)
    pixels = np.broadcast_to(_displayable(image), (*image.shape[:2], 3))
    return np.where(shown.repeat(patch, 0).repeat(patch, 1)[:, :, None], pixels, (0.55, 0.15, 0.15))


def _displayable(image: np.ndarray) -> np.ndarray:
    """Pixels spread over [0, 1]: a recipe may have normalised them."""
    image = np.asarray(image, np.float64)
    low, high = image.min(), image.max()
    return (image - low) / max(high - low, 1e-12)


def _grid(titles: list[str], rows: list[list[np.ndarray]], path: Path) -> None:
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.3 * columns, 1.3 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, row in zip(axes, rows, strict=True):
        for axis, image in zip(line, row, strict=False):
            flat = image.ndim == 2
            shown = image if flat else _displayable(image)
            axis.imshow(shown, cmap="magma" if flat else "gray", interpolation="nearest")
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=7)
    figure.savefig(path, dpi=110)
