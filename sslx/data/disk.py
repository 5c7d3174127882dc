"""Errors of the file system that a user resolves with more room or with another folder."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (errno.EACCES, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS)


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
