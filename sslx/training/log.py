"""Where a run's numbers go: one console line, one line of metrics.jsonl, and TensorBoard."""

import math
import time
from pathlib import Path
from typing import Any

import jax

from sslx.files import append_line, read_lines, to_json, write_atomically


class Log:
    """The record of one run folder; after a resume it has each step once."""

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        """Open the log of a run that goes on from `step`: lines of later steps are cut off."""
        self._path = folder / "metrics.jsonl"
        self._board = _tensorboard(folder, step) if tensorboard else None
        if self._path.exists():
            kept = [line for line in read_lines(self._path) if line.get("step", step + 1) <= step]
            write_atomically(self._path, "".join(to_json(line) + "\n" for line in kept))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the values of `step`; they are on disk when this returns."""
        if jax.process_index() == 0:
            numbers = {name: float(value) for name, value in values.items()}
            append_line(self._path, {"step": step} | numbers)
            if self._board:
                for name, value in numbers.items():
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self._board:
            self._board.close()


class Meter:
    """Collects the steps' logs, checks that they are finite, and measures speed.

    Holding on to a step's logs does not wait for it; `flush` does. On CPU, more than 32 unawaited
    steps with collectives can deadlock, and a step that is not finite should be found soon.
    """

    LIMIT = 16  # steps

    def __init__(self, step: int) -> None:
        self._pending: list[dict[str, Any]] = []
        self._done: list[dict[str, Any]] = []
        self._flushed = step
        self._started, self._waited = time.perf_counter(), 0.0

    def add(self, logs: dict[str, Any], waited: float) -> None:
        """Take a step's logs and the seconds it waited for input; raises as `flush`."""
        self._pending.append(logs)
        self._waited += waited
        if len(self._pending) >= self.LIMIT:
            self.flush()

    def flush(self) -> None:
        """Wait for all steps so far.

        Raises FloatingPointError naming the first step that is not finite.
        """
        values = jax.device_get(self._pending)
        self._pending = []
        for offset, logs in enumerate(values, start=1):
            wrong = " and ".join(name for name, value in logs.items() if not math.isfinite(value))
            if wrong:
                step = self._flushed + offset
                raise FloatingPointError(f"{wrong} became non-finite in step {step}")
        self._flushed += len(values)
        self._done += values

    def exclude(self, seconds: float) -> None:
        """Leave so much time out of the speed of this interval: it was not spent on steps."""
        self._started += seconds

    def averages(self, batch_size: int) -> dict[str, float]:
        """Return means since the last call, images per second, and the share of time waiting."""
        self.flush()
        seconds = max(time.perf_counter() - self._started, 1e-9)
        count = len(self._done)
        means = {
            name: float(sum(float(logs[name]) for logs in self._done) / count)
            for name in self._done[0]
        }
        means["images_per_second"] = count * batch_size / seconds
        means["input_wait"] = self._waited / seconds
        if memory := jax.local_devices()[0].memory_stats():  # not on CPU
            means["device_gib"] = memory["peak_bytes_in_use"] / 2**30
        self.restart()
        return means

    def restart(self) -> None:
        """Begin a new interval, without what happened between two steps, such as a save."""
        self.flush()
        self._done, self._waited, self._started = [], 0.0, time.perf_counter()


def progress_line(step: int, total: int, values: dict[str, float], batch_size: int) -> str:
    """Return a line such as: step  100/2200  loss 6.912  5210 images/s  eta 0:51  input wait 0%."""
    speed = values["images_per_second"]
    nats = "".join(
        f" ({value:.3f} {name.replace('_', ' ')})"
        for name, value in values.items()
        if name.startswith("nats")
    )
    return (
        f"step {step:>{len(str(total))}}/{total}  loss {values['loss']:.4f}{nats}  "
        f"{speed:.0f} images/s  eta {clock((total - step) * batch_size / speed)}  "
        f"input wait {values['input_wait']:.0%}"
    )


def clock(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter  # optional, and slow to import
    except ImportError as error:
        raise ValueError(
            "--config.log.tensorboard=True needs tensorboardX: pip install tensorboardX"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
