"""Pictures of what an encoder has learned: neighbours, attention, patches as colours; and the masks
it was given.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from sslx.data.sources import Source  # noqa: E402
from sslx.evaluation.evaluate import draw  # noqa: E402
from sslx.evaluation.features import Extractor, Model  # noqa: E402
from sslx.method import Method  # noqa: E402
from sslx.views.masks import MultiBlockMasks  # noqa: E402
from sslx.views.views import plain_view, training_masks  # noqa: E402

SHOWN = 8  # images of each picture
NEIGHBOURS = 8
SEARCHED = 5000  # images among which neighbours are looked for


def draw_pictures(
    method: Method,
    model: Model,
    extractor: Extractor,
    train: Source,
    test: Source | None,
    step: int,
    folder: Path,
) -> list[Path]:
    """Write what can be drawn of the model as PNGs into `folder`: neighbours always, the rest of a
    vision transformer.

    Neighbours are by cosine of the representation, queries from the test split where there is one.
    """
    chosen = draw(test or train, SHOWN, seed=0)
    images = np.asarray(plain_view(chosen, method.views.crops[0]))
    pictures: dict[str, Callable[[Path], None]] = {
        "neighbours": lambda path: _neighbours(model, extractor, train, chosen, path)
    }
    encoder: Any = getattr(method, "encoder", None)
    if getattr(encoder, "patch", 0):
        own = getattr(method, "encoder_params", None)
        params = own(model["params"], model["extra"]) if own else model["params"]["encoder"]

        def look(returns: str) -> np.ndarray:
            apply = jax.jit(
                lambda params, images: encoder.apply(
                    params, {}, images, train=False, returns=returns
                )[0]
            )
            return np.asarray(apply(params, images))

        pictures["attention"] = lambda path: _attention(look("attention")[-1], images, path)
        pictures["patches"] = lambda path: _patches(look("tokens"), images, path)
    if (recipe := method.views.masks) is not None:
        masks = training_masks(jax.random.key(0), SHOWN, method.views)
        pictures["masks"] = lambda path: _masks(masks, recipe.grid, images, path)
    paths = []
    for name, make in pictures.items():
        paths.append(folder / f"{name}-{step}.png")
        make(paths[-1])
    return paths


def _neighbours(
    model: Model, extractor: Extractor, train: Source, queries: np.ndarray, path: Path
) -> None:
    pool = draw(train, SEARCHED, seed=1)

    def unit(images: np.ndarray) -> np.ndarray:
        rows = np.asarray(extractor.plain(model, images).representation, np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    near = np.argsort(-unit(queries) @ unit(pool).T, axis=1, kind="stable")[:, :NEIGHBOURS]
    titles = ["query", *(f"{rank}." for rank in range(1, NEIGHBOURS + 1))]
    _grid([[query, *pool[row]] for query, row in zip(queries, near, strict=True)], titles, path)


def _attention(weights: np.ndarray, images: np.ndarray, path: Path) -> None:
    """Of the class token; without one, what a patch gets on average from all others.

    `weights` [n, heads, T, T].
    """
    side = int(weights.shape[-1] ** 0.5)
    has_class = weights.shape[-1] == side * side + 1
    maps = weights[:, :, 0, 1:] if has_class else weights.mean(axis=2)
    maps = maps.reshape(*maps.shape[:2], side, side)
    what = "class token, head" if has_class else "all patches, head"
    titles = ["image", *(f"{what} {head}" for head in range(maps.shape[1]))]
    _grid([[image, *heads] for image, heads in zip(images, maps, strict=True)], titles, path)


def _patches(tokens: np.ndarray, images: np.ndarray, path: Path) -> None:
    """The first three principal components of all patches [n, N, D], each spread over its 1st to
    99th percentile.
    """
    side = int(tokens.shape[1] ** 0.5)
    rows = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    rows -= rows.mean(axis=0)
    _, _, axes = np.linalg.svd(rows, full_matrices=False)
    parts = rows @ axes[:3].T
    low, high = np.percentile(parts, [1, 99], axis=0)
    colours = np.clip((parts - low) / np.maximum(high - low, 1e-12), 0, 1).reshape(
        len(images), side, side, 3
    )
    half = -(-len(images) // 2)
    pairs = [[images[i], colours[i]] for i in range(len(images))]
    _grid(
        [pairs[i] + (pairs[i + half] if i + half < len(pairs) else []) for i in range(half)],
        [],
        path,
    )


def _masks(masks: Any, grid: int, images: np.ndarray, path: Path) -> None:
    """I-JEPA: the context and each target block; data2vec: what is left of the image."""
    titles = ["image", "seen"]
    if isinstance(masks, MultiBlockMasks):
        titles = [
            "image",
            "context",
            *(f"target {number + 1}" for number in range(masks.targets.shape[1])),
        ]
    rows = []
    for number, image in enumerate(images):
        one: Any = jax.tree.map(lambda leaf: np.asarray(leaf[number]), masks)  # noqa: B023
        if isinstance(one, np.ndarray):
            seen = [~one]
        else:
            seen = [_as_grid(one.context, one.context_used, grid)]
            seen += [
                _as_grid(*target, grid)
                for target in zip(one.targets, one.targets_used, strict=True)
            ]
        rows.append([image, *(_only(image, shown.reshape(grid, grid)) for shown in seen)])
    _grid(rows, titles, path)


def _as_grid(patches: np.ndarray, used: np.ndarray, grid: int) -> np.ndarray:
    return np.isin(np.arange(grid * grid), patches[used])


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


def _grid(rows: list[list[np.ndarray]], titles: list[str], path: Path) -> None:
    columns = max(len(row) for row in rows)
    size = (1.3 * columns, 1.3 * len(rows) + 0.3)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=size, layout="constrained", squeeze=False
    )
    for line, row in zip(axes, rows, strict=True):
        for axis in line:
            axis.axis("off")
        for axis, image in zip(line, row, strict=False):
            flat = image.ndim == 2
            shown = image if flat else _displayable(image)
            axis.imshow(shown, cmap="magma" if flat else "gray", interpolation="nearest")
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=7)
    figure.savefig(path, dpi=110)
    plt.close(figure)
