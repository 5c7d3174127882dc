"""Writing to a folder: one process at a time, and errors that a user resolves with another one."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (errno.EACCES, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def alone(folder: Path, lock: str, option: str, waiting: str = "") -> Iterator[None]:
    """Let one process at a time write into the folder, which is made; errors are `explained`.

    A process that has to wait prints `waiting`. The system opens the lock of a process that dies.
    """
    with explained(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / lock).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    print(waiting, flush=True)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def explained(folder: Path, option: str) -> Iterator[None]:
    """Turn an error in writing to `folder` into a ValueError that names the flag to change."""
    try:
        yield
    except RuntimeError as error:
        # The array_record writer passes on in this way what the file system reports.
        if "write() failed" not in str(error):
            raise
        raise _explanation(folder, str(error).split(";")[0], True, option) from error
    except OSError as error:
        # Another file, such as an archive that cannot be read, is a different problem.
        path = Path(str(error.filename)) if error.filename else folder
        ours = path.is_relative_to(folder) or folder.is_relative_to(path)
        if error.errno not in FULL + UNWRITABLE or not ours:
            raise
        full = error.errno in FULL
        raise _explanation(folder, str(error.strerror), full, option) from error


def _explanation(folder: Path, reason: str, full: bool, option: str) -> ValueError:
    remedy = "Make room, or choose another folder" if full else "Choose another folder"
    return ValueError(f"{folder} cannot be written ({reason}). {remedy}: {option}=FOLDER")
