"""Random masks over the patches of an image: I-JEPA's context and targets, BEiT's for data2vec.

A mask depends on its key and on its number in the batch alone, except where the reference has one
size per batch. The batch may be sharded over a mesh: no loop's length depends on the draws, because
a condition over the whole batch would be a collective inside the loop. Patches of a grid are held
as bits, one word per row.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.views.checks import Range, as_range, check_integer

WORD = 32  # bits
TRIES = 20  # the reference's number of places for a context block before it drops a constraint
FAILURES = 10  # attempts in a row after which BEiT's generator gives up
GRID_ADVICE = " patches per side: change the size of the images or of the patches"


@dataclass(frozen=True)
class MultiBlock:
    """I-JEPA's masks: target blocks, and a context block without the patches of the targets.

    "repaired" draws every size on its own and uses the whole grid. "reference" is the published
    code: one draw gives both scale and ratio, the sizes are the batch's, the last row and column
    are never used, and the contexts are cut to the batch's smallest by dropping their last patches.
    Raises ValueError for values that cannot be met.
    """

    grid: int  # patches per side of the square image, at most 32
    targets: int = 4  # target blocks per image
    target_scale: Range = (0.15, 0.2)  # fraction of the patches, in (0, 1]
    target_ratio: Range = (0.75, 1.5)  # height / width, > 0
    context_scale: Range = (0.85, 1.0)  # fraction of the patches, of a square block
    # patches of the smallest context; the reference wants more, and of every target block too
    min_keep: int = 10
    overlap: bool = False  # may the context contain patches of targets
    kind: str = "repaired"  # or reference
    context_patches: int = 0  # repaired: thin larger contexts to so many; 0: half of the patches

    def __post_init__(self) -> None:
        if self.kind not in ("repaired", "reference"):
            raise ValueError(
                f"config.masks.kind is {self.kind!r}; it takes 'repaired' or 'reference'."
            )
        check_integer("config.masks.grid", self.grid, 2, WORD, GRID_ADVICE)
        check_integer("config.masks.targets", self.targets, 1)
        check_integer("config.masks.min_keep", self.min_keep, 1)
        highest = {"target_scale": 1.0, "context_scale": 1.0, "target_ratio": math.inf}
        for name, most in highest.items():
            value = as_range(f"config.masks.{name}", getattr(self, name), most)
            object.__setattr__(self, name, value)
        for block in ("target", "context"):
            self._check_smallest(block)
        if self.context_patches and self.reference:
            raise ValueError(
                "config.masks.context_patches is for kind 'repaired': use 0 with kind 'reference'."
            )
        if self.context_patches:
            name = "config.masks.context_patches"
            check_integer(name, self.context_patches, self.min_keep, self.patches)

    @property
    def patches(self) -> int:
        return self.grid**2

    @property
    def reference(self) -> bool:
        return self.kind == "reference"

    @property
    def reach(self) -> int:
        return self.grid - self.reference  # rows and columns in use

    @property
    def target_length(self) -> int:
        return int(self.block_sizes("target").prod(axis=1).max())  # padded to the largest block

    @property
    def context_length(self) -> int:
        kept = self.context_patches or max(self.min_keep, -(-self.patches // 2))
        if self.reference:
            kept = self.patches
        return min(kept, int(self.block_sizes("context").prod(axis=1).max()))

    def shape(self, block: str) -> tuple[Range, Range]:
        """Return the scale and ratio of a block, "target" or "context"."""
        if block == "target":
            return self.target_scale, self.target_ratio
        return self.context_scale, (1.0, 1.0)

    def block_sizes(self, block: str) -> np.ndarray:
        """Return every height and width `[n, 2]` that a block, "target" or "context", can have."""
        scale, ratio = self.shape(block)
        numbers = np.arange(int(scale[0] * self.patches), int(scale[1] * self.patches) + 1.0)
        patches = numbers[:, None]
        low, high = np.full_like(patches, ratio[0]), np.full_like(patches, ratio[1])
        if self.reference and scale[0] < scale[1]:
            # One draw gives both: not every ratio comes with every number of patches.
            scales = np.stack([patches, patches + 1]) / self.patches
            ends = ((scales - scale[0]) / (scale[1] - scale[0])).clip(0, 1)
            low, high = ratio[0] + ends * (ratio[1] - ratio[0])
        # A side changes where it is a whole number and a half, and is constant in between.
        halves = np.square(np.arange(self.grid + 1) + 0.5)
        changes = [low, high, halves / np.maximum(patches, 1), patches / halves]
        ratios = np.sort(np.concatenate(changes, axis=1).clip(low, high), axis=1)
        sizes = _sides(patches, (ratios[:, 1:] + ratios[:, :-1]) / 2, self.reach)
        return np.unique(np.stack(sizes, axis=-1).reshape(-1, 2), axis=0)

    def _check_smallest(self, block: str) -> None:
        smallest = int(self.block_sizes(block).prod(axis=1).min())
        fact = (
            f"on a grid of {self.grid} x {self.grid} patches a {block} block can have as few as "
            f"{smallest}"
        )
        most, needs = (smallest - 1, "more than") if self.reference else (smallest, "at least")
        if most < 1:
            raise ValueError(
                f"config.masks.{block}_scale is {self.shape(block)[0]}, but {fact}: "
                "use larger scales or smaller patches."
            )
        if self.min_keep > most and (self.reference or block == "context"):
            raise ValueError(
                f"config.masks.min_keep is {self.min_keep}, but {fact}, and needs {needs} "
                f"min_keep: use min_keep of at most {most}, larger scales or smaller patches."
            )


class MultiBlockMasks(NamedTuple):
    """Ascending row-major patch numbers, int32, padded with 0; entries in use (bool) come first."""

    context: jax.Array  # [B, context_length]
    context_used: jax.Array
    targets: jax.Array  # [B, T, target_length]
    targets_used: jax.Array


@dataclass(frozen=True)
class BlockWise:
    """BEiT's masks: add blocks until `count` patches are masked, or ten attempts in a row failed.

    A block never reaches from border to border. Raises ValueError for values that cannot be met.
    """

    grid: int  # patches per side of the square image, at most 32
    count: int  # patches to be masked
    min_block: int = 16  # patches of a block
    max_block: int = 0  # likewise; 0: all patches
    min_ratio: float = 0.3  # height / width is log-uniform in (min_ratio, 1 / min_ratio)

    def __post_init__(self) -> None:
        check_integer("config.masks.grid", self.grid, 2, WORD, GRID_ADVICE)
        check_integer("config.masks.count", self.count, 1, self.grid**2 - 1)
        largest = min(self.count, (self.grid - 1) ** 2)
        check_integer("config.masks.min_block", self.min_block, 1, largest)
        if self.max_block:
            check_integer("config.masks.max_block", self.max_block, self.min_block, self.grid**2)
        if not isinstance(self.min_ratio, (int, float)) or not 0 < self.min_ratio <= 1:
            raise ValueError(
                f"config.masks.min_ratio is {self.min_ratio!r}; it must be above 0 and at most 1."
            )

    @property
    def attempts(self) -> int:
        """Attempts per image, so that fewer than 1 image in 10^4 would make more."""
        patches = self.grid**2
        blocks = 24 + 1.2 * patches / (self.max_block or patches)
        return math.ceil(25 + self.grid / 2 - blocks * math.log1p(-self.count / patches))


def draw_masks(
    key: jax.Array, batch: int, recipe: MultiBlock | BlockWise
) -> MultiBlockMasks | jax.Array:
    """Draw the masks of a batch of images: `multi_block` or `block_wise`, as the recipe says."""
    if isinstance(recipe, MultiBlock):
        return multi_block(key, batch, recipe)
    return block_wise(key, batch, recipe)


@partial(jax.jit, static_argnames=("batch", "recipe"))
def multi_block(key: jax.Array, batch: int, recipe: MultiBlock) -> MultiBlockMasks:
    """Draw I-JEPA's masks of a batch of images (Assran et al. 2023, section 3)."""
    reference, number = recipe.reference, recipe.targets
    constraints = 0 if recipe.overlap else number
    # One try is enough where all are the same: repaired keeps the block's place, and the
    # reference's usual block has only one place.
    tries = TRIES if reference and (recipe.block_sizes("context") < recipe.reach).any() else 1
    candidates = tries * constraints + 1 if tries > 1 else 1
    draws = jax.random.uniform(key, (batch, 2 * number + candidates + 2, 2), jnp.float32)
    ends = [number + candidates, 2 * number + candidates + 1]
    places, sizes, thinning = jnp.split(draws, ends, axis=1)
    if reference:  # the first image's sizes are those of all, its first target's of all targets
        sizes = sizes[:1, -2:]

    def blocks(block: str, size: jax.Array, place: jax.Array) -> list[jax.Array]:
        area, aspect = size[..., 0], size[..., 0 if reference else 1]
        height, width = block_size(area, aspect, *recipe.shape(block), recipe.grid, recipe.reach)
        top = _whole(place[..., 0], recipe.reach - height + 1)
        left = _whole(place[..., 1], recipe.reach - width + 1)
        return jnp.broadcast_arrays(top, left, height, width)

    targets = blocks("target", sizes[:, :-1], places[:, :number])
    context = _rows(blocks("context", sizes[:, -1:], places[:, number:]), recipe.grid)
    forbidden = _rows(targets, recipe.grid)[:, :constraints]
    context = _constrain(context, forbidden, tries, recipe.min_keep + reference)
    ranks, used = _ranks(thinning[:, 0, :1], _count(context), recipe)
    chosen = jnp.where(used, _select(context, ranks), 0)
    return MultiBlockMasks(chosen, used, *_list(targets, recipe.grid, recipe.target_length))


