import io
import os
import signal
import sys

import pytest

from sslx.training.interrupt import Interrupt


class Interrupted(io.RawIOBase):
    """A file in whose writing Ctrl-C comes."""

    def writable(self):
        return True

    def write(self, data):
        os.kill(os.getpid(), signal.SIGINT)
        return len(data)


def test_a_signal_in_the_middle_of_a_line_is_noted(monkeypatch, capfd):
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(Interrupted())))
        print("step 1", flush=True)
        monkeypatch.undo()
        assert interrupt.asked == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert "SIGINT: saving after this step" in capfd.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
