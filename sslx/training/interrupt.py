"""Ctrl-C and SIGTERM: the run is asked to save and stop; a second Ctrl-C stops it at once."""

import os
import signal
from typing import Any

# Exit codes of a run that stopped early: a signal asked for it, or its loss became non-finite.
INTERRUPTED, DIVERGED = 130, 3


class Interrupt:
    """As a context, `asked` is the name of the signal that came, else ""."""

    def __init__(self) -> None:
        self.asked = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        # Not print: the signal may have come in the middle of one, which cannot be entered again.
        os.write(1, f"\n{self.asked}: saving after this step; once more to stop at once\n".encode())
