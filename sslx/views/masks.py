"""Random masks over the patches of an image: I-JEPA's context and targets, and BEiT's block-wise
masks for data2vec.

A mask depends on its key and on its number in the batch alone, except where the reference has one
size per batch. The batch may be sharded over a mesh: no loop's length depends on the draws, because
a condition over the whole batch would be a collective inside the loop. Patches of a grid are held
as bits, one word per row."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sslx.views.crop import Range

WORD = 32  # bits
TRIES = 20  # the reference's number of places for a context block before it drops a constraint
FAILURES = 10  # attempts in a row after which BEiT's generator gives up
GRID_ADVICE = " patches per side: change the size of the images or of the patches"


@dataclass(frozen=True)
class MultiBlock:
    """I-JEPA's masks: a context block, and target blocks whose patches the context does not
    contain.

    "repaired" draws every size on its own and uses the whole grid. "reference" is the published
    code: one draw gives both scale and ratio, the sizes are the batch's, the last row and column
    are never used, and the contexts are cut to the batch's smallest by dropping their last patches.
    Raises ValueError for values that cannot be met."""

    grid: int  # patches per side of the square image, at most 32
    targets: int = 4
    target_scale: Range = (0.15, 0.2)  # fraction of the patches, in (0, 1]
    target_ratio: Range = (0.75, 1.5)  # height / width, > 0
    context_scale: Range = (0.85, 1.0)  # of a square block
    # patches of the smallest context; the reference wants more, and of every target block too
    min_keep: int = 10
    overlap: bool = False  # may the context contain patches of targets
    kind: str = "repaired"  # or reference
    context_patches: int = (
        0  # repaired: larger contexts are thinned to this many; 0: half of the patches
    )

    def __post_init__(self) -> None:
        if self.kind not in ("repaired", "reference"):
            raise ValueError(
                f"config.masks.kind is {self.kind!r}; it takes 'repaired' or 'reference'."
            )
        _check_integer("grid", self.grid, 2, WORD, GRID_ADVICE)
        _check_integer("targets", self.targets, 1)
        _check_integer("min_keep", self.min_keep, 1)
        for name, highest in (
            ("target_scale", 1.0),
            ("context_scale", 1.0),
            ("target_ratio", math.inf),
        ):
            object.__setattr__(self, name, _range(name, getattr(self, name), highest))
        for block in ("target", "context"):
            self._check_smallest(block)
        if self.context_patches and self.reference:
            raise ValueError(
                "config.masks.context_patches is for kind 'repaired': use 0 with kind 'reference'."
            )
        if self.context_patches:
            _check_integer("context_patches", self.context_patches, self.min_keep, self.patches)

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
        kept = (
            self.patches
            if self.reference
            else self.context_patches or max(self.min_keep, -(-self.patches // 2))
        )
        return min(kept, int(self.block_sizes("context").prod(axis=1).max()))

    def block_sizes(self, block: str) -> np.ndarray:
        """Every height and width `[n, 2]` that a block, "target" or "context", can have."""
        scale, ratio = self.shape(block)
        patches = np.arange(int(scale[0] * self.patches), int(scale[1] * self.patches) + 1.0)[
            :, None
        ]
        low, high = np.full_like(patches, ratio[0]), np.full_like(patches, ratio[1])
        if (
            self.reference and scale[0] < scale[1]
        ):  # one draw: the ratios that come with so many patches
            ends = (np.stack([patches, patches + 1]) / self.patches - scale[0]) / (
                scale[1] - scale[0]
            )
            low, high = ratio[0] + ends.clip(0, 1) * (ratio[1] - ratio[0])
        # A side changes where it is a whole number and a half; between two changes the size is
        # constant.
        halves = np.square(np.arange(self.grid + 1) + 0.5)
        changes = np.concatenate(
            [low, high, halves / np.maximum(patches, 1), patches / halves], axis=1
        )
        changes = np.sort(changes.clip(low, high), axis=1)
        sizes = _sides(patches, (changes[:, 1:] + changes[:, :-1]) / 2, self.reach)
        return np.unique(np.stack(sizes, axis=-1).reshape(-1, 2), axis=0)

    def shape(self, block: str) -> tuple[Range, Range]:
        """The scale and ratio of a block, "target" or "context"."""
        return (
            (self.target_scale, self.target_ratio)
            if block == "target"
            else (self.context_scale, (1.0, 1.0))
        )

    def _check_smallest(self, block: str) -> None:
        smallest = int(self.block_sizes(block).prod(axis=1).min())
        given = (
            f"on a grid of {self.grid} x {self.grid} patches a {block} block can have as few as "
            f"{smallest}"
        )
        most, needs = (smallest - 1, "more than") if self.reference else (smallest, "at least")
        advice = "larger scales or smaller patches."
        if most < 1:
            raise ValueError(
                f"config.masks.{block}_scale is {self.shape(block)[0]}, but {given}: use {advice}"
            )
        if self.min_keep > most and (self.reference or block == "context"):
            cause = (
                f"config.masks.min_keep is {self.min_keep}, but {given}, and needs {needs} min_keep"
            )
            raise ValueError(f"{cause}: use min_keep of at most {most}, {advice}")


class MultiBlockMasks(NamedTuple):
    """Ascending row-major patch numbers, int32, padded with 0; entries that are used come first,
    bool.
    """

    context: jax.Array  # [B, context_length]
    context_used: jax.Array
    targets: jax.Array  # [B, T, target_length]
    targets_used: jax.Array


@dataclass(frozen=True)
class BlockWise:
    """BEiT's masks: blocks are added until `count` patches are masked, or ten attempts in a row
    have failed.

    A block never reaches from border to border. Raises ValueError for values that cannot be met.
    """

    grid: int  # patches per side of the square image, at most 32
    count: int  # patches to be masked
    min_block: int = 16  # patches of a block
    max_block: int = 0  # likewise; 0: all patches
    min_ratio: float = 0.3  # height / width is log-uniform in (min_ratio, 1 / min_ratio)

    def __post_init__(self) -> None:
        _check_integer("grid", self.grid, 2, WORD, GRID_ADVICE)
        _check_integer("count", self.count, 1, self.grid**2 - 1)
        _check_integer("min_block", self.min_block, 1, min(self.count, (self.grid - 1) ** 2))
        if self.max_block:
            _check_integer("max_block", self.max_block, self.min_block, self.grid**2)
        if not isinstance(self.min_ratio, (int, float)) or not 0 < self.min_ratio <= 1:
            raise ValueError(
                f"config.masks.min_ratio is {self.min_ratio!r}; it must be above 0 and at most 1."
            )

    @property
    def attempts(self) -> int:
        """Attempts per image, fitted so that fewer than 1 image in 10^4 would make more; 56 for 120
        of 14 x 14.
        """
        patches = self.grid**2
        blocks = 24 + 1.2 * patches / (self.max_block or patches)
        return math.ceil(25 + self.grid / 2 - blocks * math.log1p(-self.count / patches))


def draw_masks(
    key: jax.Array, batch: int, recipe: MultiBlock | BlockWise
) -> MultiBlockMasks | jax.Array:
    """The masks of a batch of images: `multi_block` or `block_wise`, as the recipe says."""
    return (
        multi_block(key, batch, recipe)
        if isinstance(recipe, MultiBlock)
        else block_wise(key, batch, recipe)
    )


@partial(jax.jit, static_argnames=("batch", "recipe"))
def multi_block(key: jax.Array, batch: int, recipe: MultiBlock) -> MultiBlockMasks:
    """I-JEPA's masks of a batch of images (Assran et al. 2023, section 3)."""
    reference, number = recipe.reference, recipe.targets
    constraints = 0 if recipe.overlap else number
    # One try is enough where all are the same: repaired keeps the block, and the reference's usual
    # one has one place.
    tries = TRIES if reference and (recipe.block_sizes("context") < recipe.reach).any() else 1
    candidates = tries * constraints + 1 if tries > 1 else 1
    draws = jax.random.uniform(key, (batch, 2 * number + candidates + 2, 2), jnp.float32)
    places, sizes, thinning = jnp.split(
        draws, [number + candidates, 2 * number + candidates + 1], axis=1
    )
    if reference:  # the sizes of the first image for all images; for the targets its first target's
        sizes = sizes[:1, -2:]

    def blocks(block: str, size: jax.Array, place: jax.Array) -> list[jax.Array]:
        height, width = block_size(
            size[..., 0],
            size[..., int(not reference)],
            *recipe.shape(block),
            recipe.grid,
            recipe.reach,
        )
        top, left = (
            _whole(place[..., 0], recipe.reach - height + 1),
            _whole(place[..., 1], recipe.reach - width + 1),
        )
        return jnp.broadcast_arrays(top, left, height, width)

    targets = blocks("target", sizes[:, :-1], places[:, :number])
    context = _rows(blocks("context", sizes[:, -1:], places[:, number:]), recipe.grid)
    context = _constrain(
        context, _rows(targets, recipe.grid)[:, :constraints], tries, recipe.min_keep + reference
    )
    ranks, used = _ranks(thinning[:, 0, :1], _count(context), recipe)
    return MultiBlockMasks(
        jnp.where(used, _select(context, ranks), 0),
        used,
        *_list(targets, recipe.grid, recipe.target_length),
    )


