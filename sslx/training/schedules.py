"""Durations as text, and what changes over a run: learning rate, weight decay, teacher's momentum.

The reference codes differ by one step here and there; a schedule of this file equals its reference
at every step. All schedules take a step, counted from 0.
"""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sslx.hints import check_choice

Array = jax.Array
SCHEDULES = ("cosine", "linspace", "epochs", "shifted", "tri_phase")


@dataclass(frozen=True)
class Durations:
    """Converts "200 epochs", "5000 steps", "1e6 examples" or "5%" (of `duration`) to steps."""

    duration: str
    steps_per_epoch: int
    batch_size: int

    @property
    def total(self) -> int:
        """Steps of the whole run; raises ValueError when there are none."""
        if "%" in self.duration or not (total := self.steps(self.duration)):
            raise ValueError(
                f"config.duration is {self.duration!r}. "
                'Write "200 epochs", "5000 steps" or "1e6 examples".'
            )
        return total

    def steps(self, text: str) -> int:
        """Convert `text` to steps, at least 1 unless its number is 0; ValueError if it cannot."""
        number = r"\s*(\d+\.?\d*(?:e\d+)?)\s*"
        match = re.fullmatch(rf"{number}(%|steps?|epochs?|examples?)\s*", text)
        if not match:
            raise ValueError(
                f"{text!r} is no duration. "
                'Write "200 epochs", "5000 steps", "1e6 examples" or "5%" of the run.'
            )
        amount, unit = float(match[1]), match[2]
        if unit == "%":
            exact = self.total * amount / 100
        elif unit.startswith("epoch"):
            exact = amount * self.steps_per_epoch
        elif unit.startswith("example"):
            exact = amount * (1 / self.batch_size)
        else:
            exact = amount
        return max(round(exact), 1) if amount else 0


def learning_rate(config: Any, durations: Durations) -> optax.Schedule:
    """Return the rate of `config.optimizer`: a warm-up, then what `config.schedule` names.

    Step 0 of the default has the rate `warmup_start * peak`; with 0 the first update changes
    nothing, as in SimCLR and VICReg. Raises ValueError for an unknown schedule, for a warm-up that
    fills the whole run, and for one where the schedule has none.
    """
    check_choice("config.optimizer.schedule", config.schedule, SCHEDULES)
    peak, total = peak_rate(config, durations.batch_size), durations.total
    warmup = durations.steps(config.warmup)
    start, end = config.warmup_start * peak, config.final * peak
    if warmup >= total:
        raise ValueError(
            f"The warm-up takes {warmup} of the {total} steps. Shorten --config.optimizer.warmup."
        )
    if config.schedule == "epochs":
        if warmup:
            raise ValueError(
                "config.optimizer.schedule=epochs has no warm-up: "
                'set --config.optimizer.warmup="0 steps".'
            )
        return epoch_cosine(peak, end, durations.steps_per_epoch, total)
    if config.schedule == "linspace":
        return linspace_cosine(start, peak, end, warmup, total)
    if config.schedule == "tri_phase":
        cooldown = durations.steps(config.cooldown)
        if warmup + cooldown > total:
            raise ValueError(
                f"Warm-up and cool-down take {warmup} and {cooldown} of the {total} steps. "
                "Shorten --config.optimizer.warmup or .cooldown."
            )
        return tri_phase(start, peak, end, warmup, cooldown, total)
    return _ahead(config, warmup_cosine(start, peak, end, warmup, total))


def peak_rate(config: Any, batch_size: int) -> float:
    """Return the highest rate of `config.optimizer`, scaled by the batch if it has a reference."""
    scale = batch_size / config.reference_batch if config.reference_batch else 1.0
    return config.learning_rate * scale


def weight_decay(config: Any, durations: Durations) -> optax.Schedule | float:
    """Return the decay: a constant, or the cosine to `weight_decay_end` of DINO and I-JEPA."""
    if config.weight_decay_end < 0:
        return config.weight_decay
    return _ahead(config, cosine(config.weight_decay, config.weight_decay_end, durations.total))


def cosine(start: float, end: float, total: int) -> optax.Schedule:
    """Return half a cosine from `start` to `end`: momentum of BYOL's, DINO's teacher (to 1)."""
    return lambda step: _fall(start, end, _number(step) / total)


def linear(start: float, end: float, total: int) -> optax.Schedule:
    """Return a line from `start` to `end` at step `total`: the momentum of I-JEPA's teacher."""
    schedule = optax.linear_schedule(start, end, total)
    return lambda step: schedule(_number(step))


def warmup_cosine(start: float, peak: float, end: float, warmup: int, total: int) -> optax.Schedule:
    """Return a line from `start` to `peak` at step `warmup`, then a cosine to `end` at `total`.

    As in VICReg, Barlow Twins, BYOL, SimCLR (whose `total` is N * epochs // B + 1) and, one step
    ahead, I-JEPA.
    """
    schedule = optax.cosine_decay_schedule(peak, total - warmup, alpha=end / peak if peak else 0.0)
    if warmup:
        rise = optax.linear_schedule(start, peak, warmup)
        schedule = optax.join_schedules([rise, schedule], [warmup])
    return lambda step: schedule(_number(step))


def linspace_cosine(
    start: float, peak: float, end: float, warmup: int, total: int
) -> optax.Schedule:
    """Return DINO's, SwAV's, data2vec's: `peak` comes twice, from step `warmup` - 1 on.

    Their warm-up takes both its ends, as NumPy's linspace does.
    """

    def schedule(step: Any) -> Array:
        step = _number(step)
        rise = start + (peak - start) * step / max(warmup - 1, 1)
        return jnp.where(step < warmup, rise, _fall(peak, end, (step - warmup) / (total - warmup)))

    return schedule


def epoch_cosine(peak: float, end: float, steps_per_epoch: int, total: int) -> optax.Schedule:
    """Return MoCo's and SimSiam's cosine from `peak` to `end`, constant within an epoch."""
    return lambda step: _fall(peak, end, _number(step) // steps_per_epoch * steps_per_epoch / total)


def epoch_linspace(start: float, end: float, epochs: int, steps_per_epoch: int) -> optax.Schedule:
    """Return DINO's teacher temperature: `start` in the first epoch, `end` in the last and after.

    `epochs` counts both.
    """

    def schedule(step: Any) -> Array:
        epoch = _number(step) // steps_per_epoch
        return jnp.where(epoch < epochs, start + (end - start) * epoch / max(epochs - 1, 1), end)

    return schedule


def tri_phase(
    start: float, peak: float, end: float, warmup: int, cooldown: int, total: int
) -> optax.Schedule:
    """Return data2vec's other one: a line up, `peak`, a line down; lines take both their ends."""

    def schedule(step: Any) -> Array:
        step = _number(step)
        rise = start + (peak - start) * step / max(warmup - 1, 1)
        way = jnp.clip((step - (total - cooldown)) / max(cooldown - 1, 1), 0, 1)
        return jnp.where(step < warmup, rise, peak + (end - peak) * way)

    return schedule


def _ahead(config: Any, schedule: optax.Schedule) -> optax.Schedule:
    """I-JEPA moves its schedulers before the iteration: iteration k has the values of k + 1."""
    return (lambda step: schedule(step + 1)) if config.schedule == "shifted" else schedule


def _fall(start: float, end: float, progress: Array) -> Array:
    return end + (start - end) * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1))) / 2


def _number(step: Any) -> Array:
    # float32, or float64 under x64: an int32 divided by an int is float32 under both.
    return jnp.asarray(step, float)
