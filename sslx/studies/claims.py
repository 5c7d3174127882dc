"""Who works on which run: a lock of the operating system on a file of a shared folder.

A lock ends with the processes that have it, also after kill -9, on this machine and, where the
file server passes locks on (NFS, Lustre with -o flock), on another one.
"""

import fcntl
import os
import platform
from pathlib import Path
from typing import TextIO


def take(folder: Path, name: str) -> TextIO | None:
    """Claim the run `name` in the folder of claims; None where another process has it.

    The run is claimed until the file is closed, by this process and by children that inherit it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / name).open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"on {platform.node()}, process {os.getpid()}")
    file.flush()
    return file


def holder(folder: Path, name: str) -> str:
    """Return who has the run, such as "on node7, process 4711"; "" where nobody has it."""
    try:
        with (folder / name).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return ""
    except BlockingIOError:  # the name is empty while it is being written
        return (folder / name).read_text() or "by another process"
    return ""