def block_size(
    area: Any, aspect: Any, scale: Range, ratio: Range, grid: int, largest: int
) -> tuple[Any, Any]:
    """Height and width in patches, at most `largest`, from two arrays of draws in [0, 1); the
    reference's are equal.
    """
    patches = ((scale[0] + area * (scale[1] - scale[0])) * grid**2).astype(np.int32)
    return _sides(patches, ratio[0] + aspect * (ratio[1] - ratio[0]), largest)


def _sides(patches: Any, ratio: Any, largest: int) -> tuple[Any, Any]:
    """Rounded half to even, as by Python's round; NumPy arrays give NumPy arrays."""
    height, width = ((patches * ratio) ** 0.5).round(), ((patches / ratio) ** 0.5).round()
    return height.clip(max=largest).astype(np.int32), width.clip(max=largest).astype(np.int32)


def _whole(draw: jax.Array, choices: jax.Array) -> jax.Array:
    """A whole number in 0 ..

    choices - 1; the product of a float32 below 1 can round up to `choices`.
    """
    return jnp.minimum((draw * choices).astype(jnp.int32), choices - 1)


def _rows(blocks: list[jax.Array], grid: int) -> jax.Array:
    """Blocks (top, left, height, width), each `[...]`, as words `[..., grid]`: one per row, bit c
    is column c.
    """
    top, left, height, width = (field[..., None] for field in blocks)
    columns = jnp.uint32(0xFFFFFFFF) >> (WORD - width).astype(jnp.uint32) << left.astype(jnp.uint32)
    return jnp.where(
        (np.arange(grid) >= top) & (np.arange(grid) < top + height), columns, jnp.uint32(0)
    )


