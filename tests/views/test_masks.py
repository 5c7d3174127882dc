"""Masks: the reference's sizes and statistics, what "repaired" repairs, sharding, error texts.

Both sides of a comparison with stored statistics are random: differences are counted in standard
errors.
"""

import dataclasses
import math
import re
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sslx.views.masks import BlockWise, MultiBlock, block_size, block_wise, draw_masks, multi_block

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(11)
COLLATORS = ["14_b1", "14_b64", "8_b1", "8_b64"]
SIZES = {14: {(5, 6), (6, 5), (6, 6), (7, 5), (8, 5)}, 8: {(3, 3), (4, 3)}}


def load(case):
    return np.load(f"tests/golden/{case}.npz", allow_pickle=False)


def assert_close_in_distribution(samples, mean, count):
    """The mean of samples `[n, ...]` equals another mean `[...]` of `count` samples, up to the
    chance of both.
    """
    error = np.std(samples, axis=0) * math.sqrt(1 / len(samples) + 1 / count)
    distance = np.abs(np.mean(samples, axis=0) - mean)
    assert np.all((error > 0) | (distance == 0))
    scores = distance / np.where(error > 0, error, 1.0)
    if scores.ndim == 0:
        assert scores < 3, f"{scores:.1f} standard errors"
    else:
        assert np.mean(scores < 3) >= 0.99
        assert scores.max() < 5


def grids(patches, used, cells):
    """Which cells are among the used entries, `[..., K]` -> bool `[..., cells]`; these come first,
    the others are 0.
    """
    assert (patches.dtype, used.dtype) == (np.int32, bool)
    assert np.all(used[..., :-1] >= used[..., 1:])
    assert np.all(patches[~used] == 0)
    assert np.all((np.diff(patches) > 0) | ~used[..., 1:])  # in order, none twice
    marked = np.zeros((math.prod(used.shape[:-1]), cells + 1), bool)
    np.put_along_axis(marked, np.where(used, patches, cells).reshape(len(marked), -1), True, axis=1)
    return marked[:, :-1].reshape(*used.shape[:-1], cells)


@lru_cache
def many(recipe, batch, count, seed=2):
    """Contexts `[count, B, patches]` and targets `[count, B, T, patches]` of batches, each with its
    own key.
    """
    keys = jax.random.split(jax.random.key(seed), count)
    masks = jax.jit(jax.vmap(lambda key: multi_block(key, batch, recipe)))(keys)
    context, context_used, targets, targets_used = (np.asarray(array) for array in masks)
    return grids(context, context_used, recipe.patches), grids(
        targets, targets_used, recipe.patches
    )


@pytest.mark.parametrize(("case", "grid"), [("a", 14), ("b", 8)])
def test_block_sizes_are_the_references(case, grid):
    golden = load(f"ijepa_blocksize_{case}")
    for draw in (golden["in.u"], jnp.asarray(golden["in.u"], jnp.float32)):
        target = block_size(draw, draw, (0.15, 0.2), (0.75, 1.5), grid, grid - 1)
        np.testing.assert_array_equal(np.stack(target, axis=1), golden["ijepa.pred_hw"])
        context = block_size(draw, draw, (0.85, 1.0), (1.0, 1.0), grid, grid - 1)
        np.testing.assert_array_equal(np.stack(context, axis=1), golden["ijepa.enc_hw"])


@pytest.mark.parametrize("kind", ["repaired", "reference"])
@pytest.mark.parametrize(
    "shape", [(14, (0.15, 0.2), (0.75, 1.5)), (9, (0.1, 0.3), (0.3, 3.0)), (8, (0.2, 0.2), (1, 2))]
)
def test_the_possible_sizes_are_those_that_are_drawn(kind, shape):
    grid, scale, ratio = shape
    recipe = MultiBlock(grid, target_scale=scale, target_ratio=ratio, kind=kind, min_keep=2)
    area, aspect = np.random.default_rng(0).random((2, 200_000))
    drawn = block_size(
        area, area if kind == "reference" else aspect, scale, ratio, grid, recipe.reach
    )
    assert hash(recipe) == hash(dataclasses.replace(recipe, target_scale=list(scale)))
    possible = {tuple(size) for size in recipe.block_sizes("target")}
    assert {tuple(size) for size in np.stack(drawn, axis=1)} == possible
    assert recipe.target_length == max(height * width for height, width in possible)
    if kind == "reference" and grid == 14:
        assert possible == SIZES[14]