def block_size(
    area: Any, aspect: Any, scale: Range, ratio: Range, grid: int, largest: int
) -> tuple[Any, Any]:
    """Return height and width in patches, at most `largest`, from two arrays of draws in [0, 1)."""
    patches = ((scale[0] + area * (scale[1] - scale[0])) * grid**2).astype(np.int32)
    return _sides(patches, ratio[0] + aspect * (ratio[1] - ratio[0]), largest)


def _sides(patches: Any, ratio: Any, largest: int) -> tuple[Any, Any]:
    """Rounded half to even, as by Python's round; NumPy arrays give NumPy arrays."""
    height, width = ((patches * ratio) ** 0.5).round(), ((patches / ratio) ** 0.5).round()
    return height.clip(max=largest).astype(np.int32), width.clip(max=largest).astype(np.int32)


def _whole(draw: jax.Array, choices: jax.Array) -> jax.Array:
    """A whole number in [0, choices); the product of a float32 below 1 can round up to it."""
    return jnp.minimum((draw * choices).astype(jnp.int32), choices - 1)


def _rows(blocks: list[jax.Array], grid: int) -> jax.Array:
    """Blocks (top, left, height, width) as words `[..., grid]`, one per row: bit c is column c."""
    top, left, height, width = (field[..., None] for field in blocks)
    columns = jnp.uint32(0xFFFFFFFF) >> (WORD - width).astype(jnp.uint32) << left.astype(jnp.uint32)
    row = np.arange(grid)
    return jnp.where((row >= top) & (row < top + height), columns, jnp.uint32(0))


