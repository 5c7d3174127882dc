"""Who works on which run: a lock of the operating system on a file of a shared folder.

A lock ends with the processes that have it, also after kill -9, on this machine and, where the
file server passes locks on (NFS, Lustre with -o flock), on another one.
"""

import fcntl
import json
import os
import platform
from pathlib import Path
from typing import Any

from sslx.files import to_json


class Claim:
    """A run that this process works on, until `release`."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def fileno(self) -> int:
        """Return the lock's descriptor: a child that inherits it has the run while it lives."""
        return self._file.fileno()

    def release(self) -> None:
        """Give the run back."""
        self._file.close()


def take(folder: Path, name: str) -> Claim | None:
    """Claim the run `name` in the folder of claims; None where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / name).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(to_json({"host": platform.node(), "process": os.getpid()}))
    file.flush()
    return Claim(file)


def holder(folder: Path, name: str) -> str:
    """Return who has the run, such as "on node7, process 4711"; "" where nobody has it."""
    try:
        with (folder / name).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return ""
    except BlockingIOError:
        return _text(folder / name)
    return ""


def _text(path: Path) -> str:
    try:
        claim = json.loads(path.read_text())
    except ValueError:  # it is being written
        return "by another process"
    return f"on {claim['host']}, process {claim['process']}"
