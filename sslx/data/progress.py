"""One line that shows how far a long job is."""

import sys
import time

ON_TERMINAL, ELSEWHERE = 0.2, 10.0  # seconds between two lines


class Progress:
    """A line on stderr that renews itself on a terminal and comes every ten seconds elsewhere.

    `total` is 0 where it is not known; `unit` is "MB", for which bytes are counted, or a word such
    as "images".
    """

    def __init__(self, label: str, total: int, unit: str = "MB") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.terminal = sys.stderr.isatty()
        self.began = self.shown = time.monotonic()
        self.before: int | None = None  # what was done when the job began

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def show(self, done: int) -> None:
        """Print that `done` of the total are done, unless the last line is younger than a pause."""
        now = time.monotonic()
        self.before = done if self.before is None else self.before
        if now - self.shown < (ON_TERMINAL if self.terminal else ELSEWHERE):
            return
        self.shown = now
        rate = (done - self.before) / max(now - self.began, 1e-9)
        text = f"{self.label}: {self._count(done)}"
        if self.total:
            text += f" of {self._count(self.total)} {self.unit} ({done / self.total:.0%})"
        else:
            text += f" {self.unit}"
        text += f", {self._count(rate)} a second"
        if self.total > done and rate > 0:
            text += f", {duration((self.total - done) / rate)} left"
        begin, end = ("\r", "\033[K") if self.terminal else ("", "\n")
        print(f"{begin}{text}", end=end, file=sys.stderr, flush=True)

    def _count(self, number: float) -> str:
        return f"{number / 1e6 if self.unit == 'MB' else number:,.0f}"


def duration(seconds: float) -> str:
    """Return 40 s, 12 min or 2 h 5 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def amount(size: float) -> str:
    """Return bytes as a person reads them: 812 kB, 170 MB, 5.0 GB."""
    scale, unit = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / scale:,.{1 if size < 10 * scale else 0}f} {unit}"