def _count(rows: jax.Array) -> jax.Array:
    """The number of patches in words `[..., grid]`."""
    return jax.lax.population_count(rows).sum(axis=-1, dtype=jnp.int32)


def _list(blocks: list[jax.Array], grid: int, length: int) -> tuple[jax.Array, jax.Array]:
    """The patches of blocks, `[..., length]`, and which entries are used."""
    top, left, height, width = (field[..., None] for field in blocks)
    entry = jnp.arange(length, dtype=jnp.int32)
    row = ((entry + 0.5) / width).astype(jnp.int32)
    used = entry < height * width
    return jnp.where(used, (top + row) * grid + left + entry - row * width, 0), used


def _constrain(candidates: jax.Array, targets: jax.Array, tries: int, least: int) -> jax.Array:
    """The first candidate of which the targets `[B, T, grid]` leave `least` patches, without them.

    After every `tries` candidates one target less counts, the last in the list first. One candidate
    may be all of them.
    """
    forbidden = [jnp.zeros_like(candidates[:, 0])]
    for number in range(targets.shape[1]):
        forbidden.append(forbidden[-1] | targets[:, number])
    stages = jnp.repeat(jnp.stack(forbidden[::-1], axis=1), tries, axis=1)
    remaining = candidates & ~stages[:, : tries * targets.shape[1] + 1]
    order = np.arange(remaining.shape[1])
    first = jnp.where(_count(remaining) >= least, order, order[-1]).min(axis=1, keepdims=True)
    return jnp.where((order == first)[..., None], remaining, 0).sum(axis=1, dtype=jnp.uint32)