@pytest.mark.parametrize("case", COLLATORS)
def test_reference_masks_are_distributed_as_the_collator_s(case):
    golden, grid, batch = (
        load(f"ijepa_collator_{case}"),
        int(case.split("_")[0]),
        int(case.split("_b")[1]),
    )
    recipe = MultiBlock(grid, min_keep={14: 10, 8: 4}[grid], kind="reference")
    count = 10_000 if batch == 1 else 300
    context, targets = many(recipe, batch, count)
    sizes = context.sum(-1)
    assert np.all(sizes == sizes[:, :1])  # truncated to the batch's smallest
    for power in (1, 2):
        histogram = golden["ijepa.context_len_hist"]
        expected = (histogram * np.arange(len(histogram)) ** power).sum() / histogram.sum()
        assert_close_in_distribution(sizes[:, 0] ** power, expected, histogram.sum())
    union = targets.any(axis=2)
    theirs = golden["ijepa.context_len_hist"].sum()
    assert_close_in_distribution(
        union.sum(-1).mean(axis=1), golden["ijepa.union_targets_mean_std"][0], theirs
    )
    before = (grid - 1) ** 2 - union.sum(-1)
    assert np.all(sizes[:, 0] == before.min(axis=1))
    expected = golden["ijepa.context_len_before_truncation_mean_std_min_max"][0]
    assert_close_in_distribution(before.mean(axis=1), expected, theirs)
    length = targets.sum(-1)
    assert np.all(length == length[:, :1, :1])  # one size per batch
    assert set(np.unique(length)) == {height * width for height, width in SIZES[grid]}
    for size in np.unique(length):
        assert_close_in_distribution(
            length[:, 0, 0] == size, golden["ijepa.target_len_hist"][size] / theirs, theirs
        )
    for name, cells in (("context", context.mean(axis=1)), ("target", targets.mean(axis=(1, 2)))):
        cells = cells.reshape(-1, grid, grid)
        assert_close_in_distribution(cells, golden[f"ijepa.{name}_cell_freq"], theirs)
        assert cells[:, -1].max() == cells[:, :, -1].max() == 0
    assert not np.any(context & union)


