"""Masks per second of `sslx.views.masks`, beside the plain generators that it replaces.

    python -m benchmarks.masks [--batch=4096] [--rounds=15]

I-JEPA's masks count as targets + 1 per image, a block-wise mask as one. The plain way draws one
image after the other with Python and NumPy on one core, as a collator in a data-loading worker
does. All cores make masks for sslx, each those of its share of the batch.

How to read it: the ways take turns within every round, and a ratio is the median over the rounds of
plain time / time of sslx per mask, so that a busy machine slows both sides alike. The ratios are
the result; masks/s depend on the machine.
"""

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
    height = min(recipe.reach, round(math.sqrt(area * aspect)))
    width = min(recipe.reach, round(math.sqrt(area / aspect)))
    return height, width


def plain_block(rng: np.random.Generator, recipe: MultiBlock, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((recipe.grid, recipe.grid), bool)
    top, left = (int(rng.integers(0, recipe.reach - side + 1)) for side in size)
    mask[top : top + size[0], left : left + size[1]] = True
    return mask


def plain_multi_block(
    rng: np.random.Generator, batch: int, recipe: MultiBlock
) -> list[tuple[np.ndarray, list]]:
    """Contexts and targets as patch numbers: the reference's, or the repaired without padding."""
    longest = recipe.context_length
    sizes = {block: plain_size(rng, recipe, block) for block in ("target", "context")}

    def size(block: str) -> tuple[int, int]:
        return sizes[block] if recipe.reference else plain_size(rng, recipe, block)

    masks = []
    for _ in range(batch):
        targets = [plain_block(rng, recipe, size("target")) for _ in range(recipe.targets)]
        block = size("context")
        whole = plain_block(rng, recipe, block)
        tries = 0
        while True:
            kept = recipe.targets - (tries // 20 if recipe.reference else tries)
            covered = np.any([np.zeros_like(whole), *targets[:kept]], axis=0)
            context = np.flatnonzero(whole & ~covered)
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
                top = int(rng.integers(0, grid - height + 1))
                left = int(rng.integers(0, grid - width + 1))
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
    """Measure and print."""
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
        plain = plain_multi_block if isinstance(recipe, MultiBlock) else plain_block_wise
        # As in a training step: each device makes the masks of its own images.
        ours = jax.jit(partial(draw_masks, batch=batch, recipe=recipe), out_shardings=split)
        ways[name] = (partial(ours, key), partial(plain, rng, PLAIN_IMAGES, recipe))
    print(f"{mesh.size} x {jax.devices()[0].device_kind}, 14 x 14 patches, batch {batch}")
    first = {name: seconds(ours) for name, (ours, _) in ways.items()}
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append({name: [seconds(way) for way in pair] for name, pair in ways.items()})
    for name, recipe in recipes.items():
        per_image = recipe.targets + 1 if isinstance(recipe, MultiBlock) else 1
        quick = [once[name][0] / batch for once in rounds]
        slow = [once[name][1] / PLAIN_IMAGES for once in rounds]
        ratio = statistics.median(b / a for a, b in zip(quick, slow, strict=True))
        print(
            f"{name:24}{per_image / statistics.median(quick):10.0f} masks/s   "
            f"plain {per_image / statistics.median(slow):7.0f} masks/s   "
            f"plain / sslx {ratio:6.1f}   first call {first[name]:.1f} s"
        )


if __name__ == "__main__":
    main()
