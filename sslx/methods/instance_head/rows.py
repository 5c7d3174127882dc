"""AdamW on the rows of a head by their method: block after block, or only on a batch's rows.

Dense AdamW moves a row also in the steps in which its gradient is zero: its moments fade, and until
they have, they carry it on (nine times as far as the step that filled them), while weight decay
goes on for good. A row that is left alone must therefore repeat these steps when it is needed
again. They shrink by b1 / sqrt(b2) each time: after 128 of them, with the usual betas, 1.5e-6 of
the row's way is left. The rest of the steps is decay, which has a closed form.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sslx.data.order import steps_per_epoch
from sslx.training.optim import REST, decays, group_of, parameter_groups
from sslx.training.schedules import Durations, learning_rate

Array = jax.Array
DRAWN = 1024  # rows of a fresh head that are drawn at a time
SPAN = 64  # steps between the entries of the table of decays
CUT_OFF = 1.5e-6  # of a row's way; 128 repeated steps with betas 0.9 and 0.999
PLAIN = (  # what `row_adamw` needs, in the words of the command line
    "--config.optimizer.name=adamw with a constant decay (.weight_decay_end=-1), no group in "
    ".groups for the path 'head', .clip_tensor_norm=0 and .clip_norm=0"
)


class Rows(NamedTuple):
    """Rows of a head [R, D] with AdamW's two moments, each in its own dtype."""

    weights: Array
    mean: Array
    square: Array


@dataclass(frozen=True)
class RowAdamW:
    """optax.adamw for `Rows`; steps count from 0, and `total` is the run's last."""

    rate: optax.Schedule
    total: int
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def update(self, rows: Rows, gradient: Array | float, step: Array) -> Rows:
        """Return the rows [R, D] after training step `step`, in the gradient's dtype.

        `step` is one number for all rows, or one per row [R].
        """
        step = jnp.asarray(step)[..., None]
        mean = self.b1 * rows.mean + (1 - self.b1) * gradient
        square = self.b2 * rows.square + (1 - self.b2) * gradient**2
        deviation = jnp.sqrt(square / (1 - self.b2 ** (step + 1))) + self.eps
        change = mean / (1 - self.b1 ** (step + 1)) / deviation + self.weight_decay * rows.weights
        return Rows(rows.weights - self.rate(step) * change, mean, square)

    def catch_up(self, rows: Rows, done: Array, step: Array) -> Rows:
        """Return rows [R, D] without a gradient since `done` [R] updates as dense AdamW has them.

        Exact up to `repeated` missed steps before `step`; beyond them the error is about `CUT_OFF`
        of the rows' change.
        """
        moving = jnp.any(rows.mean != 0, axis=1)  # rows that never had a gradient only decay
        repeats = jnp.minimum(jnp.max(jnp.where(moving, step - done, 0)), self.repeated)

        def repeat(number: Array, rows: Rows) -> Rows:
            late = (done + number < step)[:, None]
            moved = self.update(rows, 0.0, done + number)
            return Rows(*(jnp.where(late, new, old) for new, old in zip(moved, rows, strict=True)))

        rows = jax.lax.fori_loop(0, repeats, repeat, rows)
        done = jnp.minimum(done + repeats, step)
        rest = (step - done)[:, None]
        decay = self._decay(done, step)[:, None]
        return Rows(rows.weights * decay, rows.mean * self.b1**rest, rows.square * self.b2**rest)

    @property
    def repeated(self) -> int:
        """True steps that `catch_up` repeats at most."""
        shrinks = math.log(self.b1 / math.sqrt(self.b2))
        if shrinks >= 0:
            return self.total
        return min(math.ceil(math.log(CUT_OFF) / shrinks), self.total)

    def _decay(self, start: Array, end: Array) -> Array:
        """What weight decay leaves of a weight from `start` to `end` updates done."""
        (high, low), (high_start, low_start) = self._log_decay(end), self._log_decay(start)
        return jnp.exp((high - high_start) + (low - low_start))

    def _log_decay(self, done: Array) -> tuple[Array, Array]:
        """Sum of log(1 - rate * weight decay) over `done` steps, in two parts: one is coarse."""
        high, low = map(jnp.asarray, self._sums)
        entry, done = done // SPAN, jnp.asarray(done)[..., None]
        steps = done // SPAN * SPAN + jnp.arange(SPAN)
        each = jnp.where(steps < done, jnp.log1p(-self.rate(steps) * self.weight_decay), 0)
        return high[entry], low[entry] + each.sum(axis=-1)

    @functools.cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """`_log_decay` after every `SPAN` steps: all steps could outgrow what s-DIET saves."""
        with jax.ensure_compile_time_eval():
            rates = np.asarray(self.rate(jnp.arange(self.total)), np.float64)
        sums = np.concatenate([[0.0], np.cumsum(np.log1p(-rates * self.weight_decay))])[::SPAN]
        high = sums.astype(np.float32)
        return high, (sums - high).astype(np.float32)