def _ranks(start: jax.Array, count: jax.Array, recipe: MultiBlock) -> tuple[jax.Array, jax.Array]:
    """The ranks `[B, K]` of the patches that contexts of `count` `[B]` keep, and which are used."""
    length, count = recipe.context_length, count[:, None]
    ranks = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (len(count), length))
    if recipe.reference:
        return ranks, ranks < count.min()
    # Systematic sampling: K of n patches, each with probability K / n.
    spread = jnp.minimum(((ranks + start) * (count / length)).astype(jnp.int32), count - 1)
    return jnp.where(count > length, spread, ranks), ranks < count


def _select(rows: jax.Array, ranks: jax.Array) -> jax.Array:
    """The patches `[B, K]` that come `ranks`-th, row by row, in words `[B, grid]`."""
    counts = jax.lax.population_count(rows).astype(jnp.int32)
    passed = ranks[..., None] >= jnp.cumsum(counts, axis=1, dtype=jnp.int32)[:, None]
    row = passed.sum(axis=-1, dtype=jnp.int32)
    rank = ranks - (passed * counts[:, None]).sum(axis=-1, dtype=jnp.int32)
    here = row[..., None] == np.arange(rows.shape[1])
    word = jnp.where(here, rows[:, None], 0).sum(axis=-1, dtype=jnp.uint32)
    column = jnp.zeros_like(ranks)
    for half in (16, 8, 4, 2, 1):  # bisection for the bit of this rank in its word
        low = jax.lax.population_count(word & ((1 << half) - 1)).astype(jnp.int32)
        beyond = rank >= low
        rank = rank - beyond * low
        column = column + beyond * half
        word = jnp.where(beyond, word >> half, word)
    return row * rows.shape[1] + column


@partial(jax.jit, static_argnames=("batch", "recipe"))
def block_wise(key: jax.Array, batch: int, recipe: BlockWise) -> jax.Array:
    """Draw BEiT's masks bool `[B, patches]`, True = masked (Bao et al. 2022, algorithm 1)."""
    grid = recipe.grid

    def attempt(
        state: tuple[jax.Array, jax.Array, jax.Array], draws: jax.Array
    ) -> tuple[Any, None]:
        rows, masked, failures = state
        most = jnp.minimum(recipe.count - masked, recipe.max_block or grid**2)
        # With fewer than min_block missing, areas lie between the two, as by random.uniform.
        area = recipe.min_block + draws[0] * (most - recipe.min_block)
        height, width = _sides(area, jnp.exp((1 - 2 * draws[1]) * math.log(recipe.min_ratio)), grid)
        top, left = _whole(draws[2], grid - height + 1), _whole(draws[3], grid - width + 1)
        block = _rows([top, left, height, width], grid)
        new = _count(block & ~rows)
        inside = (height < grid) & (width < grid)
        accepted = inside & (new > 0) & (new <= most) & (failures < FAILURES)
        rows = jnp.where(accepted[:, None], rows | block, rows)
        return (rows, masked + accepted * new, jnp.where(accepted, 0, failures + 1)), None

    # All draws come before the loop, where they are twice as quick.
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(4 * recipe.attempts))
    draws = jax.vmap(lambda key: jax.random.uniform(key, (batch,), jnp.float32))(keys)
    none = jnp.zeros(batch, jnp.int32)
    start = (jnp.zeros((batch, grid), jnp.uint32), none, none)
    (rows, _, _), _ = jax.lax.scan(attempt, start, draws.reshape(-1, 4, batch))
    bits = rows[..., None] >> jnp.arange(grid, dtype=jnp.uint32) & 1
    return bits.astype(bool).reshape(batch, grid**2)
