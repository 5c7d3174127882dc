"""Where a run's numbers go: one console line, one line of metrics.jsonl, and TensorBoard on
request.
"""

import json
import math
import time
from pathlib import Path
from typing import Any

import jax


class Log:
    """The record of one run folder.

    After a resume it holds each step once: later lines are cut off.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._path = folder / "metrics.jsonl"
        self._board = _tensorboard(folder, step) if tensorboard else None
        _truncate(self._path, step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the values of `step`; they are on disk when this returns."""
        if jax.process_index() == 0:
            with self._path.open("a") as file:
                file.write(
                    json.dumps(
                        {"step": step} | {name: _json(value) for name, value in values.items()}
                    )
                    + "\n"
                )
            if self._board:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush TensorBoard's events."""
        if self._board:
            self._board.close()


class Meter:
    """Collects the steps' logs, checks that they are finite, and measures speed.

    Holding on to a step's logs does not wait for it; `flush` does. On CPU, more than 32 unawaited
    steps with collectives can deadlock, and a step that is not finite should be found soon: hence
    `LIMIT`."""

    LIMIT = 16

    def __init__(self, step: int) -> None:
        self._pending: list[dict[str, Any]] = []
        self._done: list[dict[str, Any]] = []
        self._flushed = step
        self._started, self._waited = time.perf_counter(), 0.0

    def add(self, logs: dict[str, Any], waited: float) -> None:
        """Take a step's logs and the seconds it waited for input; raises FloatingPointError as
        `flush`.
        """
        self._pending.append(logs)
        self._waited += waited
        if len(self._pending) >= self.LIMIT:
            self.flush()

    def flush(self) -> None:
        """Wait for all steps so far; raises FloatingPointError naming the first step that is not
        finite.
        """
        values = jax.device_get(self._pending)
        self._pending = []
        for offset, logs in enumerate(values, start=1):
            wrong = [name for name, value in logs.items() if not math.isfinite(value)]
            if wrong:
                raise FloatingPointError(
                    f"{' and '.join(wrong)} became non-finite in step {self._flushed + offset}"
                )
        self._flushed += len(values)
        self._done += values

    def exclude(self, seconds: float) -> None:
        """Leave so much time out of the speed of this interval: it was not spent on steps."""
        self._started += seconds

    def averages(self, batch_size: int) -> dict[str, float]:
        """Means since the last call, with images per second and the fraction of time spent waiting
        for input.
        """
        self.flush()
        seconds = max(time.perf_counter() - self._started, 1e-9)
        count = len(self._done)
        means = {
            name: float(sum(float(logs[name]) for logs in self._done) / count)
            for name in self._done[0]
        }
        means |= {
            "images_per_second": count * batch_size / seconds,
            "input_wait": self._waited / seconds,
        }
        if memory := jax.local_devices()[0].memory_stats():  # not on CPU
            means["device_gib"] = memory["peak_bytes_in_use"] / 2**30
        self.restart()
        return means

    def restart(self) -> None:
        """Begin a new interval, so that what happened between two steps (a save, the monitor) is
        not counted.
        """
        self.flush()
        self._done, self._waited, self._started = [], 0.0, time.perf_counter()


def progress_line(step: int, total: int, values: dict[str, float], batch_size: int) -> str:
    """One line such as: step  100/2200  loss 6.912 (1.204 nats above floor)  5210 images/s  eta
    0:51  input wait 0%.
    """
    speed = values["images_per_second"]
    extras = "".join(
        f" ({values[name]:.3f} {name.replace('_', ' ')})"
        for name in values
        if name.startswith("nats")
    )
    return (
        f"step {step:>{len(str(total))}}/{total}  loss {values['loss']:.4f}{extras}  {speed:.0f} "
        "images/s  "
        f"eta {clock((total - step) * batch_size / speed)}  input wait {values['input_wait']:.0%}"
    )


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _tensorboard(folder: Path, step: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)


def _truncate(path: Path, step: int) -> None:
    """Drop the lines after `step` and a last line cut short by a kill."""
    if not path.exists():
        return
    lines = []
    for line in path.read_text().splitlines():
        try:
            keep = json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError):
            continue
        if keep:
            lines.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(lines))
    temporary.replace(path)


def _json(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else None