def collator(rng, recipe):
    """The reference for one image: its context `[grid, grid]`, the targets that it touches, and the
    retries.
    """

    def size(block):
        draw = np.float64(rng.random())
        return block_size(draw, draw, *recipe.shape(block), recipe.grid, recipe.grid - 1)

    def place(height, width):
        mask = np.zeros((recipe.grid, recipe.grid), bool)
        top, left = rng.integers(0, recipe.grid - height), rng.integers(0, recipe.grid - width)
        mask[top : top + height, left : left + width] = True
        return mask

    target, context = size("target"), size("context")
    targets = [place(*target) for _ in range(recipe.targets)]
    for tries in range(20 * recipe.targets + 1):
        candidate = place(*context)
        for other in targets[: len(targets) - tries // 20]:
            candidate &= ~other
        if candidate.sum() > recipe.min_keep:
            break
    return candidate, [np.any(candidate & other) for other in targets], tries


def test_the_reference_tries_twenty_places_and_then_gives_back_the_last_target():
    recipe = MultiBlock(8, context_scale=(0.3, 0.5), min_keep=8, kind="reference")
    rng, theirs = np.random.default_rng(3), 1500
    expected = [collator(rng, recipe) for _ in range(theirs)]
    assert np.mean([tries >= 20 for *_, tries in expected]) > 0.02  # the case at hand
    context, targets = (masks[:, 0] for masks in many(recipe, 1, 4000))
    assert context.sum(-1).min() > recipe.min_keep
    assert_close_in_distribution(
        context.sum(-1), np.mean([mask.sum() for mask, *_ in expected]), theirs
    )
    cells = context.reshape(-1, 8, 8)
    assert_close_in_distribution(cells, np.mean([mask for mask, *_ in expected], axis=0), theirs)
    given_back = np.any(context[:, None] & targets, axis=-1)
    assert_close_in_distribution(
        given_back[:, -1], np.mean([back[-1] for _, back, _ in expected]), theirs
    )
    assert given_back[:, -1].mean() > 1.3 * given_back[:, -2].mean() > 0


def test_repaired_draws_every_block_on_its_own_and_over_the_whole_grid():
    recipe = MultiBlock(8)
    context, targets = (masks[:, 0] for masks in many(recipe, 1, 10_000))
    assert context.mean(axis=0).min() > 0.05
    assert (
        recipe.min_keep
        == context.sum(-1).min()
        < context.sum(-1).max()
        == recipe.context_length
        == 32
    )
    blocks, draws = targets.reshape(-1, 8, 8), np.random.default_rng(0).random((2, 200_000))
    heights, widths = blocks.any(axis=2).sum(1), blocks.any(axis=1).sum(1)
    tall, wide = block_size(*draws, (0.15, 0.2), (0.75, 1.5), 8, 8)
    for height, width in recipe.block_sizes("target"):
        drawn, expected = (
            (heights == height) & (widths == width),
            np.mean((tall == height) & (wide == width)),
        )
        assert_close_in_distribution(drawn, expected, draws.shape[1])
    assert abs(np.corrcoef((heights * widths).reshape(-1, 4).T) - np.eye(4)).max() < 0.04
    for sizes, starts in (
        (heights, blocks.any(axis=2).argmax(1)),
        (widths, blocks.any(axis=1).argmax(1)),
    ):
        for size in np.unique(sizes):
            places = np.bincount(
                starts[sizes == size], minlength=8 - size + 1
            )  # up to the last row and column
            assert np.all(abs(places - places.mean()) < 5 * np.sqrt(places.mean()))


def test_repaired_gives_back_the_last_targets_first():
    recipe = MultiBlock(6, 6, (0.3, 0.5), context_scale=(1.0, 1.0), min_keep=9, context_patches=36)
    context, targets = (masks[:, 0] for masks in many(recipe, 1, 2000))
    levels = []
    for mask, blocks in zip(context, targets, strict=True):
        level = next(
            kept for kept in range(6, -1, -1) if (~blocks[:kept].any(0)).sum() >= recipe.min_keep
        )
        np.testing.assert_array_equal(mask, ~blocks[:level].any(0))
        levels.append(level)
    assert len(set(levels)) >= 4


def test_thinning_keeps_every_patch_with_the_same_probability():
    recipe = MultiBlock(8, overlap=True, context_scale=(1.0, 1.0), context_patches=23)
    context = many(recipe, 1, 10_000)[0][:, 0]
    assert np.all(context.sum(-1) == 23)
    frequency, expected = context.mean(0), 23 / 64  # of all patches, those of targets too
    assert abs(frequency - expected).max() < 4.5 * math.sqrt(
        expected * (1 - expected) / len(context)
    )


def test_thinning_chooses_among_the_context():
    whole, thinned = (many(MultiBlock(8, context_patches=k), 1, 5000)[0][:, 0] for k in (64, 16))
    assert np.all(whole >= thinned)
    np.testing.assert_array_equal(thinned.sum(1), np.minimum(whole.sum(1), 16))
    unchanged = whole.sum(1) <= 16
    np.testing.assert_array_equal(whole[unchanged], thinned[unchanged])
    assert 0.01 < unchanged.mean() < 0.99


@pytest.mark.parametrize(
    ("case", "recipe"), [("a", BlockWise(14, 120)), ("b", BlockWise(8, 38, 4))]
)
def test_block_wise_masks_are_distributed_as_beit_s(case, recipe):
    golden, theirs = load(f"data2vec_blockmask_{case}"), 8000
    masks = np.asarray(block_wise(KEY, 16_000, recipe))
    assert (masks.shape, masks.dtype) == ((16_000, recipe.grid**2), bool)
    count, histogram = masks.sum(1), golden["data2vec_vision.count_hist"]
    assert count.max() == recipe.count
    assert_close_in_distribution(
        count, (histogram * np.arange(len(histogram))).sum() / theirs, theirs
    )
    assert_close_in_distribution(count == recipe.count, histogram[recipe.count] / theirs, theirs)
    assert_close_in_distribution(
        count == recipe.count - 1, histogram[recipe.count - 1] / theirs, theirs
    )
    cells = masks.reshape(-1, recipe.grid, recipe.grid)
    assert_close_in_distribution(cells, golden["data2vec_vision.cell_freq"], theirs)


def test_blocks_of_one_patch_are_single_patches_anywhere():
    dots = np.asarray(block_wise(KEY, 2000, BlockWise(8, 16, 1, 1, 1.0))).reshape(-1, 8, 8)
    assert np.all(dots.sum((1, 2)) == 16)
    touching = (dots[:, 1:] & dots[:, :-1]).sum((1, 2)).mean()
    assert abs(touching - 56 * 16 * 15 / (64 * 63)) < 0.2  # 56 pairs of neighbours


class Longer(BlockWise):
    @property
    def attempts(self):
        return 2 * super().attempts


@pytest.mark.parametrize("fields", [(7, 29), (8, 60, 1)])
def test_no_mask_is_cut_short_by_the_number_of_attempts(fields):
    np.testing.assert_array_equal(
        *(block_wise(KEY, 2000, recipe(*fields)) for recipe in (BlockWise, Longer))
    )


COLLECTIVES = r"(?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
ALL = [MultiBlock(8), MultiBlock(8, min_keep=4, kind="reference"), BlockWise(8, 38, 4)]


@pytest.mark.parametrize("recipe", ALL, ids=["repaired", "reference", "block-wise"])
def test_neither_devices_nor_the_rest_of_the_batch_change_a_mask(recipe):
    few, expected = (jax.tree.leaves(draw_masks(KEY, batch, recipe)) for batch in (2, 16))
    if recipe is not ALL[1]:
        jax.tree.map(
            lambda one, other: np.testing.assert_array_equal(one, other[:2]), few, expected
        )
    for devices in (2, 4):
        rows = NamedSharding(
            Mesh(np.array(jax.devices()[:devices]), ("data",)), PartitionSpec("data")
        )
        program = (
            jax.jit(lambda key: draw_masks(key, 16, recipe), out_shardings=rows)
            .lower(KEY)
            .compile()
        )
        for one, other in zip(jax.tree.leaves(program(KEY)), expected, strict=True):
            assert len(one.sharding.device_set) == devices
            np.testing.assert_array_equal(one, other)
        loops, entry = program.as_text().split("\nENTRY ")
        assert not set(re.findall(COLLECTIVES, loops))
        # Only the reference asks for something of the batch: its sizes and its smallest context.
        assert bool(re.search(COLLECTIVES, entry)) == (recipe is ALL[1])


def test_new_keys_do_not_compile_again():
    for function, recipe in ((multi_block, ALL[0]), (block_wise, ALL[2])):
        draw_masks(KEY, 2, recipe)
        before = function._cache_size()
        masks = [
            jax.tree.leaves(draw_masks(key, 2, recipe))[0] for key in jax.random.split(KEY, 1000)
        ]
        assert function._cache_size() == before
        assert len({np.asarray(mask).tobytes() for mask in masks}) > 900


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"grid": 8, "kind": "reference"},
            "min_keep is 10,.* 8 x 8 .* as few as 9, and needs more than .* at most 8,",
        ),
        (
            {"grid": 14, "min_keep": 170},
            "min_keep is 170,.* context block .* 169, and needs at least .* at most 169,",
        ),
        (
            {"grid": 2, "min_keep": 1},
            "target_scale is .0.15, 0.2.,.* 2 x 2 .* as few as 0: use larger scales",
        ),
        ({"grid": 40}, "grid is 40; .* from 2 to 32 .* the size of the images or of the patches"),
        ({"grid": 14, "targets": 0}, "targets is 0; .* at least 1"),
        ({"grid": 14, "min_keep": 0}, "min_keep is 0; .* at least 1"),
        (
            {"grid": 14, "target_scale": (0.2, 0.15)},
            "target_scale is .0.2, 0.15.; .* low <= high <= 1",
        ),
        (
            {"grid": 14, "context_scale": (0.85, 1.1)},
            "context_scale is .0.85, 1.1.; .* low <= high <= 1",
        ),
        (
            {"grid": 14, "target_ratio": 1.5},
            "target_ratio is 1.5; .*low, high. with 0 < low <= high",
        ),
        ({"grid": 14, "kind": "repair"}, "kind is 'repair'; .* 'repaired' or 'reference'"),
        ({"grid": 14, "context_patches": 9}, "context_patches is 9; .* from 10 to 196"),
        ({"grid": 14, "kind": "reference", "context_patches": 90}, "context_patches .* use 0"),
        ({"grid": 14, "count": 196}, "count is 196; .* from 1 to 195"),
        ({"grid": 4, "count": 15, "min_block": 10}, "min_block is 10; .* from 1 to 9"),
        ({"grid": 14, "count": 120, "max_block": 8}, "max_block is 8; .* from 16 to 196"),
        ({"grid": 14, "count": 120, "min_ratio": 0}, "min_ratio is 0; .* above 0 and at most 1"),
    ],
)
def test_values_that_cannot_be_met_are_named_in_one_line(fields, words):
    with pytest.raises(ValueError, match=rf"^config\.masks\.{words}.*\.$"):
        BlockWise(**fields) if "count" in fields else MultiBlock(**fields)
