"""Cross-entropy over a head's rows, block after block: no whole logits, no whole gradient.

With p = softmax of features [B, D] over all N rows and t the smoothed target, the gradients are
(p - t) W / B by the features and (p - t)^T F / B by the rows. Two passes over the rows suffice: the
first finds each image's softmax denominator, the second forms p - t of a block, adds its part to
the features' gradient, and updates the block. Under a mesh every device has its share of the rows;
per image, the maximum and sum of the exponentials, the image's own logit and the gradient by its
features cross the devices.
"""

from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from sslx.methods.instance_head.rows import Rows, initial_head, with_gradient
from sslx.training.parallel import AXIS

Array = jax.Array
Update = Callable[[Rows, Array, Array], Rows]
# The rows are padded to a multiple of it, so that a checkpoint fits any number of devices that
# divides it.
SHARES = 1024
# Logit of a row that does not count; -inf would make NaN of a block in which none does.
LOWEST = -1e30


def fresh_rows(key: Array, num_rows: int, width: int, *, dtype: str, moments_dtype: str) -> Rows:
    """Draw a new head's rows, padded to a multiple of `SHARES` and split over the mesh.

    The same on any number of devices. Raises ValueError when the devices cannot share them.
    """
    mesh = jax.sharding.get_abstract_mesh()
    devices = 1 if mesh.empty else mesh.size
    if SHARES % devices:
        raise ValueError(
            f"A head's rows are split over 1, 2, 4, ... {SHARES} devices, not {devices}: set "
            "--config.devices."
        )
    share = -(-num_rows // SHARES) * SHARES // devices

    def draw() -> Rows:
        first = jax.lax.axis_index(AXIS) * share if devices > 1 else 0
        weights = initial_head(key, share, width, first=first).astype(dtype)
        zeros = jnp.zeros((share, width), moments_dtype)
        return Rows(weights, zeros, jnp.copy(zeros))

    if not mesh.empty:
        draw = jax.shard_map(draw, in_specs=(), out_specs=PartitionSpec(AXIS), check_vma=False)
    return jax.jit(draw)()


def blockwise_cross_entropy(
    features: Array,
    rows: Rows,
    index: Array,
    update: Update,
    *,
    num_classes: int,
    label_smoothing: float,
    block: int,
) -> tuple[Array, Rows]:
    """Return the mean cross-entropy over all rows, and the rows [R, D] updated.

    It is that of `diet_loss`, of features [B, D] with their rows `index` [B].
    `update(rows [b, D], gradient [b, D], place)` returns a block after its step; `place` is its
    first row's number. Rows above `num_classes` are padding, and stay as they are. The loss can be
    differentiated by the features, with the meaning that it has when it is the loss: the rows have
    been updated all the same. An index that has no row makes it NaN.
    """
    chex.assert_rank([features, index, rows.weights], [2, 1, 2])
    share = partial(
        _share, update=update, classes=num_classes, smoothing=label_smoothing, block=block
    )
    inputs = jax.lax.stop_gradient(features), index, rows
    if jax.sharding.get_abstract_mesh().empty:
        loss, gradient, rows = share(*inputs, axis=None)
    else:
        whole, split = PartitionSpec(), PartitionSpec(AXIS)
        # check_vma follows how values vary over the axis for the sake of derivatives; there are
        # none in here.
        on_every_device = jax.shard_map(
            partial(share, axis=AXIS),
            in_specs=(whole, whole, split),
            out_specs=(whole, whole, split),
            check_vma=False,
        )
        loss, gradient, rows = on_every_device(*inputs)
    return with_gradient(loss, features, gradient), rows


def _share(
    features: Array,
    index: Array,
    rows: Rows,
    *,
    update: Update,
    classes: int,
    smoothing: float,
    block: int,
    axis: str | None,
) -> tuple[Array, Array, Rows]:
    """Loss [], gradient by the features [B, D] and updated rows of one device's share of them."""
    count = len(rows.weights)
    block = min(block, count)
    first = jax.lax.axis_index(axis) * count if axis else 0
    total = partial(jax.lax.psum, axis_name=axis) if axis else lambda x: x

    def visit(rows: Rows, number: Array) -> tuple[Rows, Array, Array, Array]:
        """A block, its start, the places of its rows in the head, and which of them count."""
        # The last block reaches back over rows that have been visited.
        start = jnp.minimum(number * block, count - block)
        place = first + start + jnp.arange(block)
        counts = (place >= first + number * block) & (place < classes)
        rows = Rows(*(jax.lax.dynamic_slice_in_dim(x, start, block) for x in rows))
        return rows, start, place, counts

    def logits(weights: Array, counts: Array) -> Array:
        return jnp.where(counts, features @ weights.astype(features.dtype).T, LOWEST)

    def reduce(number: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        highest, exponentials, own, row_sum = carry
        (weights, _, _), _, place, counts = visit(rows, number)
        values = logits(weights, counts)
        higher = jnp.maximum(highest, values.max(axis=1))
        new = jnp.exp(values - higher[:, None]).sum(axis=1)
        exponentials = exponentials * jnp.exp(highest - higher) + new
        own = own + jnp.where((index[:, None] == place) & counts, values, 0).sum(axis=1)
        row_sum = row_sum + jnp.where(counts[:, None], weights, 0).sum(axis=0, dtype=features.dtype)
        return higher, exponentials, own, row_sum

    def step(number: Array, carry: tuple[Rows, Array]) -> tuple[Rows, Array]:
        rows, gradient = carry
        old, start, place, counts = visit(rows, number)
        weights = old.weights.astype(features.dtype)
        probability = jnp.exp(logits(weights, counts) - denominator[:, None])
        target = smoothing / classes + (1 - smoothing) * (index[:, None] == place)
        surplus = (probability - jnp.where(counts, target, 0)) / len(index)

        def changed(old: Rows) -> Rows:
            new = update(old, surplus.T @ features, place[0])
            return Rows(*(jnp.where(counts[:, None], x, y) for x, y in zip(new, old, strict=True)))

        # Beside skipping mere padding, the branch keeps XLA from reading a block while it writes
        # it: it would copy all the rows for that, in every block.
        new = jax.lax.cond(counts.any(), changed, lambda old: old, old)
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        rows = Rows(*(put(x, y) for x, y in zip(rows, new, strict=True)))
        return rows, gradient + surplus @ weights

    blocks = -(-count // block)
    zeros = jnp.zeros_like(features)
    lowest = jnp.full_like(features[:, 0], LOWEST)
    carry = lowest, zeros[:, 0], zeros[:, 0], zeros[0]
    highest, exponentials, own, row_sum = jax.lax.fori_loop(0, blocks, reduce, carry)
    overall = jax.lax.pmax(highest, axis) if axis else highest
    denominator = overall + jnp.log(total(exponentials * jnp.exp(highest - overall)))
    own = jnp.where((index >= 0) & (index < classes), total(own), jnp.nan)
    mean = features @ total(row_sum) / classes
    loss = jnp.mean(denominator - (1 - smoothing) * own - smoothing * mean)
    rows, gradient = jax.lax.fori_loop(0, blocks, step, (rows, zeros))
    return loss, total(gradient), rows