def _count(rows: jax.Array) -> jax.Array:
    """The patches in words `[..., grid]`."""
    return jax.lax.population_count(rows).sum(axis=-1, dtype=jnp.int32)


def _list(blocks: list[jax.Array], grid: int, length: int) -> tuple[jax.Array, jax.Array]:
    """The patches of blocks, `[..., length]`, and which entries are used."""
    top, left, height, width = (field[..., None] for field in blocks)
    entry = jnp.arange(length, dtype=jnp.int32)
    row = ((entry + 0.5) / width).astype(jnp.int32)
    used = entry < height * width
    return jnp.where(used, (top + row) * grid + left + entry - row * width, 0), used


def _constrain(candidates: jax.Array, targets: jax.Array, tries: int, least: int) -> jax.Array:
    """What targets `[B, T, grid]` leave of the first candidate of which they leave `least` patches:
    `[B, grid]`.

    After every `tries` candidates one target less counts, the last in the list first. One candidate
    may be all of them."""
    forbidden = [jnp.zeros_like(candidates[:, 0])]
    for number in range(targets.shape[1]):
        forbidden.append(forbidden[-1] | targets[:, number])
    stages = jnp.repeat(jnp.stack(forbidden[::-1], axis=1), tries, axis=1)
    remaining = candidates & ~stages[:, : tries * targets.shape[1] + 1]
    order = np.arange(remaining.shape[1])
    first = jnp.where(_count(remaining) >= least, order, order[-1]).min(axis=1, keepdims=True)
    return jnp.where((order == first)[..., None], remaining, 0).sum(axis=1, dtype=jnp.uint32)


