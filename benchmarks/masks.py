"""Masks per second of `sslx.views.masks`, beside the plain generators that it replaces.

Run `python -m benchmarks.masks`. I-JEPA's masks count as targets + 1 per image, a block-wise mask
as one. The plain way draws one image after the other with Python and NumPy on one core, as a
collator in a data-loading worker does.

How to read it: the ways take turns within every round, and a ratio is the median over the rounds of
plain time / time of sslx per mask, so that a busy machine slows both sides alike. The ratios are
the result; masks/s depend on the machine. All cores make masks for sslx, each those of its share of
the batch."""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from sslx.training import parallel
from sslx.views.masks import BlockWise, MultiBlock, draw_masks

PLAIN_IMAGES = 64


def plain_size(rng: np.random.Generator, recipe: MultiBlock, block: str) -> tuple[int, int]:
    scale, ratio = recipe.shape(block)
    draw = rng.random()
    other = draw if recipe.reference else rng.random()
    area = int(recipe.patches * (scale[0] + draw * (scale[1] - scale[0])))
    aspect = ratio[0] + other * (ratio[1] - ratio[0])
    height, width = (
        min(recipe.reach, round(math.sqrt(side))) for side in (area * aspect, area / aspect)
    )
    return height, width


def plain_block(rng: np.random.Generator, recipe: MultiBlock, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((recipe.grid, recipe.grid), bool)
    top, left = (int(rng.integers(0, recipe.reach - side + 1)) for side in size)
    mask[top : top + size[0], left : left + size[1]] = True
    return mask


def plain_multi_block(
    rng: np.random.Generator, batch: int, recipe: MultiBlock
) -> list[tuple[np.ndarray, list]]:
    """Contexts and targets as lists of patch numbers; the reference's, or the repaired ones without
    padding.
    """
    longest = recipe.context_length
    sizes = {block: plain_size(rng, recipe, block) for block in ("target", "context")}

    def size(block: str) -> tuple[int, int]:
        return sizes[block] if recipe.reference else plain_size(rng, recipe, block)

    masks = []
    for _ in range(batch):
        targets = [plain_block(rng, recipe, size("target")) for _ in range(recipe.targets)]
        block, tries = size("context"), 0
        whole = plain_block(rng, recipe, block)
        while True:
            kept = recipe.targets - (tries // 20 if recipe.reference else tries)
            context = np.flatnonzero(
                whole & ~np.any([np.zeros_like(whole), *targets[:kept]], axis=0)
            )
            if len(context) >= recipe.min_keep + recipe.reference:
                break
            tries += 1
            whole = plain_block(rng, recipe, block) if recipe.reference else whole
        if not recipe.reference and len(context) > longest:
            context = np.sort(rng.choice(context, longest, replace=False))
        masks.append((context, [np.flatnonzero(target) for target in targets]))
    shortest = min(len(context) for context, _ in masks) if recipe.reference else recipe.patches
    return [(context[:shortest], targets) for context, targets in masks]


def plain_block_wise(rng: np.random.Generator, batch: int, recipe: BlockWise) -> np.ndarray:
    """Masks `[B, grid, grid]`; BEiT's generator."""
    grid, steepest = recipe.grid, -math.log(recipe.min_ratio)
    masks = np.zeros((batch, grid, grid), bool)
    for mask in masks:
        masked = failures = 0
        while masked < recipe.count and failures < 10:
            most = min(recipe.count - masked, recipe.max_block or grid**2)
            area = recipe.min_block + rng.random() * (most - recipe.min_block)
            ratio = math.exp(rng.uniform(-steepest, steepest))
            height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            failures += 1
            if height < grid and width < grid:
                top, left = (
                    int(rng.integers(0, grid - height + 1)),
                    int(rng.integers(0, grid - width + 1)),
                )
                block = mask[top : top + height, left : left + width]
                if 0 < (new := height * width - int(block.sum())) <= most:
                    block[...] = True
                    masked, failures = masked + new, 0
    return masks


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=4096, help="images per call of sslx")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    mesh = parallel.start(batch_size=arguments.batch)
    split = NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    batch, rng, key = arguments.batch, np.random.default_rng(0), jax.random.key(0)
    recipes: dict[str, MultiBlock | BlockWise] = {
        "multi-block, repaired": MultiBlock(14),
        "multi-block, reference": MultiBlock(14, kind="reference"),
        "block-wise, 120 of 196": BlockWise(14, 120),
    }
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for name, recipe in recipes.items():
        plain = (
            partial(plain_multi_block, rng)
            if isinstance(recipe, MultiBlock)
            else partial(plain_block_wise, rng)
        )
        # As in a training step: each device makes the masks of its own images.
        ours = jax.jit(partial(draw_masks, batch=batch, recipe=recipe), out_shardings=split)
        ways[name] = (partial(ours, key), partial(plain, PLAIN_IMAGES, recipe))
    print(f"{mesh.size} x {jax.devices()[0].device_kind}, 14 x 14 patches, batch {batch}")
    first = {name: seconds(ours) for name, (ours, _) in ways.items()}
    rounds = [
        {name: [seconds(way) for way in pair] for name, pair in ways.items()}
        for _ in range(arguments.rounds)
    ]
    for name, recipe in recipes.items():
        per_image = recipe.targets + 1 if isinstance(recipe, MultiBlock) else 1
        times = [
            [ours / batch, plain / PLAIN_IMAGES] for ours, plain in (once[name] for once in rounds)
        ]
        ours, plain = (per_image / statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(slow / quick for quick, slow in times)
        print(
            f"{name:24}{ours:10.0f} masks/s   plain {plain:7.0f} masks/s   plain / sslx "
            f"{ratio:6.1f}   "
            f"first call {first[name]:.1f} s"
        )


if __name__ == "__main__":
    main()