def row_adamw(config: Any, num_images: int) -> RowAdamW | None:
    """Make the AdamW of `config.optimizer` for rows; None where it does more than `PLAIN` says."""
    optimizer = config.optimizer
    clips = optimizer.clip_norm or optimizer.clip_tensor_norm
    decay_changes = optimizer.weight_decay_end >= 0
    grouped = group_of("head", parameter_groups(optimizer)) != REST
    if optimizer.name != "adamw" or clips or decay_changes or grouped:
        return None
    epoch = steps_per_epoch(num_images, config.batch_size)
    durations = Durations(config.duration, epoch, config.batch_size)
    head = {"head": jax.ShapeDtypeStruct((num_images, 1), np.float32)}
    return RowAdamW(
        learning_rate(optimizer, durations),
        durations.total,
        optimizer.b1,
        optimizer.b2,
        optimizer.eps,
        optimizer.weight_decay if decays(head, optimizer)["head"] else 0.0,
    )


def initial_rows(key: Array, place: Array, width: int) -> Array:
    """Draw rows `place` [R] of a head [R, width] as torch's linear layer, U(+-1/sqrt(width)).

    Each has its own key, so it can be drawn when it is first needed, wherever it is kept.
    """
    bound = 1 / math.sqrt(width)

    def draw(place: Array) -> Array:
        own = jax.random.fold_in(key, place)
        return jax.random.uniform(own, (width,), minval=-bound, maxval=bound)

    return jax.vmap(draw)(place)


def initial_head(key: Array, num_rows: int, width: int, *, first: Array | int = 0) -> Array:
    """Draw rows `first`, `first + 1`, ... of a head [num_rows, width], in parts to save memory."""
    even = math.gcd(num_rows, DRAWN)
    # Where the last part would be cut, all of them are copied.
    size = even if even >= DRAWN // 16 else DRAWN
    parts = jnp.arange(-(-num_rows // size)) * size + first
    drawn = jax.lax.map(lambda part: initial_rows(key, part + jnp.arange(size), width), parts)
    return drawn.reshape(-1, width)[:num_rows]


def stochastically_rounded(rows: Rows, like: Rows, key: Array) -> Rows:
    """Return the rows in the dtypes of `like`; to bfloat16 up or down at random, keeping the mean.

    Rounded to the nearest, a second moment would never fall again: a step takes 0.1 % of it,
    bfloat16 holds 0.4 %.
    """

    def store(number: int, value: Array, dtype: Any) -> Array:
        if dtype != jnp.bfloat16:
            return value.astype(dtype)
        noise = jax.random.bits(jax.random.fold_in(key, number), value.shape, jnp.uint16)
        bits = jax.lax.bitcast_convert_type(value.astype(jnp.float32), jnp.uint32) + noise
        return jax.lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), jnp.bfloat16)

    pairs = zip(rows, like, strict=True)
    return Rows(*(store(number, x, y.dtype) for number, (x, y) in enumerate(pairs)))


def loss_floor(num_classes: int, label_smoothing: float) -> float:
    """Return the entropy of the smoothed target in nats, a cross-entropy's lowest value."""
    rest = label_smoothing / num_classes
    own = 1 - label_smoothing + rest
    parts = ((1, own), (num_classes - 1, rest))
    return -sum(count * p * math.log(p) for count, p in parts if p and count)


@jax.custom_vjp
def with_gradient(loss: Array, features: Array, gradient: Array) -> Array:
    """Return the loss as a function of the features whose gradient by them is already known."""
    return loss


with_gradient.defvjp(
    lambda loss, features, gradient: (loss, gradient),
    lambda gradient, scale: (None, scale * gradient, None),
)
