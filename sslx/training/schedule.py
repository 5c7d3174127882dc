"""Durations as text, and the learning rate's course."""

import re
from dataclasses import dataclass
from typing import Any

import optax

UNITS = {"step": "steps", "epoch": "epochs", "example": "examples", "%": "%"}


@dataclass(frozen=True)
class Durations:
    """Converts "200 epochs", "5000 steps", "1e6 examples" or "5%" (of `duration`) to training steps."""

    duration: str
    steps_per_epoch: int
    batch_size: int

    @property
    def total(self) -> int:
        """Steps of the whole run; raises ValueError when there are none."""
        if "%" in self.duration or not (total := self.steps(self.duration)):
            raise ValueError(
                f'config.duration is {self.duration!r}. Write "200 epochs", "5000 steps" or "1e6 examples".'
            )
        return total

    def steps(self, text: str) -> int:
        """Steps in `text`, at least 1 unless its number is 0; raises ValueError for what is no duration."""
        match = re.fullmatch(r"\s*(\d+\.?\d*(?:e\d+)?)\s*(%|[a-z]+?)s?\s*", text)
        if not match or match[2] not in UNITS:
            raise ValueError(
                f'{text!r} is no duration. Write "200 epochs", "5000 steps", "1e6 examples" or "5%" of the run.'
            )
        amount = float(match[1])
        if UNITS[match[2]] == "%":
            exact = self.total * amount / 100
        else:
            exact = (
                amount * {"steps": 1, "epochs": self.steps_per_epoch, "examples": 1 / self.batch_size}[UNITS[match[2]]]
            )
        return max(round(exact), 1) if amount else 0


def learning_rate(config: Any, durations: Durations, batch_size: int) -> optax.Schedule:
    """The schedule of `config.optimizer`, for step 0, 1, ...: linear warm-up, then a cosine per step.

    Step 0 has the rate `warmup_start * peak`; with 0 the first update changes nothing, as in SimCLR and VICReg.
    Raises ValueError when the warm-up fills the whole run.
    """
    peak = config.learning_rate * (batch_size / config.reference_batch if config.reference_batch else 1.0)
    warmup, total = durations.steps(config.warmup), durations.total
    if warmup >= total:
        raise ValueError(f"The warm-up takes {warmup} of the {total} steps. Shorten --config.optimizer.warmup.")
    cosine = optax.cosine_decay_schedule(peak, total - warmup, alpha=config.final)
    if not warmup:
        return cosine
    return optax.join_schedules([optax.linear_schedule(config.warmup_start * peak, peak, warmup), cosine], [warmup])