def _ranks(start: jax.Array, count: jax.Array, recipe: MultiBlock) -> tuple[jax.Array, jax.Array]:
    """Which of its `count` `[B]` patches a context keeps, from 0, `[B, context_length]`; and which
    entries are used.
    """
    length, count = recipe.context_length, count[:, None]
    ranks = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), (len(count), length))
    if recipe.reference:
        return ranks, ranks < count.min()
    # Systematic sampling: K of n patches, each with probability K / n.
    spread = (ranks + start) * (count / length)
    return jnp.where(
        count > length, jnp.minimum(spread.astype(jnp.int32), count - 1), ranks
    ), ranks < count


def _select(rows: jax.Array, ranks: jax.Array) -> jax.Array:
    """The patches `[B, K]` that come `ranks`-th, row by row, in words `[B, grid]`."""
    counts = jax.lax.population_count(rows).astype(jnp.int32)
    passed = ranks[..., None] >= jnp.cumsum(counts, axis=1, dtype=jnp.int32)[:, None]
    row = passed.sum(axis=-1, dtype=jnp.int32)
    rank = ranks - (passed * counts[:, None]).sum(axis=-1, dtype=jnp.int32)
    here = row[..., None] == np.arange(rows.shape[1])
    word, column = (
        jnp.where(here, rows[:, None], 0).sum(axis=-1, dtype=jnp.uint32),
        jnp.zeros_like(ranks),
    )
    for half in (16, 8, 4, 2, 1):
        low = jax.lax.population_count(word & ((1 << half) - 1)).astype(jnp.int32)
        beyond = rank >= low
        rank, column, word = (
            rank - beyond * low,
            column + beyond * half,
            jnp.where(beyond, word >> half, word),
        )
    return row * rows.shape[1] + column


@partial(jax.jit, static_argnames=("batch", "recipe"))
def block_wise(key: jax.Array, batch: int, recipe: BlockWise) -> jax.Array:
    """BEiT's masks bool `[B, patches]` of a batch of images, True = masked (Bao et al.

    2022, algorithm 1).
    """
    grid = recipe.grid

    def attempt(
        state: tuple[jax.Array, jax.Array, jax.Array], draws: jax.Array
    ) -> tuple[Any, None]:
        rows, masked, failures = state
        most = jnp.minimum(recipe.count - masked, recipe.max_block or grid**2)
        # Once fewer than min_block are missing, areas lie between the two, as in Python's
        # random.uniform.
        area = recipe.min_block + draws[0] * (most - recipe.min_block)
        height, width = _sides(area, jnp.exp((1 - 2 * draws[1]) * math.log(recipe.min_ratio)), grid)
        top, left = _whole(draws[2], grid - height + 1), _whole(draws[3], grid - width + 1)
        block = _rows([top, left, height, width], grid)
        new = _count(block & ~rows)
        accepted = (
            (height < grid) & (width < grid) & (new > 0) & (new <= most) & (failures < FAILURES)
        )
        rows = jnp.where(accepted[:, None], rows | block, rows)
        return (rows, masked + accepted * new, jnp.where(accepted, 0, failures + 1)), None

    # All draws come before the loop, where they are twice as quick.
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(4 * recipe.attempts))
    draws = jax.vmap(lambda key: jax.random.uniform(key, (batch,), jnp.float32))(keys).reshape(
        -1, 4, batch
    )
    nothing = (
        jnp.zeros((batch, grid), jnp.uint32),
        jnp.zeros(batch, jnp.int32),
        jnp.zeros(batch, jnp.int32),
    )
    (rows, *_), _ = jax.lax.scan(attempt, nothing, draws)
    return (
        (rows[..., None] >> jnp.arange(grid, dtype=jnp.uint32) & 1)
        .astype(bool)
        .reshape(batch, grid**2)
    )


def _check_integer(
    name: str, value: object, low: int, high: int | None = None, advice: str = ""
) -> None:
    if not isinstance(value, int) or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(
            f"config.masks.{name} is {value!r}; it must be a whole number {allowed}{advice}."
        )


def _range(name: str, values: Any, highest: float) -> Range:
    if (
        not isinstance(values, (tuple, list))
        or len(values) != 2
        or not 0 < values[0] <= values[1] <= highest
    ):
        most = "" if highest == math.inf else f" <= {highest:g}"
        raise ValueError(
            f"config.masks.{name} is {values!r}; it must be (low, high) with 0 < low <= high{most}."
        )
    return float(values[0]), float(values[1])
